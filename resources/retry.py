"""How long a server that is away is waited for: one rule, for every client at every moment.

Belongs here: TOUCHLINE_PATIENCE_S in seconds, growing and random pauses, and telling that something is waited for.
Which errors mean that a server is away is known to its client: `database.py`, `object_store.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import tenacity

DEFAULT_RETRY_S: Final = 120.0
"""Seconds for which a server that is away is waited for, unless TOUCHLINE_PATIENCE_S says otherwise."""
LONGEST_PAUSE_S: Final = 5.0
NOTICE_S: Final = 5.0
"""A wait is told once it has lasted so long [s]: who looks on wants to know why nothing happens."""

REFUSALS: Final = ("starting up", "shutting down", "recovery", "not yet accepting", "too many", "terminating")
"""Words of Postgres's refusals that pass by themselves; a wrong password or database does not."""

T = TypeVar("T")
log = logging.getLogger("touchline.servers")


class RetryDeadline:
    """Does work again until a server is there or `seconds` are over; 0 tries once. `name` is whom it waits for."""

    def __init__(self, seconds: float, name: str) -> None:
        self.seconds: Final = seconds
        self._name = name

    def wait(self, work: Callable[[], T], passes: Callable[[BaseException], bool]) -> T:
        """What `work` returns. Raises what it raises: at once if `passes` says no, else when patience is over."""
        told = False

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal told
            waited = state.seconds_since_start or 0.0
            if waited >= NOTICE_S and not told and state.outcome is not None:
                told = True
                error = state.outcome.exception()
                reason = (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0]
                log.warning("waiting for %s, up to %g s: %s", self._name, self.seconds, reason)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=LONGEST_PAUSE_S),
            stop=tenacity.stop_after_delay(self.seconds),
            before_sleep=tell,
            reraise=True,
        )
        return retrying(work)


def is_transient(message: str) -> bool:
    """Whether what Postgres or its client library said of a connection that was not made may pass by itself."""
    return "FATAL:" not in message or any(words in message for words in REFUSALS)
