"""Retry a request to a server until a deadline: one rule for all clients.

Belongs here: the deadline (TOUCHLINE_PATIENCE_S), growing random pauses, and the log message of a long wait. Each
client knows which of its errors are transient: `database.py`, `object_store.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import tenacity

DEFAULT_RETRY_S: Final = 120.0
"""Default retry deadline for an unavailable server [s]; TOUCHLINE_PATIENCE_S overrides it."""
LONGEST_PAUSE_S: Final = 5.0
"""Maximum pause between two attempts [s]."""
NOTICE_S: Final = 5.0
"""Waiting time after which a warning is logged, once [s]."""
REFUSALS: Final = ("starting up", "shutting down", "recovery", "not yet accepting", "too many", "terminating")
"""Parts of Postgres's FATAL messages that are transient, unlike a wrong password or database."""

T = TypeVar("T")
log = logging.getLogger("touchline.servers")


def call_with_retry(
    work: Callable[[], T], transient: Callable[[BaseException], bool], *, deadline_s: float, name: str
) -> T:
    """The result of `work`, retried for `deadline_s` seconds; 0 tries once. `name` names the server in the log.

    Raises the exceptions of `work`: at once if `transient` is false of them, else after the deadline.
    """
    logged = False

    def notice(state: tenacity.RetryCallState) -> None:
        nonlocal logged
        waited = state.seconds_since_start or 0.0
        if waited >= NOTICE_S and not logged and state.outcome is not None:
            logged = True
            error = state.outcome.exception()
            reason = (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0]
            log.warning("waiting for %s, up to %g s: %s", name, deadline_s, reason)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(transient),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=LONGEST_PAUSE_S),
        stop=tenacity.stop_after_delay(deadline_s),
        before_sleep=notice,
        reraise=True,
    )
    return retrying(work)


def is_transient(message: str) -> bool:
    """Whether the error message of a failed connection to Postgres is transient."""
    return "FATAL:" not in message or any(words in message for words in REFUSALS)
