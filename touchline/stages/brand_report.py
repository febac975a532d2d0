"""The deliverable, `brand_report`: from the stages' documents to a `Report`.

Belongs here: settings, the choice of evidence, the list of unresolved texts, and warnings. The arithmetic is in
`touchline/exposure/`, the rendering in `touchline/report/`.

It is always computed anew and no stage reads it, so it has no documents to serialise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

from pydantic import Field

from touchline.brands.scripts import brands_never_found
from touchline.config import StageConfig
from touchline.exposure.candidates import CandidateGroup, text_key, together
from touchline.exposure.intervals import exact, floats, total, union
from touchline.exposure.measure import ZONES, Exposure, Factors, Observation, expose, in_milliseconds, observation
from touchline.exposure.timeline import Timeline
from touchline.report.files import REPORT_FILES
from touchline.report.model import (
    SCHEMA,
    BrandRow,
    Evidence,
    Report,
    SegmentRow,
    SourceFacts,
    StageRow,
    StageSummary,
    StretchRow,
    UnresolvedRow,
)
from touchline.values import BrandDetection, Image, MatchDocument, Quad, SampledFrame, SceneFrame
from touchline.vision.crops import data_uri, evidence, jpeg_within

VERSION: Final = "3"
_BUCKETS: Final = 64
"""Number of equal parts into which the source is divided. Each keeps the clearest evidence candidate of a brand."""
_CHANGES_LISTED: Final = 4
"""Largest number of changes of the picture's size that a warning lists."""

BOARD_OR_SHIRT: Final = (
    'Boards and shirts are not distinguished, because there was no model that finds people. The zone "board or shirt" '
    'may be either, a shirt may count as "elsewhere", and players who cover a board do not lower its visibility. '
    "`touchline doctor` says what is missing."
)
"""Warning in a report that was made without a model that finds people."""


class BrandReportConfig(StageConfig):
    """Settings of `brand_report`."""

    bridge_gap_s: float = Field(
        default=1.0,
        ge=0,
        le=30,
        description="Longest gap within one shot that still counts as on screen [s]; a cut is never bridged",
    )
    full_size_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of the picture from which a brand counts as full size in visibility [0-1]",
    )
    evidence_per_brand: int = Field(default=3, ge=0, le=12, description="Crops shown of each brand, at most [pictures]")
    max_unresolved: int = Field(default=30, ge=0, le=500, description="Unresolved texts listed, at most [texts]")
    crop_width: int = Field(default=480, ge=64, le=1280, description="Width of crops, at most [px]")
    crop_bytes: int = Field(
        default=20_000, ge=2_000, le=200_000, description="Size of one crop's JPEG, at most [bytes]"
    )


@dataclass(frozen=True, slots=True)
class _EvidenceCandidate:
    """A detection that may be shown as evidence."""

    quality: float
    sequence: int
    quad: Quad
    zone: str
    text: str
    confidence: float


class _Collector:
    """Reduces the documents, as they are read, to a few numbers per brand and kept frame."""

    def __init__(self, timeline: Timeline, *, people_known: bool) -> None:
        self._timeline = timeline
        self._people_known = people_known
        self._bucket = max(float(timeline.duration), 1e-6) / _BUCKETS
        self.names: dict[str, str] = {}
        self.seen: dict[int, list[Observation]] = defaultdict(list)
        self.candidates: dict[str, dict[int, _EvidenceCandidate]] = defaultdict(dict)
        self.groups: dict[str, CandidateGroup] = defaultdict(CandidateGroup)

    def add(self, document: MatchDocument) -> None:
        """Adds one document."""
        if document.zone == "board" and not self._people_known:
            document = replace(document, zone="board_or_jersey")
        if not isinstance(document, BrandDetection):
            self.groups[text_key(document.text)].add(document)
            return
        one = observation(document, self._timeline.size(document.sequence))
        self.names.setdefault(one.brand_id, document.brand_name)
        self.seen[document.sequence].append(one)
        quality = one.clarity * one.confidence * one.unoccluded
        bucket = int(float(self._timeline.time(document.sequence)) / self._bucket)
        best = self.candidates[one.brand_id].get(bucket)
        if best is None or quality > best.quality:
            self.candidates[one.brand_id][bucket] = _EvidenceCandidate(
                quality, document.sequence, document.quad, document.zone, document.text, one.confidence
            )


