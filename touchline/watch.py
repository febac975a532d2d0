"""Detection of hung stages: how long a stage may go without progress, and how long it has had none.

Belongs here: the time limits, and the watcher's clock. `detection_assets/jobs/heartbeat.py` reports progress;
`detection_assets/jobs/watchdog.py` ends jobs that hang.
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
"""Time without progress after which most stages count as hung: a frame takes seconds, a chunk of 60 s minutes [s]."""
SLOWER: Final[Mapping[str, float]] = {
    # A remote video is downloaded, and one without an index is decoded up to the chunk where work resumes.
    "extract_frames": 1800.0,
    # Weights may have to be downloaded.
    "detect_objects": 1800.0,
    # Remote services answer.
    "escalate_vlm": 1800.0,
    "escalate_cloud": 1800.0,
}
"""Time without progress after which stages count as hung that wait for other machines, by stage [s]."""


@dataclass(frozen=True)
class Bounds:
    """Time without progress after which a stage counts as hung [s]; infinite if it never does."""

    usual_s: float = USUAL_S
    by_stage: Mapping[str, float] = field(default_factory=lambda: dict(SLOWER))

    def of(self, stage: str | None) -> float:
        """The time limit of a stage [s]; None stands for work before or between stages, with the usual limit."""
        return self.by_stage.get(stage or "", self.usual_s)

    @classmethod
    def parse(cls, text: str, name: str) -> Bounds:
        """Parses limits: one number of seconds for all stages, or `stage=seconds` pairs separated by commas.

        0 means never; empty text gives the defaults. `name` stands for the text in errors. Raises BadInputError for an
        unknown stage or an invalid number.
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
    """Measures for how long each of several keys has had the same value, by the watcher's own clock.

    Time stamps of other machines are not used, so wrong clocks have no effect. At most `most_s` [s] count between two
    observations: while the watcher itself was suspended, it observed nothing.
    """

    def __init__(self, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_s, self._clock = most_s, clock
        self._seen: dict[Hashable, tuple[object, float, float]] = {}

    def look(self, key: Hashable, sign: object) -> float:
        """How long `key` has had the value `sign` [s]; 0 at the first observation and after each change."""
        now = self._clock()
        before, at, unchanged_s = self._seen.get(key, (None, now, 0.0))
        known = key in self._seen and before == sign
        unchanged_s = unchanged_s + min(now - at, self._most_s) if known else 0.0
        self._seen[key] = (sign, now, unchanged_s)
        return unchanged_s

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forgets all keys but these."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}


def stood_still(seconds: float, stage: str | None) -> str:
    """A message such as "no progress for 12 min in run_ocr"."""
    return f"no progress for {in_minutes(seconds)}" + (f" in {stage}" if stage else "")


def in_minutes(seconds: float) -> str:
    """A duration [s] as text: `40 s`, `12 min`, `2 h 05 min`."""
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
