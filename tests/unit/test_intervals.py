"""Interval arithmetic, held against the plain definition: which instants lie in a set."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchline.exposure.intervals import (
    Span,
    Spans,
    bridge,
    exact,
    floats,
    shared,
    subtract,
    total,
    union,
)

TICKS = 24


def _span(pair: tuple[int, int]) -> Span:
    return (Fraction(min(pair), 3), Fraction(max(pair), 3))


instant = st.integers(0, TICKS)
spans = st.lists(st.tuples(instant, instant).map(_span), max_size=8)
lengthy = st.lists(st.tuples(instant, instant).filter(lambda p: p[0] != p[1]).map(_span), max_size=8)


def cells(some: list[Span] | Spans) -> set[int]:
    """The thirds of a second that the spans cover: what any exact arithmetic must agree with."""
    return {i for i in range(TICKS) for start, end in some if start <= Fraction(i, 3) and Fraction(i + 1, 3) <= end}


def is_set(some: Spans) -> bool:
    """Rising, each forwards, with daylight between neighbours."""
    return all(a <= b for a, b in some) and all(a[1] < b[0] for a, b in itertools.pairwise(some))


@settings(deadline=None)
@given(spans, spans)
def test_union_holds_what_either_holds(a: list[Span], b: list[Span]) -> None:
    result = union(a, b)
    assert is_set(result)
    assert cells(result) == cells(a) | cells(b)
    assert union(result) == result == union(b, a)


@settings(deadline=None)
@given(spans, spans)
def test_difference_holds_what_only_the_first_holds(a: list[Span], b: list[Span]) -> None:
    result = subtract(a, b)
    assert is_set(result)
    assert cells(result) == cells(a) - cells(b)
    assert total(result) + total(subtract(a, result)) == total(a)


@settings(deadline=None)
@given(lengthy, lengthy, lengthy)
def test_shared_time_is_that_of_at_least_two(a: list[Span], b: list[Span], c: list[Span]) -> None:
    result = shared(a, b, c)
    assert is_set(result)
    assert cells(result) == (cells(a) & cells(b)) | (cells(a) & cells(c)) | (cells(b) & cells(c))


@settings(deadline=None)
@given(spans, st.integers(0, 6))
def test_bridging_closes_short_gaps_and_no_others(a: list[Span], gap: int) -> None:
    length = Fraction(gap, 3)
    result = bridge(a, length)
    assert cells(union(a)) <= cells(result)
    assert all(b[0] - c[1] > length for c, b in itertools.pairwise(result))
    for before, after in itertools.pairwise(union(a)):
        bridged = any(start <= before[1] and after[0] <= end for start, end in result)
        assert bridged == (after[0] - before[1] <= length)
    assert bridge(result, length) == result


@settings(deadline=None)
@given(spans)
def test_the_total_counts_what_is_covered_twice_once(a: list[Span]) -> None:
    assert total(a) == Fraction(len(cells(union(a))), 3)


def test_an_instant_survives_unless_it_is_covered() -> None:
    point, second = (Fraction(1), Fraction(1)), (Fraction(1), Fraction(2))
    assert union([point]) == (point,)
    assert total([point]) == 0
    assert union([point], [second]) == (second,)
    assert subtract([point], [second]) == ()
    assert subtract([second], [point]) == (second,)


def test_a_span_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="must not end before it starts"):
        union([(Fraction(2), Fraction(1))])


def test_floats_exist_at_the_edges_only() -> None:
    assert exact(0.1) + exact(0.2) == exact(0.3)
    assert floats([(Fraction(1001, 30000), Fraction(1, 3))]) == [[0.033, 0.333]]
