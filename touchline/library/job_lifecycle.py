"""The lifecycle of a job: which status may follow which.

Belongs here: the table. `touchline/library/repository/jobs.py` checks it before every change of a row.
`detection_assets/jobs/lifecycle.py` decides when a Dagster run changes a status.
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
"""For each status, the statuses that may follow. No job runs twice: continuing a failed or paused job creates a new
job."""

FINAL: Final = frozenset(status for status, following in MOVES.items() if not following)
"""Statuses that never change."""
ACTIVE: Final = frozenset(status for status, following in MOVES.items() if Status.COMPLETED in following)
"""Statuses of a job whose run has not ended."""
OVER: Final = frozenset({Status.COMPLETED, Status.CANCELLED, Status.FAILED})
"""Statuses of a job that has `completed_at`."""


def may_become(before: Status, after: Status) -> bool:
    """Whether a job may change from `before` to `after`. False if they are equal."""
    return after in MOVES[before]
