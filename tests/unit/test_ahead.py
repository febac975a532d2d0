"""Work done ahead in threads comes in order, in bounds, and with its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from touchline.parallel import AHEAD, map_ahead


def test_results_come_in_the_items_order_however_long_each_takes() -> None:
    gates = [threading.Event() for _ in range(6)]

    def work(number: int) -> int:
        # Each waits for the one after it, as far as two threads allow: without threads this would never end.
        if number % 2 == 0:
            assert gates[number + 1].wait(60)
        gates[number].set()
        return number * number

    assert list(map_ahead(work, range(6), threads=2)) == [n * n for n in range(6)]


def test_no_more_items_are_taken_than_a_few_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ahead(str, items(), threads=2)
    for given in range(10):
        next(results)
        assert len(taken) <= given + 2 + 2 + AHEAD
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 20


def test_an_error_comes_where_the_result_would_and_ends_the_work() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("frame 3 is damaged")
        return number

    results = map_ahead(work, range(50), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="frame 3"):
        next(results)


def test_an_error_of_the_items_is_the_callers() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no such frame")

    with pytest.raises(OSError, match="no such frame"):
        list(map_ahead(str, items()))
