"""The matcher's work grows with the length of a text and no faster, whatever the text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from touchline.brands import BrandBook, BrandMatcher, shipped
from touchline.brands import matcher as module

LENGTH = 300
BOOK = BrandBook.from_entries(shipped()[:120])
FAMILIES: dict[str, Callable[[int], str]] = {
    "equal digits": lambda n: "1" * n,
    "equal letters": lambda n: "O0" * (n // 2),
    "digits and letters in turn": lambda n: "a1" * (n // 2),
    "words": lambda n: "xoq " * (n // 4),
    "letters apart": lambda n: "o " * (n // 2),
    "a brand over and over": lambda n: "adidas " * (n // 7),
    "a brand run together": lambda n: "adidas" * (n // 6),
    "a long brand over and over": lambda n: "qatarairways" * (n // 12),
    "pieces of brands": lambda n: "qatar airw " * (n // 11),
    "addresses": lambda n: "www.adidas.com " * (n // 15),
    "han": lambda n: "万达" * (n // 2),
}


def steps(matcher: BrandMatcher, text: str) -> int:
    """Lines of Python that a match takes, with those of every loop; calls into libraries count once for each letter."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "touchline/brands" not in frame.f_code.co_filename:
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        matcher.match(text)
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(autouse=True)
def uncut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_TEXT", 100_000)


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_the_text_takes_twice_the_work(family: str) -> None:
    matcher = BrandMatcher(BOOK)
    once, twice = (steps(matcher, FAMILIES[family](n)) for n in (LENGTH, 2 * LENGTH))
    assert twice <= 2.5 * once + 1000, f"{family}: {once} steps, {twice} for twice the text"


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="o0l1s5 aA.", min_size=1, max_size=6))
@example("0...")
def test_what_repeats_takes_work_by_its_length(unit: str) -> None:
    matcher = BrandMatcher(BOOK)
    # Shorter texts take less than their share: how far pieces reach is bounded, and the bound is met further on.
    once, twice = (steps(matcher, unit * (n // len(unit))) for n in (240, 480))
    assert twice <= 2.6 * once + 1000, f"{unit!r}: {once} steps, {twice} for twice the text"


def test_only_the_beginning_of_a_long_text_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_TEXT", 20)
    matcher = BrandMatcher(BOOK)
    assert [m.entry.name for m in matcher.match("x" * 30 + " adidas")] == []
    assert [m.entry.name for m in matcher.match("adidas " + "x" * 30)] == ["Adidas"]
