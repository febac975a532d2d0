"""Why a run failed, from the types of its events and the classes of their errors. Message texts are not parsed.

Belongs here: reading Dagster's failure events. `jobs/lifecycle.py` decides the job's status.
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
"""Class name of the error that Dagster raises in a run that is interrupted."""
DATABASE_ERRORS: Final = ("OperationalError", "InterfaceError", DagsterPostgresException.__name__)
"""Class names of errors of SQLAlchemy, psycopg2 and Dagster's storages when the connection to the database is lost."""
EXTERNAL: Final = frozenset({INTERRUPTION, ServiceError.__name__, LeaseLostError.__name__, *DATABASE_ERRORS})
"""Class names of errors that a stage does not cause: interruptions, lost servers, lost leases."""

DagsterPostgresError = DagsterPostgresException
"""Raised by Dagster's storages after their own retries of a connection."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    `message` is empty if Dagster has none. `interrupted`: the step that failed, or the run itself, was interrupted.
    `external`: no step failed by itself; its process died or was interrupted, or a server was unreachable.
    """

    message: str
    interrupted: bool
    external: bool


def failure_of(instance: DagsterInstance, run_id: str) -> Failure:
    """Why a run failed, from its stored events."""
    return failure_in(entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event)


def failure_in(events: Iterable[dg.DagsterEvent]) -> Failure:
    """Why a run failed, from all its events in order: the error of the first failed step, else that of the run.

    A run that was failed by the daemon has neither error nor reason. If an engine event directly precedes its failure,
    that event says what happened, and the two messages are joined.
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
        return Failure(own, interrupted, external=True)
    external = all(not EXTERNAL.isdisjoint(_classes(error)) for error in steps)
    return Failure(message_of(steps[0].cause or steps[0]), INTERRUPTION in _classes(steps[0]), external)


def message_of(error: SerializableErrorInfo) -> str:
    """The message of an exception in an event. Touchline's own exceptions are shown without their class name."""
    return without_class(str(error.message))


def _classes(error: SerializableErrorInfo) -> Iterator[str | None]:
    """The names of an error's class and of those of its causes."""
    cause: SerializableErrorInfo | None = error
    while cause is not None:
        yield cause.cls_name
        cause = cause.cause
