"""Delay Ctrl-C while libraries are loaded.

Belongs here: delaying signals. `detection_assets/jobs/job_of_run.py` handles the interruption of a job.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

HELD: Final = (signal.SIGINT, signal.SIGTERM)
"""Signals by which a user, the system or Dagster interrupts a run."""


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delays the first SIGINT or SIGTERM until the block ends, then raises it again for the previous handlers.

    A library that is interrupted while it loads may raise an unrelated error without a cause: OmegaConf raises
    ConfigKeyError `from None`. A second signal is not delayed. Signals reach the main thread only; in other threads the
    block has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HELD}
    came: list[int] = []

    def release() -> None:
        for number, handler in before.items():
            # None is a handler that was not set from Python and cannot be restored.
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
