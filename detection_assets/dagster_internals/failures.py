"""Why a run failed, read from the types of its events and the classes of their errors, never from message texts.

Belongs here: Dagster's failure events. What becomes of the job is decided in `jobs/lifecycle.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import dagster as dg
from dagster import DagsterInstance
from dagster_postgres.utils import DagsterPostgresException
from dagster_shared.error import SerializableErrorInfo

from resources.leases import LeaseLostError
from touchline.errors import ServiceError, without_class

INTERRUPTION: Final = dg.DagsterExecutionInterruptedError.__name__
AWAY: Final = ("OperationalError", "InterfaceError", DagsterPostgresException.__name__)
"""Classes of errors of SQLAlchemy, psycopg2 and Dagster's storages where the database went away under a run."""
OUTSIDE: Final = frozenset({INTERRUPTION, ServiceError.__name__, LeaseLostError.__name__, *AWAY})
"""Classes of errors that are no fault of the work itself."""

DagsterPostgresError = DagsterPostgresException
"""Raised by Dagster's storages once their own retries of a connection are over."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    `message` is empty where Dagster has none. `interrupted`: the step that failed, or the run itself, was interrupted.
    `from_outside`: no step has a fault of its own; its process died or was interrupted, or a server stayed away.
    """

    message: str
    interrupted: bool
    from_outside: bool


def failure_of(instance: DagsterInstance, run_id: str) -> Failure:
    """Why a run failed, from its stored events."""
    return failure_in(entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event)


def failure_in(events: Iterable[dg.DagsterEvent]) -> Failure:
    """Why a run failed, from all its events in order: the first step that did, else the run itself.

    A run that Dagster fails from outside has no error and no reason. Where an engine event stands directly before that,
    it says what happened, and both messages are joined.
    """
    steps: list[SerializableErrorInfo] = []
    own, noted, interrupted = "", "", False
    for event in events:
        if event.is_step_failure and event.step_failure_data.error:
            steps.append(event.step_failure_data.error)
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            data = event.job_failure_data
            error = data.error if data else None
            said = message_of(error.cause or error) if error else event.message or ""
            own = said if data or not noted else f"{said.rstrip('.')}: {noted}"
            interrupted = error is not None and INTERRUPTION in _classes(error)
        noted = (event.message or "") if event.is_engine_event else ""
    if not steps:
        return Failure(own, interrupted, from_outside=True)
    outside = all(OUTSIDE & {error.cls_name, (error.cause or error).cls_name} for error in steps)
    return Failure(message_of(steps[0].cause or steps[0]), INTERRUPTION in _classes(steps[0]), outside)


def message_of(error: SerializableErrorInfo) -> str:
    """What Dagster kept of an exception, in words: one that is raised on purpose without the name of its class."""
    return without_class(str(error.message))


def _classes(error: SerializableErrorInfo) -> Iterator[str | None]:
    """The names of an error's class and of those of its causes."""
    cause: SerializableErrorInfo | None = error
    while cause is not None:
        yield cause.cls_name
        cause = cause.cause