def build_report(
    *,
    source: SourceFacts,
    job_id: str,
    profile: str,
    frames: Iterable[SampledFrame],
    scenes: Iterable[SceneFrame],
    documents: Iterable[MatchDocument],
    load: Callable[[int], Image],
    stages: Sequence[StageSummary] = (),
    config: BrandReportConfig | None = None,
) -> Report:
    """Builds the report of one source in one job.

    `frames`, `scenes` and `documents` (of `escalate_cloud`) are read once, in any order. `load(sequence)` returns a
    stored frame (H x W x 3, BGR, uint8) and is called once per frame that is shown as evidence. The stats of
    `detect_objects` in `stages` decide whether boards and shirts are distinguished. Raises CheckpointError if documents
    are of frames that were not sampled.
    """
    config = config or BrandReportConfig()
    sizes = _Sizes()
    timeline = Timeline(
        map(sizes.counted, frames),
        scenes,
        duration_s=source.duration_s,
        sample_fps=source.sample_fps,
        is_image=source.is_image,
    )
    people_known = _people_known(stages)
    found = _Collector(timeline, people_known=people_known)
    for document in documents:
        found.add(document)
    gap = exact(config.bridge_gap_s)
    exposures = in_milliseconds(expose(found.seen, timeline, bridge_gap=gap, full_size_share=config.full_size_share))
    exposures.sort(key=lambda e: (-total(e.intervals), -e.mean.factors.visibility, found.names[e.brand_id]))
    unresolved = _unresolved(found.groups, timeline)
    listed = unresolved[: config.max_unresolved]
    chosen = {e.brand_id: _evidence(found.candidates[e.brand_id].values(), timeline, config) for e in exposures}
    wanted = {(one.sequence, one.quad) for candidates in chosen.values() for one in candidates}
    crops = _crops(wanted | {(group.best_sequence, group.best_quad) for group in listed}, load, config)
    return Report(
        schema=SCHEMA,
        source=source.key,
        video_path=source.path,
        duration_s=round(float(timeline.duration), 3),
        sample_fps=source.sample_fps,
        job_id=job_id,
        profile=profile,
        brands=[_brand(e, found.names[e.brand_id], chosen[e.brand_id], timeline, crops) for e in exposures],
        unresolved=[_unresolved_row(group, timeline, config, crops) for group in listed],
        stages={stage.name: _stage(stage) for stage in stages},
        cost_usd=round(sum(float(stage.stats.get("cost_usd") or 0) for stage in stages), 6),
        warnings=[
            *(warning for stage in stages for warning in _warnings(stage)),
            *sizes.warnings(source.path),
            *_unreadable(stages),
            *([BOARD_OR_SHIRT] if exposures and not people_known else []),
        ],
        media={
            "width": sizes.usual[0],
            "height": sizes.usual[1],
            "fps": source.fps,
            "codec": source.codec,
            "is_image": source.is_image,
            "frames": timeline.sampled,
            "frames_kept": timeline.kept,
        },
        cuts=[round(float(cut), 3) for cut in timeline.cuts()],
        branded_seconds=round(float(total(union(*(e.intervals for e in exposures)))), 3),
        unresolved_total=len(unresolved),
        files=list(REPORT_FILES),
    )


class _Sizes:
    """Sizes (width, height) of the stored frames [px], and the times at which they change [s]."""

    def __init__(self) -> None:
        self._frames: Counter[tuple[int, int]] = Counter()
        self._since: list[tuple[float, tuple[int, int]]] = []

    def counted(self, frame: SampledFrame) -> SampledFrame:
        """Counts the frame's size and returns the frame."""
        size = (frame.width, frame.height)
        self._frames[size] += 1
        if not self._since or self._since[-1][1] != size:
            self._since.append((frame.timestamp, size))
        return frame

    @property
    def usual(self) -> tuple[int, int]:
        """The most frequent size; (0, 0) without frames."""
        return self._frames.most_common(1)[0][0] if self._frames else (0, 0)

    def warnings(self, path: str) -> list[str]:
        """A warning with the first changes, if the size changes."""
        if len(self._frames) < 2:
            return []
        listed = ", ".join(f"{w} x {h} px from {at:.2f} s" for at, (w, h) in self._since[:_CHANGES_LISTED])
        more = len(self._since) - _CHANGES_LISTED
        return [
            f"{PurePath(path).name}: the picture changes its size ({listed}{f' and {more} more' if more > 0 else ''}); "
            "each change counts as a cut, and shares of the picture are of its size at that time."
        ]


def _people_known(stages: Iterable[StageSummary]) -> bool:
    """Whether `detect_objects` had a model with labels of people."""
    stats = next((stage.stats for stage in stages if stage.name == "detect_objects"), {})
    return bool(stats.get("people", "model" in stats))


def _evidence(
    candidates: Iterable[_EvidenceCandidate], timeline: Timeline, config: BrandReportConfig
) -> list[_EvidenceCandidate]:
    """The clearest candidates, spread over time, rising by time."""
    ranked = sorted(candidates, key=lambda c: (-c.quality, c.sequence))
    times = [float(timeline.time(c.sequence)) for c in ranked]
    spacing = (max(times) - min(times)) / max(1, config.evidence_per_brand)
    chosen: list[int] = []
    for distance in (spacing, spacing / 2, spacing / 4, 0.0):
        for i, at in enumerate(times):
            if len(chosen) == config.evidence_per_brand:
                break
            if i not in chosen and all(abs(at - times[j]) >= distance for j in chosen):
                chosen.append(i)
    return sorted((ranked[i] for i in chosen), key=lambda c: c.sequence)


