"""What was not whole about a recording: numbers for a stage's stats, sentences for the report.

Belongs here: the words, and when there is something to say. Faults are noticed in `touchline/video/playback.py`.
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
"""Steps of the clock that are listed one by one."""
_LATE_S: Final = 1
"""How much later than the file the pictures may begin before it is told [s]: broadcast recordings begin so."""
_ADVICE: Final = "what decoded is kept. Copy the file again if it should be complete."


@dataclass(frozen=True, slots=True)
class Faults:
    """Of one video, played to its end. Spans count from its first frame [s].

    `steps`: where its clock stepped and by how much; `holds`: pictures that stand far longer than their neighbours;
    `misdated`: frames whose time had passed when they came; `late`: how long after the file its pictures begin [s];
    `end`: when they end [s]; `breaks_off`: whether the file ends in the middle of its data; `announced`: when they
    should end [s], where that is known to be later; `others`: pictures that are not decoded; `tail`: what of the
    file is not read.
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
        """`clock_steps` ([at, by] of the first ones), `unread_bytes`, and [s] `held_s`, `misdated_s`, `start_s` and

        `undecoded_s`.
        """
        return {
            "clock_steps": [[_rounded(at), _rounded(by)] for at, by in self.steps[:_LISTED]],
            "held_s": _rounded(_total(self.holds)),
            "misdated_s": _rounded(_total(self.misdated)),
            "start_s": _rounded(self.late),
            "undecoded_s": _rounded(_total([other.span for other in self.others])),
            "unread_bytes": self.tail.size if self.tail else 0,
        }

    def sentences(self, name: str) -> list[str]:
        """What an analyst must know; nothing of a whole video. `name` is the file's."""
        said = []
        if self.steps:
            at, by = self.steps[0]
            more = f", and {len(self.steps) - 1} more time(s)" if len(self.steps) > 1 else ""
            said.append(
                f"the recording's clock jumps {'forward' if by > 0 else 'back'} by {_seconds(abs(by))} at "
                f"{_seconds(at)}{more}. The pictures are taken to follow each other without a gap, as players show "
                "them: all are looked at, and times count what was recorded."
            )
        said += [other.sentence() for other in self.others]
        if self.holds:
            said.append(
                f"{_seconds(_total(self.holds))} of the video bring no new picture, {_places(self.holds)}; the picture "
                "before stands for that time. Signal or packets were lost there, or the picture was frozen."
            )
        if self.misdated:
            said.append(
                f"{_seconds(_total(self.misdated))} of pictures bear times that had passed when they came, "
                f"{_places(self.misdated)}, and are not looked at. Convert the file, so that its times are made anew."
            )
        if self.late >= _LATE_S:
            said.append(
                f"the first picture is shown {_seconds(self.late)} after the file's start. Times in the report count "
                f"from the first picture: add {_seconds(self.late)} to find them in a player."
            )
        if self.announced is not None:
            said.append(
                f"the video breaks off at {_seconds(self.end)} of the {self.announced:.2f} s it announces; {_ADVICE}"
            )
        elif self.breaks_off:
            said.append(
                f"the video breaks off at {_seconds(self.end)}, for the file ends in the middle of its data; {_ADVICE}"
            )
        said = [f"{name}: {sentence}" for sentence in said]
        return [*said, self.tail.sentence(name)] if self.tail else said


@dataclass(frozen=True, slots=True)
class DamageTally:
    """How much of a video is damaged: seconds, in how many places, and when the first one begins [s]."""

    seconds: float = 0.0
    places: int = 0
    first: float | None = None

    @classmethod
    def of(cls, stats: Mapping[str, Any]) -> DamageTally:
        """The tally that `stats` wrote; an empty one where it did not."""
        return cls(
            float(stats.get("damaged_s") or 0), int(stats.get("damaged_places") or 0), stats.get("damaged_from_s")
        )

    def stats(self) -> dict[str, Any]:
        """`damaged_s`, `damaged_places` and `damaged_from_s` (none where nothing is)."""
        return {"damaged_s": self.seconds, "damaged_places": self.places, "damaged_from_s": self.first}

    def plus(self, spans: Sequence[Span], since: Fraction, until: Fraction | None) -> DamageTally:
        """With what of the spans lies in [since, until); a place that goes on from before is none of its own."""
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
        """What an analyst must know; nothing of a whole video. `name` is the file's."""
        if not self.places:
            return []
        where = "at" if self.places == 1 else f"in {self.places} places, the first at"
        return [
            f"{name}: {self.seconds:.2f} s of the video are damaged, {where} {self.first or 0:.2f} s; pictures there "
            "are wrong or missing, and brands in them may not be found. Copy or record it again if that can be had "
            "whole."
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
