"""Exact arithmetic on sets of time spans.

Belongs here: pure functions on spans of `Fraction` seconds. A set is a tuple of spans, rising, that neither overlap nor
touch; every function takes any spans and returns such a set. A span may be a single instant, start == end, because the
sample of a still picture has no duration. Floats are converted by `exact` and `floats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Final

Span = tuple[Fraction, Fraction]
"""Start and end [s], start <= end."""
Spans = tuple[Span, ...]
"""A set of time spans, rising, that neither overlap nor touch."""

MICROSECONDS: Final = 1_000_000
"""Microseconds per second [1/s]."""
ZERO: Final = Fraction(0)
"""A duration of zero [s]."""


def exact(seconds: float) -> Fraction:
    """A time [s] as an exact fraction, rounded to the nearest microsecond."""
    return Fraction(round(seconds * MICROSECONDS), MICROSECONDS)


def union(*sets: Iterable[Span]) -> Spans:
    """The union of all spans. Spans that touch are merged. Raises ValueError if a span ends before it starts."""
    return tuple(_merged(sorted(span for spans in sets for span in spans), ZERO))


def bridge(spans: Iterable[Span], gap: Fraction) -> Spans:
    """The union of the spans, with gaps of at most `gap` [s] between neighbours closed. Raises as `union` does."""
    return tuple(_merged(sorted(spans), gap))


def _merged(ordered: Iterable[Span], gap: Fraction) -> Iterator[Span]:
    current: Span | None = None
    for start, end in ordered:
        if end < start:
            raise ValueError(f"A span must not end before it starts, got {float(start)} s to {float(end)} s.")
        if current is None:
            current = (start, end)
        elif start - current[1] <= gap:
            current = (current[0], max(current[1], end))
        else:
            yield current
            current = (start, end)
    if current is not None:
        yield current


def subtract(spans: Iterable[Span], others: Iterable[Span]) -> Spans:
    """The parts of the spans that `others` do not cover. An instant in `others` does not split a longer span."""
    left: list[Span] = []
    holes = union(others)
    first = 0
    for start, end in union(spans):
        while first < len(holes) and holes[first][1] < start:
            first += 1
        if start == end:
            if not (first < len(holes) and holes[first][0] <= start <= holes[first][1]):
                left.append((start, end))
            continue
        at, i = start, first
        while i < len(holes) and holes[i][0] < end:
            hole_start, hole_end = holes[i]
            if hole_start < hole_end:
                if hole_start > at:
                    left.append((at, hole_start))
                at = max(at, hole_end)
            i += 1
        if at < end:
            left.append((at, end))
    return union(left)


def shared(*sets: Iterable[Span]) -> Spans:
    """The time that at least two of the sets cover."""
    changes = sorted(
        (at, step) for spans in sets for start, end in union(spans) for at, step in ((start, 1), (end, -1))
    )
    found: list[Span] = []
    depth = 0
    for (at, step), (following, _) in pairwise(changes):
        depth += step
        if depth >= 2 and following > at:
            found.append((at, following))
    return union(found)


def total(spans: Iterable[Span]) -> Fraction:
    """Length of the union of the spans [s]."""
    return sum((end - start for start, end in union(spans)), ZERO)


def floats(spans: Iterable[Span]) -> list[list[float]]:
    """[[start, end], ...] [s], rounded to the millisecond, as in reports."""
    return [[round(float(start), 3), round(float(end), 3)] for start, end in spans]