def _unresolved(groups: Mapping[str, CandidateGroup], timeline: Timeline) -> list[CandidateGroup]:
    """The groups by falling seconds times confidence. Misreadings and pieces of a text join its group."""

    def weight(group: CandidateGroup) -> float:
        return float(sum(timeline.seconds(sequence) for sequence in group.frames)) * group.confidence

    return together(groups, weight)


def _crops(
    wanted: Iterable[tuple[int, Quad]], load: Callable[[int], Image], config: BrandReportConfig
) -> dict[tuple[int, Quad], str]:
    crops: dict[tuple[int, Quad], str] = {}
    image: tuple[int, Image] | None = None
    for sequence, quad in sorted(wanted):
        if image is None or image[0] != sequence:
            image = (sequence, load(sequence))
        picture = evidence(image[1], quad, width=config.crop_width)
        crops[sequence, quad] = data_uri(jpeg_within(picture, config.crop_bytes))
    return crops


def _brand(
    exposure: Exposure,
    name: str,
    shown: Sequence[_EvidenceCandidate],
    timeline: Timeline,
    crops: Mapping[tuple[int, Quad], str],
) -> BrandRow:
    factors = {field: round(value, 4) for field, value in zip(Factors._fields, exposure.mean.factors, strict=True)}
    return BrandRow(
        name=name,
        brand_id=exposure.brand_id,
        source=exposure.source,
        seconds=round(float(total(exposure.intervals)), 3),
        intervals=floats(exposure.intervals),
        zones={zone: round(float(total(exposure.zones.get(zone, ()))), 3) for zone in ZONES},
        solus_seconds=round(float(exposure.solus), 3),
        screen_share={"mean": round(exposure.mean.share, 6), "max": round(exposure.largest_share, 6)},
        visibility=round(exposure.mean.factors.visibility, 4),
        factors=factors,
        confidence=round(exposure.mean.confidence, 4),
        occurrences=len(exposure.intervals),
        evidence=[
            Evidence(
                t=round(float(timeline.time(one.sequence)), 3),
                crop=crops[one.sequence, one.quad],
                zone=one.zone,
                text=one.text,
                confidence=round(one.confidence, 4),
            )
            for one in shown
        ],
        stretches=[
            StretchRow(
                zone=stretch.zone,
                start_s=round(float(stretch.span[0]), 3),
                end_s=round(float(stretch.span[1]), 3),
                screen_share=round(stretch.measured.share, 6),
                visibility=round(stretch.measured.factors.visibility, 4),
                confidence=round(stretch.measured.confidence, 4),
            )
            for stretch in exposure.stretches
        ],
        segments=[
            SegmentRow(
                zone="+".join(segment.zones),
                start_s=float(segment.span[0]),
                end_s=float(segment.span[1]),
                seconds=float(segment.span[1] - segment.span[0]),
                screen_share=round(segment.measured.share, 6),
                visibility=round(segment.measured.factors.visibility, 4),
                confidence=round(segment.measured.confidence, 4),
            )
            for segment in exposure.segments
        ],
    )


def _unresolved_row(
    group: CandidateGroup, timeline: Timeline, config: BrandReportConfig, crops: Mapping[tuple[int, Quad], str]
) -> UnresolvedRow:
    spans = timeline.on_screen(group.frames, exact(config.bridge_gap_s))
    return UnresolvedRow(
        text=group.text,
        seconds=round(float(total(spans)), 3),
        intervals=floats(spans),
        crop=crops[group.best_sequence, group.best_quad],
        reason=group.reason,
        perhaps=group.perhaps,
        csv_line=group.csv_line,
        zone=group.zone,
        confidence=round(group.confidence, 4),
        t=round(float(timeline.time(group.best_sequence)), 3),
    )


def _stage(stage: StageSummary) -> StageRow:
    note = next((str(v) for key in ("outcome", "skipped") if isinstance(v := stage.stats.get(key), str)), "")
    return StageRow(wall_s=round(stage.wall_s, 3), items=stage.items, reused=stage.reused, note=note)


def _warnings(stage: StageSummary) -> list[str]:
    """A stage's warnings, and the reason why it was skipped. A stage that is only not configured gives no warning.

    For a missing object detector, BOARD_OR_SHIRT is the warning, and the stage's note has the reason.
    """
    stored: Any = stage.stats.get("warnings") or ()
    warnings = [str(stored)] if isinstance(stored, str) else [str(one) for one in stored]
    if stage.name != "detect_objects" and isinstance(stage.stats.get("skipped"), str) and stage.stats["skipped"]:
        warnings.append(f"{stage.name} was skipped: {stage.stats['skipped']}")
    return warnings


def _unreadable(stages: Sequence[StageSummary]) -> list[str]:
    """A warning on known brands that have no spelling in a script that this job's recogniser reads."""
    stats = {stage.name: stage.stats for stage in stages}
    scripts = stats.get("run_ocr", {}).get("scripts")
    brands = stats.get("match_brands", {}).get("brands_by_script") or {}
    warning = brands_never_found(brands, scripts) if scripts else ""
    return [warning] if warning else []
