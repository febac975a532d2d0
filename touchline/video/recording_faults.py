"""Faults of a recording, as numbers for a stage's stats and as warnings for the report.

Belongs here: the texts, and when they are given. Faults are detected in `touchline/video/playback.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from touchline.video.file_tail import Tail
from touchline.video.other_pictures import OtherPictures
from touchline.video.stream_clock import Span

_LISTED: Final = 20
"""Largest number of steps of the clock that are listed."""
_LATE_S: Final = 1
"""Time after the file's start from which a warning is given if the pictures begin only then [s]."""
_ADVICE: Final = "the frames that decoded are analysed. Copy the file again if it should be complete."


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one video that was decoded to its end. Times count from its first frame [s].

    `steps`: when the clock stepped, and by how much; `holds`: pictures that are shown far longer than their neighbours;
    `misdated`: frames that came after later ones; `late`: time from the file's start to the first picture; `end`: end
    of the pictures; `breaks_off`: whether the file is truncated; `announced`: announced end, if it is later than `end`;
    `others`: pictures that are not decoded; `tail`: the part of the file that is not read.
    """

    steps: Sequence[Span]
    holds: Sequence[Span]
    misdated: Sequence[Span]
    late: Fraction
    end: Fraction
    breaks_off: bool
    announced: float | None
    others: Sequence[OtherPictures]
    tail: Tail | None

    def stats(self) -> dict[str, Any]:
        """The stats of `extract_frames` on these faults; of `clock_steps` at most _LISTED."""
        return {
            "clock_steps": [[_rounded(at), _rounded(by)] for at, by in self.steps[:_LISTED]],
            "held_s": _rounded(_total(self.holds)),
            "misdated_s": _rounded(_total(self.misdated)),
            "start_s": _rounded(self.late),
            "undecoded_s": _rounded(_total([other.span for other in self.others])),
            "unread_bytes": self.tail.size if self.tail else 0,
        }

    def sentences(self, name: str) -> list[str]:
        """The warnings for the report; empty for a video without faults. `name` is that of the file."""
        texts = []
        if self.steps:
            at, by = self.steps[0]
            more = f", and {len(self.steps) - 1} more time(s)" if len(self.steps) > 1 else ""
            texts.append(
                f"the recording's clock jumps {'forward' if by > 0 else 'back'} by {_seconds(abs(by))} at "
                f"{_seconds(at)}{more}. The pictures count as following each other without a gap, as players show "
                "them: all are analysed, and times count what was recorded."
            )
        texts += [other.sentence() for other in self.others]
        if self.holds:
            texts.append(
                f"{_seconds(_total(self.holds))} of the video have no new picture, {_places(self.holds)}; the previous "
                "picture counts for that time. Signal or packets were lost there, or the picture was frozen."
            )
        if self.misdated:
            texts.append(
                f"{_seconds(_total(self.misdated))} of pictures have time stamps before those of earlier pictures, "
                f"{_places(self.misdated)}, and are not analysed. Convert the file, so that it gets new time stamps."
            )
        if self.late >= _LATE_S:
            texts.append(
                f"the first picture is shown {_seconds(self.late)} after the file's start. Times in the report count "
                f"from the first picture: add {_seconds(self.late)} to find them in a player."
            )
        if self.announced is not None:
            texts.append(
                f"the video ends early, at {_seconds(self.end)} of the {self.announced:.2f} s it announces; {_ADVICE}"
            )
        elif self.breaks_off:
            texts.append(f"the video ends early, at {_seconds(self.end)}, because the file is truncated; {_ADVICE}")
        texts = [f"{name}: {text}" for text in texts]
        return [*texts, self.tail.sentence(name)] if self.tail else texts


@dataclass(frozen=True, slots=True)
class DamageTally:
    """Damage of a video: total duration [s], number of damaged spans, and begin of the first one [s]."""

    seconds: float = 0.0
    places: int = 0
    first: float | None = None

    @classmethod
    def of(cls, stats: Mapping[str, Any]) -> DamageTally:
        """The tally in stats that were written by `stats`; an empty one if they have none."""
        return cls(
            float(stats.get("damaged_s") or 0), int(stats.get("damaged_places") or 0), stats.get("damaged_from_s")
        )

    def stats(self) -> dict[str, Any]:
        """`damaged_s`, `damaged_places` and `damaged_from_s` (None without damage)."""
        return {"damaged_s": self.seconds, "damaged_places": self.places, "damaged_from_s": self.first}

    def plus(self, spans: Sequence[Span], since: Fraction, until: Fraction | None) -> DamageTally:
        """The tally with the parts of spans in [since, until) [s]. Spans from before `since` are counted already."""
        seconds, places, first = self.seconds, self.places, self.first
        for start, length in spans:
            end = start + length if until is None else min(start + length, until)
            if end < since or (until is not None and start >= until) or (end == since and start < since):
                continue
            seconds += float(end - max(start, since))
            places += start >= since or not places
            first = _rounded(max(start, since)) if first is None else first
        return DamageTally(round(seconds, 3), places, first)

    def sentences(self, name: str) -> list[str]:
        """The warnings for the report; empty for a video without damage. `name` is that of the file."""
        if not self.places:
            return []
        where = "at" if self.places == 1 else f"in {self.places} places, the first at"
        return [
            f"{name}: {self.seconds:.2f} s of the video are damaged, {where} {self.first or 0:.2f} s; pictures there "
            "are wrong or missing, and brands in them may be missed. Copy or record the video again if an undamaged "
            "copy is available."
        ]


def _places(spans: Sequence[Span]) -> str:
    where = "at" if len(spans) == 1 else f"in {len(spans)} places, the first at"
    return f"{where} {_seconds(spans[0].start)}"


def _total(spans: Sequence[Span]) -> Fraction:
    return sum((span.length for span in spans), Fraction(0))


def _seconds(value: Fraction) -> str:
    return f"{float(value):.2f} s"


def _rounded(value: Fraction) -> float:
    return round(float(value), 3)
