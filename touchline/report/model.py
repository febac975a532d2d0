"""The data of a report, with the field names of `report.json`, and the facts on source and stages that go into it.

Belongs here: plain data. Times are float seconds, rounded to the millisecond; shares and factors are 0..1. Fields may
be added, but are never changed or removed without a new `SCHEMA`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

SCHEMA: Final = 1
ZONE_WORDS: Final = {
    "board": "board",
    "board_or_jersey": "board or shirt",
    "jersey": "jersey",
    "overlay": "overlay",
    "other": "elsewhere",
}
"""Names of the zones for users, in the order in which they are shown."""


def zones_seen(seconds: Mapping[str, float], zones: Iterable[str]) -> list[str]:
    """The distinct `zones` by falling `seconds` (by zone), then in the order of ZONE_WORDS.

    >>> zones_seen({"board": 1.0, "overlay": 2.0}, ["board", "overlay", "board"])
    ['overlay', 'board']
    """
    present = set(zones)
    return sorted((zone for zone in ZONE_WORDS if zone in present), key=lambda zone: -seconds.get(zone, 0.0))


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Facts on the source: decoded duration (0 if unknown) [s], sampling rate and the video's own frame rate [1/s]."""

    key: str
    path: str
    duration_s: float
    sample_fps: float
    fps: float = 0.0
    codec: str = ""
    is_image: bool = False


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage of this job: wall time [s], number of documents (`items`), and the worker's `stats()`."""

    name: str
    wall_s: float
    items: int
    reused: bool = False
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A moment `t` [s] at which the brand is clearly visible, with a JPEG crop as a `data:` URI."""

    t: float
    crop: str
    zone: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class StretchRow:
    """One uninterrupted time span of the brand in one zone, with the averages over it."""

    zone: str
    start_s: float
    end_s: float
    screen_share: float
    visibility: float
    confidence: float


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A part of the brand's time with the same zones throughout, with the averages over it; a row of exposures.csv.

    `zone` has all of its zones, joined by + ("board+overlay"). Segments of one brand never overlap, and their `seconds`
    add up to the brand's.
    """

    zone: str
    start_s: float
    end_s: float
    seconds: float
    screen_share: float
    visibility: float
    confidence: float


@dataclass(frozen=True, slots=True)
class BrandRow:
    """One brand. `zones` has the seconds in each zone, `stretches` the times. Zones may overlap, `segments` do not."""

    name: str
    brand_id: str
    source: str
    seconds: float
    intervals: list[list[float]]
    zones: dict[str, float]
    solus_seconds: float
    screen_share: dict[str, float]
    visibility: float
    factors: dict[str, float]
    confidence: float
    occurrences: int
    evidence: list[Evidence]
    stretches: list[StretchRow]
    segments: list[SegmentRow]


@dataclass(frozen=True, slots=True)
class UnresolvedRow:
    """Text that matches no known brand, over all its tracks.

    `perhaps` is the known brand that it may mean, or empty. `csv_line` is the line that adds it to a list of brands, as
    an alias of `perhaps` or as a new brand; empty if it should not be added.
    """

    text: str
    seconds: float
    intervals: list[list[float]]
    crop: str
    reason: str
    zone: str
    confidence: float
    t: float
    perhaps: str = ""
    csv_line: str = ""


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of the job. `note` says why it did less than its work, for example without a model."""

    wall_s: float
    items: int
    reused: bool
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report. Fields after `warnings` are later additions to the schema."""

    schema: int
    source: str
    video_path: str
    duration_s: float
    sample_fps: float
    job_id: str
    profile: str
    brands: list[BrandRow]
    unresolved: list[UnresolvedRow]
    stages: dict[str, StageRow]
    cost_usd: float
    warnings: list[str]
    media: dict[str, Any]
    """`width`, `height` (of most stored frames) [px], `fps`, `codec`, `is_image`, `frames` sampled, `frames_kept`."""
    cuts: list[float]
    branded_seconds: float
    """Seconds with at least one brand on screen."""
    unresolved_total: int
    """Number of texts that match no known brand, including those that `unresolved` does not list."""
    files: list[str]
    """Names of the report's files."""

    def to_json(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers."""
        return asdict(self)
