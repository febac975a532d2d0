"""What a report holds, field by field as `report.json` carries it, and what it is told about source and stages.

Belongs here: plain data. Times are float seconds to the millisecond, shares and factors 0..1. Fields are added over
time, never changed or taken away; `SCHEMA` rises only if that had to be broken.
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
"""The zones, in the order in which they are shown, in words for people."""


def zones_seen(seconds: Mapping[str, float], zones: Iterable[str]) -> list[str]:
    """Those of ZONE_WORDS that are among `zones`, most of `seconds` (by zone) first. In a still all have none.

    >>> zones_seen({"board": 1.0, "overlay": 2.0}, ["board", "overlay", "board"])
    ['overlay', 'board']
    """
    there = set(zones)
    return sorted((zone for zone in ZONE_WORDS if zone in there), key=lambda zone: -seconds.get(zone, 0.0))


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of the source before the report is made.

    `duration_s` is the length that decoded (0 if unknown), `fps` the video's own rate, `sample_fps` the sampling rate.
    """

    key: str
    path: str
    duration_s: float
    sample_fps: float
    fps: float = 0.0
    codec: str = ""
    is_image: bool = False


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What one stage did in this job. `stats` is the worker's `stats()`; `items` the number of its documents."""

    name: str
    wall_s: float
    items: int
    reused: bool = False
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A moment [s] at which the brand is clearly seen, with a JPEG crop as a `data:` URI."""

    t: float
    crop: str
    zone: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class StretchRow:
    """One unbroken stretch in one zone, with the averages over it."""

    zone: str
    start_s: float
    end_s: float
    screen_share: float
    visibility: float
    confidence: float


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A piece of the brand's time with the same zones throughout, and the averages over it; a row of exposures.csv.

    `zone` names all of its zones, with + between them ("board+overlay"). Pieces of one brand never overlap, and their
    `seconds` add up to the brand's.
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
    """One brand. `zones`: seconds in each zone, and `stretches`: when; zones may overlap in time, `segments` do not."""

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
    """Real text that is no known brand, over all its tracks.

    `perhaps` is the known brand that it may be meant to say, or empty; `csv_line` the line of a list of brands that
    makes it count, as that brand or as one of its own, or empty where no list should hold it.
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
    """A stage's share of the work; `note` says what it could not do, or that it had nothing to do it with."""

    wall_s: float
    items: int
    reused: bool
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole. The fields after `warnings` are additions to the contract."""

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
    """Texts that are no known brand, those that `unresolved` has no room for included."""
    files: list[str]
    """Names of the files that the report consists of."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, strings and numbers."""
        return asdict(self)
