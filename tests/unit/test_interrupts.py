"""Interruptions while libraries load: kept, then raised as what they are."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from resources import models
from resources.interrupts import HELD, interrupts_held

Interrupt = Callable[[], None]


@pytest.fixture(params=HELD, ids=lambda number: number.name)
def interrupt(request: pytest.FixtureRequest) -> Iterator[Interrupt]:
    """Sends this process the signal, which raises KeyboardInterrupt as in a run."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield partial(signal.raise_signal, request.param)
    signal.signal(request.param, before)


def held(*steps: Callable[[], object]) -> None:
    with interrupts_held():
        for step in steps:
            step()


def test_an_interruption_waits_until_the_block_is_done(interrupt: Interrupt) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(interrupt, lambda: done.append("the rest"))
    assert done == ["the rest"]
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_the_second_interruption_is_raised_at_once(interrupt: Interrupt) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(interrupt, interrupt, lambda: done.append("the rest"))
    assert done == []


def test_an_error_of_the_block_gives_way_to_the_interruption(interrupt: Interrupt) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        held(interrupt, lambda: [][0])
    assert isinstance(caught.value.__context__, IndexError)


def test_other_threads_load_without_it() -> None:
    handlers = [signal.getsignal(number) for number in HELD]
    seen: list[Any] = []

    def load() -> None:
        with interrupts_held():
            seen.extend(signal.getsignal(number) for number in HELD)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert seen == handlers


def test_a_model_that_is_interrupted_while_it_loads_is_no_fault(
    interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hiding(*_: object) -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise KeyError("_invalidate_flags_cache") from None

    monkeypatch.setattr(models, "_ocr", hiding)
    with pytest.raises(KeyboardInterrupt):
        models.Models().ocr("rapidocr")
