"""Segments: a brand's time, cut where its zones change. They never overlap, so their durations can be added up.

Belongs here: cutting, and rounding of times to the millisecond. If two zones show the brand at the same time, for
example a board and an overlay, that time is one segment of both zones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise

from touchline.exposure.intervals import Span, Spans, subtract, union
from touchline.values import Zone


def cut_by_zone(zones: Mapping[Zone, Spans]) -> list[tuple[tuple[Zone, ...], Span]]:
    """(zones on screen, in the mapping's order; span) of each segment, rising by time.

    Segments do not overlap and together cover what the zones cover. An instant (a still picture, a sample without a
    duration) is a segment only if no other segment touches it.
    """
    begins: dict[Fraction, set[Zone]] = defaultdict(set)
    ends: dict[Fraction, set[Zone]] = defaultdict(set)
    instants: dict[Fraction, set[Zone]] = defaultdict(set)
    for zone, spans in zones.items():
        for start, end in union(spans):
            if start == end:
                instants[start].add(zone)
            else:
                begins[start].add(zone)
                ends[end].add(zone)
    pieces: list[tuple[set[Zone], Span]] = []
    on_screen: set[Zone] = set()
    for start, end in pairwise(sorted(begins.keys() | ends.keys())):
        on_screen = (on_screen - ends[start]) | begins[start]
        if on_screen:
            pieces.append((on_screen, (start, end)))
    covered = [span for _, span in pieces]
    for instant in subtract(((at, at) for at in instants), covered):
        pieces.append((instants[instant[0]], instant))
    return [
        (tuple(zone for zone in zones if zone in there), span)
        for there, span in sorted(pieces, key=lambda piece: piece[1])
    ]


def to_millisecond(span: Span) -> Span:
    """The span with both ends rounded to the millisecond. Spans that touch still touch."""
    start, end = (Fraction(round(at * 1000), 1000) for at in span)
    return start, end


def to_milliseconds(spans: Iterable[Span]) -> Spans:
    """The set with all ends rounded to the millisecond, as in reports."""
    return union(map(to_millisecond, spans))
