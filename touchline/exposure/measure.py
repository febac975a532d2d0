"""Exposure: how long, how large and how clearly each brand is seen. These are the numbers of the report.

Belongs here: seconds, screen share and the visibility factors, with their formulas. The choice of evidence and all
pictures are in `touchline/stages/brand_report.py`.

Every factor is 0..1 and is averaged over the seconds in which the brand was observed. Bridged gaps have no measurement
and no weight. At one moment, over the brand's regions in the picture, with areas as shares of the picture:

- size: square root of (area / `full_size_share`), at most 1. The root, because viewers perceive length, not area.
- position: 1 - d^2, averaged by area; d is the distance from the centre of the picture in half diagonals, so that the
  centre is 1, the middle of the upper edge of a 16:9 picture 0.76, and a corner 0.
- clarity: that of the clearest region, which a viewer reads.
- unoccluded: averaged by area.
- share_of_voice: the brand's area / the area of all brands at that moment; 1 for a brand alone.

Visibility is the product of the five averages. Relo Metrics' glossary and Nielsen's QI score name these factors.
Neither publishes a formula, so the formulas are our own.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, NamedTuple, get_args

from touchline.exposure.intervals import Span, Spans, shared, subtract, total, union
from touchline.exposure.segments import cut_by_zone, to_millisecond, to_milliseconds
from touchline.exposure.timeline import Timeline
from touchline.geometry import area, bounds, box_area, intersection, iou
from touchline.values import BrandDetection, BrandSourceName, Quad, Zone

ZONES: Final[tuple[Zone, ...]] = get_args(Zone)
"""All zones, in the order of reports."""
_SAME_REGION: Final = 0.5
"""Overlap of the boxes of two quads above which they are readings of one region of a brand [IoU, 0-1]."""


class Observation(NamedTuple):
    """A brand in one region of one kept frame, reduced to what exposure needs.

    `share` is the region's area [share of the picture], `distance` that of its centre from the picture's centre [half
    diagonals], and `box` is x1, y1, x2, y2 [shares of width and height]. The other numbers are 0..1.
    """

    brand_id: str
    zone: Zone
    source: BrandSourceName
    share: float
    distance: float
    box: tuple[float, float, float, float]
    clarity: float
    unoccluded: float
    confidence: float


class Factors(NamedTuple):
    """The five visibility factors, each 0..1."""

    size: float
    position: float
    clarity: float
    unoccluded: float
    share_of_voice: float

    @property
    def visibility(self) -> float:
        """The product of the five factors, 0..1."""
        return math.prod(self)


class Measurement(NamedTuple):
    """The measured values of one moment, or their averages: screen share, factors and confidence, all 0..1."""

    share: float
    factors: Factors
    confidence: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """One uninterrupted time span of a brand in one zone, with the averages over it."""

    zone: Zone
    span: Span
    measured: Measurement


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a brand's time with the same zones throughout, with the averages over all its regions."""

    zones: tuple[Zone, ...]
    span: Span
    measured: Measurement


@dataclass(frozen=True, slots=True)
class Exposure:
    """The exposure of one brand in one source.

    The spans of `zones` may overlap and together cover `intervals`; `segments` cover them as well and do not overlap.
    `solus` is the time in which no other brand is on screen [s].
    """

    brand_id: str
    source: BrandSourceName
    intervals: Spans
    zones: Mapping[Zone, Spans]
    solus: Fraction
    mean: Measurement
    largest_share: float
    stretches: tuple[Stretch, ...]
    segments: tuple[Segment, ...]


def observation(detection: BrandDetection, size: tuple[int, int]) -> Observation:
    """The observation of a detection in a frame of `size` (width, height) [px].

    The part of the quad outside the frame does not count.
    """
    width, height = size
    x1, y1, x2, y2 = bounds(detection.quad)
    inside = intersection((x1, y1, x2, y2), (0, 0, width, height)) / max(1e-9, box_area((x1, y1, x2, y2)))
    return Observation(
        brand_id=detection.brand_id,
        zone=detection.zone,
        source=detection.source,
        share=min(1.0, area(detection.quad) * inside / max(1, width * height)),
        distance=_distance(detection.quad, width, height),
        box=(x1 / width, y1 / height, x2 / width, y2 / height),
        clarity=_unit(detection.clarity),
        unoccluded=_unit(detection.unoccluded),
        confidence=_unit(detection.confidence),
    )


