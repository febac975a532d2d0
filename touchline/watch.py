"""Noticing what stands still: how long a stage may go without progress, and for how long one has.

Belongs here: the bounds, and the clock of whoever watches. Where progress is told is in
`detection_assets/jobs/heartbeat.py`; what becomes of a job that stands still is in `detection_assets/jobs/watchdog.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from touchline.errors import BadInputError
from touchline.nodes import NODE_NAMES, REPORT

USUAL_S: Final = 900.0
"""A frame takes seconds at most, a chunk of 60 s of video minutes: what shows nothing for so long hangs [s]."""
SLOWER: Final[Mapping[str, float]] = {
    # A far video is fetched, and one without an index is decoded up to where its work goes on.
    "extract_frames": 1800.0,
    # Its weights may have to be fetched.
    "detect_objects": 1800.0,
    # Others answer, or do not.
    "escalate_vlm": 1800.0,
    "escalate_cloud": 1800.0,
}
"""Stages that may be silent for longer, for what they wait for is not on this machine [s]."""


@dataclass(frozen=True)
class Bounds:
    """Seconds without progress after which a stage counts as hung; infinite where it never does."""

    usual_s: float = USUAL_S
    by_stage: Mapping[str, float] = field(default_factory=lambda: dict(SLOWER))

    def of(self, stage: str | None) -> float:
        """The bound of a stage [s]; the usual one for what comes before the first and between two."""
        return self.by_stage.get(stage or "", self.usual_s)

    @classmethod
    def parse(cls, text: str, name: str) -> Bounds:
        """The bounds that a text asks for: one number of seconds for all stages, or `stage=seconds` pairs with commas.

        0 means never. Empty gives the defaults. `name` is what the text is called in errors. Raises BadInputError for
        an unknown stage, or for what is no number of seconds.
        """
        usual, by_stage = USUAL_S, dict(SLOWER)
        for item in filter(None, (part.strip() for part in text.split(","))):
            stage, equals, value = item.rpartition("=")
            seconds = _seconds(value, name, item)
            if not equals:
                usual, by_stage = seconds, dict.fromkeys(by_stage, seconds)
            elif stage.strip() not in (*NODE_NAMES, REPORT):
                known = ", ".join((*NODE_NAMES, REPORT))
                raise BadInputError(f"{name}: {stage.strip()!r} is no stage; expected one of {known}")
            else:
                by_stage[stage.strip()] = seconds
        return cls(usual, by_stage)


class Watch:
    """For how long each of several things has shown the same sign, by the clock of the one who looks.

    No stamps of others are compared, so clocks that differ or are set do no harm. Between two looks no more than
    `most_s` [s] count: a watcher that slept itself (a suspended machine, a stopped process) has not seen anybody stand
    still in that time.
    """

    def __init__(self, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_s, self._clock = most_s, clock
        self._seen: dict[Hashable, tuple[object, float, float]] = {}

    def look(self, key: Hashable, sign: object) -> float:
        """Seconds for which `key` has shown `sign`; 0 at the first look and whenever the sign is another."""
        now = self._clock()
        before, at, stood = self._seen.get(key, (None, now, 0.0))
        known = key in self._seen and before == sign
        stood = stood + min(now - at, self._most_s) if known else 0.0
        self._seen[key] = (sign, now, stood)
        return stood

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forgets all but these."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}


def stood_still(seconds: float, stage: str | None) -> str:
    """Says it as in: no progress for 12 min in run_ocr."""
    return f"no progress for {in_minutes(seconds)}" + (f" in {stage}" if stage else "")


def in_minutes(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `12 min`, `2 h 05 min`."""
    if seconds < 60:
        return f"{max(0.0, seconds):.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _seconds(text: str, name: str, item: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise BadInputError(f"{name}: expected a number of seconds, 0 (never) or more, got {item!r}")
    return seconds or math.inf
