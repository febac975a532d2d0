"""Ctrl-C while libraries are loaded: kept until they are done.

Belongs here: holding signals. What an interruption does to a job is in `detection_assets/jobs/job_of_run.py`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

HELD: Final = (signal.SIGINT, signal.SIGTERM)
"""The signals by which a person, a system or Dagster interrupts a run."""


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keeps the first SIGINT or SIGTERM until the block ends, then raises it anew for the handlers of before.

    Libraries that are interrupted while they load fail at their clean-up and raise errors of their own without a
    cause: OmegaConf raises ConfigKeyError `from None`, and the run would fail for a fault that nobody has. A second
    signal is not held: whoever asks twice wants the end now. Signals reach the main thread alone; in others nothing is
    held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HELD}
    came: list[int] = []

    def release() -> None:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and cannot be set again from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            release()
            signal.raise_signal(number)

    for number in HELD:
        signal.signal(number, hold)
    try:
        yield
    finally:
        release()
        if len(came) == 1:
            signal.raise_signal(came[0])