def _distance(quad: Quad, width: int, height: int) -> float:
    x, y = (sum(p[i] for p in quad) / 4 for i in (0, 1))
    return min(1.0, math.hypot(x - width / 2, y - height / 2) / (math.hypot(width, height) / 2))


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def expose(
    seen: Mapping[int, Sequence[Observation]], timeline: Timeline, *, bridge_gap: Fraction, full_size_share: float
) -> list[Exposure]:
    """The exposure of every brand among the observations (by the kept frame's sequence), longest first.

    `bridge_gap` is the longest gap within a shot that is closed [s], `full_size_share` the share of the picture from
    which the size factor is 1.
    """
    whole: dict[str, dict[int, Measurement]] = defaultdict(dict)
    parts: dict[tuple[str, Zone], dict[int, Measurement]] = defaultdict(dict)
    sources: dict[str, Counter[BrandSourceName]] = defaultdict(Counter)
    for sequence in sorted(seen):
        regions = _regions(seen[sequence])
        all_brands = sum(region.share for group in regions.values() for region in group)
        for brand, group in regions.items():
            whole[brand][sequence] = _measure(group, all_brands, full_size_share)
            sources[brand][group[0].source] += 1
            zones = {region.zone for region in group}
            for zone in zones:
                in_zone = [region for region in group if region.zone == zone]
                parts[brand, zone][sequence] = (
                    whole[brand][sequence] if len(zones) == 1 else _measure(in_zone, all_brands, full_size_share)
                )
    spans = {brand: timeline.on_screen(measured, bridge_gap) for brand, measured in whole.items()}
    together = shared(*spans.values())
    exposures = []
    for brand, measured in whole.items():
        zones_of = {
            zone: timeline.on_screen(parts[brand, zone], bridge_gap) for zone in ZONES if (brand, zone) in parts
        }
        covering = _with_gaps(zones_of, spans[brand])
        exposures.append(
            Exposure(
                brand_id=brand,
                source=sources[brand].most_common(1)[0][0],
                intervals=spans[brand],
                zones=covering,
                solus=total(subtract(spans[brand], together)),
                mean=_average(_weighted(measured, timeline)),
                largest_share=max(m.share for m in measured.values()),
                stretches=tuple(
                    sorted(
                        (
                            s
                            for zone in covering
                            for s in _stretches(zone, covering[zone], parts[brand, zone], timeline)
                        ),
                        key=lambda stretch: (stretch.span, stretch.zone),
                    )
                ),
                segments=tuple(_segments(covering, measured, timeline)),
            )
        )
    return sorted(exposures, key=lambda e: (-total(e.intervals), -e.mean.factors.visibility, e.brand_id))


def in_milliseconds(exposures: Sequence[Exposure]) -> list[Exposure]:
    """The exposures with all times rounded to the millisecond, as in reports, and `solus` computed from these.

    So the sums in a report are exactly those of its times. Segments that are shorter are left out.
    """
    intervals = [to_milliseconds(e.intervals) for e in exposures]
    together = shared(*intervals)
    return [
        replace(
            e,
            intervals=spans,
            zones={zone: to_milliseconds(of_zone) for zone, of_zone in e.zones.items()},
            solus=total(subtract(spans, together)),
            stretches=tuple(replace(s, span=to_millisecond(s.span)) for s in e.stretches),
            segments=tuple(
                replace(s, span=rounded)
                for s in e.segments
                if (rounded := to_millisecond(s.span))[0] < rounded[1] or s.span[0] == s.span[1]
            ),
        )
        for e, spans in zip(exposures, intervals, strict=True)
    ]


def _regions(observations: Iterable[Observation]) -> dict[str, list[Observation]]:
    """The regions of each brand. Of several readings of one region, the largest counts."""
    regions: dict[str, list[Observation]] = defaultdict(list)
    for one in sorted(observations, key=lambda o: (-o.share, -o.confidence)):
        if all(iou(one.box, other.box) <= _SAME_REGION for other in regions[one.brand_id]):
            regions[one.brand_id].append(one)
    return regions


