"""The life of a job: which status may follow which.

Belongs here: the table alone. Rows are changed in `touchline/library/repository/jobs.py`, which asks this table before
every change; at which moment of a Dagster run that happens is in `detection_assets/jobs/lifecycle.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from touchline.library.tables import DetectJobStatus as Status

MOVES: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        Status.PENDING: frozenset(
            {Status.RUNNING, Status.PAUSED, Status.FAILED, Status.CANCELLED, Status.COMPLETED},
        ),
        Status.RUNNING: frozenset({Status.PAUSED, Status.FAILED, Status.CANCELLED, Status.COMPLETED}),
        Status.PAUSED: frozenset({Status.CANCELLED}),
        Status.FAILED: frozenset({Status.CANCELLED}),
        Status.COMPLETED: frozenset(),
        Status.CANCELLED: frozenset(),
    }
)
"""For each status, those that may follow. No job runs twice: whoever continues one that failed or was paused makes a
job of its own."""

FINAL: Final = frozenset(status for status, following in MOVES.items() if not following)
"""A job in one of these stays so."""
ACTIVE: Final = frozenset(status for status, following in MOVES.items() if Status.COMPLETED in following)
"""A job in one of these waits for its run's result."""
OVER: Final = frozenset({Status.COMPLETED, Status.CANCELLED, Status.FAILED})
"""A job in one of these has a time of its end."""


def may_become(before: Status, after: Status) -> bool:
    """Whether a job may go from one status to another. Staying as it is is no change."""
    return after in MOVES[before]