def _measure(regions: Sequence[Observation], all_brands: float, full_size_share: float) -> Measurement:
    """The values of one brand at one moment. `all_brands` is the area of all brands [share of the picture]."""
    own = sum(region.share for region in regions)
    weights = [region.share / own if own else 1 / len(regions) for region in regions]
    share = min(1.0, own)
    factors = Factors(
        size=min(1.0, math.sqrt(share / full_size_share)),
        position=sum(w * (1 - r.distance**2) for w, r in zip(weights, regions, strict=True)),
        clarity=max(r.clarity for r in regions),
        unoccluded=_unit(sum(w * r.unoccluded for w, r in zip(weights, regions, strict=True))),
        share_of_voice=min(1.0, own / all_brands) if all_brands else 1.0,
    )
    return Measurement(share, factors, max(r.confidence for r in regions))


def _weighted(measured: Mapping[int, Measurement], timeline: Timeline) -> list[tuple[float, Measurement]]:
    return [(float(timeline.seconds(sequence)), one) for sequence, one in measured.items()]


def _average(weighted: Sequence[tuple[float, Measurement]]) -> Measurement:
    """The mean weighted by seconds. If no moment has a duration (a still picture), all have the same weight."""
    weights = [weight for weight, _ in weighted]
    if not sum(weights):
        weights = [1.0] * len(weighted)
    whole = sum(weights)

    def mean(values: Iterable[float]) -> float:
        return _unit(sum(w * v for w, v in zip(weights, values, strict=True)) / whole)

    ones = [one for _, one in weighted]
    return Measurement(
        share=mean(one.share for one in ones),
        factors=Factors(*(mean(one.factors[i] for one in ones) for i in range(len(Factors._fields)))),
        confidence=mean(one.confidence for one in ones),
    )


def _with_gaps(zones: Mapping[Zone, Spans], intervals: Spans) -> dict[Zone, Spans]:
    """The times of the zones. A bridged gap between two zones belongs to the zone before it."""
    gaps = subtract(intervals, union(*zones.values()))
    covering: dict[Zone, Spans] = {}
    for zone, spans in zones.items():
        ends = {end for _, end in spans}
        covering[zone] = union(spans, (gap for gap in gaps if gap[0] in ends))
    return covering


def _moments(measured: Mapping[int, Measurement], timeline: Timeline) -> list[tuple[Span, Measurement]]:
    """Each span that a measured frame represents, rising, with the frame's measurement."""
    return sorted(
        ((span, one) for sequence, one in measured.items() for _, span in timeline.moments(sequence)),
        key=lambda moment: moment[0],
    )


def _stretches(zone: Zone, spans: Spans, measured: Mapping[int, Measurement], timeline: Timeline) -> Iterable[Stretch]:
    """Each span of the zone with the averages of the moments in it."""
    moments = _moments(measured, timeline)
    at = 0
    for span in spans:
        # Spans do not touch, and each moment lies in exactly one, which its start identifies.
        here: list[tuple[float, Measurement]] = []
        while at < len(moments) and moments[at][0][0] <= span[1]:
            (start, end), one = moments[at]
            here.append((float(end - start), one))
            at += 1
        if here:
            yield Stretch(zone, span, _average(here))


def _segments(
    zones: Mapping[Zone, Spans], measured: Mapping[int, Measurement], timeline: Timeline
) -> Iterable[Segment]:
    """The brand's time, cut where its zones change.

    A part without a measurement (a bridged gap) has the averages of the moment before it.
    """
    moments = _moments(measured, timeline)
    first = 0
    for there, (start, end) in cut_by_zone(zones):
        while first + 1 < len(moments) and moments[first + 1][0][0] <= start:
            first += 1
        here: list[tuple[float, Measurement]] = []
        at = first
        while at < len(moments) and (moments[at][0][0] < end or at == first):
            (begins, ends), one = moments[at]
            here.append((max(0.0, float(min(end, ends) - max(start, begins))), one))
            at += 1
        has_duration = any(weight for weight, _ in here)
        yield Segment(there, (start, end), _average(here if has_duration else here[:1]))
