"""Dagster's own storage in a process that runs stages: connections are kept, and what cannot change is asked once.

Belongs here: how this process talks to Dagster's tables. What Dagster is configured to be is in `dagster.yaml`.

A run asks Dagster's tables some hundred times. By default each question opens a connection to Postgres (about 7 ms,
most of it the exchange of the password), which was half of the time that a run spends beside its stages. A fifth of the
questions would be whether Dagster's own tables and columns, and the run's partition, exist.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, ParamSpec
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from dagster import DagsterEventType, DagsterInstance, EventLogEntry
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from resources.database import only_living

P = ParamSpec("P")

OVERFLOW: Final = 8
"""Connections beyond the first that each storage may open at once."""
RECYCLE_S: Final = 600
"""Age at which a connection is replaced: firewalls forget those that live for hours [s]."""
_OF_RUNS: Final = ("has_run_stats_index_cols", "has_backfill_id_column")
"""Methods of the run storage whose yes stays true: what a migration has added is never taken away again."""
_OF_EVENTS: Final = ("has_table", "has_asset_key_index_cols", "has_asset_key_col", "has_dynamic_partition")
"""Methods of the event log storage whose yes stays true: of migrations, and of the partition that a run works on."""

_ENDS: Final = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)

_kept: Final[WeakKeyDictionary[DagsterInstance, list[sa.Engine]]] = WeakKeyDictionary()


def keep_connections(instance: DagsterInstance) -> None:
    """Lets an instance hold connections, as the webserver's does. A second call, or no Postgres, changes nothing."""
    runs, events = instance.run_storage, instance.event_log_storage
    if instance in _kept or not (isinstance(runs, PostgresRunStorage) and isinstance(events, PostgresEventLogStorage)):
        return
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=RECYCLE_S, max_overflow=OVERFLOW)
    with runs.connect() as runs_connection, events.index_connection() as events_connection:
        engines = [runs_connection.engine, events_connection.engine]
    for engine in engines:
        only_living(engine)
        sa.event.listen(engine, "connect", _lazily)
        # What is open already was not told.
        engine.dispose()
    for storage, questions in ((runs, _OF_RUNS), (events, _OF_EVENTS)):
        for question in questions:
            setattr(storage, question, _once_true(getattr(storage, question)))
    _kept[instance] = engines


def close_connections(instance: DagsterInstance) -> None:
    """Closes the connections that are kept; the next question opens new ones."""
    for engine in _kept.get(instance, ()):
        engine.dispose()


def when_over(instance: DagsterInstance, run_id: str, tell: Callable[[], None]) -> None:
    """Calls `tell` once this process has told Dagster that a run has succeeded, failed or was cancelled.

    A fault of `tell` is logged and goes no further: the run is over whatever comes of it.
    """

    def heard(entry: EventLogEntry) -> None:
        if entry.dagster_event is None or entry.dagster_event.event_type not in _ENDS:
            return
        try:
            tell()
        except Exception:
            logging.getLogger(__name__).warning("run %s is over, but its jobs could not be told", run_id, exc_info=True)

    instance.add_event_listener(run_id, heard)


def _lazily(connection: Any, _record: object) -> None:
    """Commits are not waited for, three in four of a run's: of a machine that loses power the run is lost as well.

    Touchline's own rows, and Postgres against its own end, are as safe as before.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off")
    connection.commit()


def _once_true(ask: Callable[P, bool]) -> Callable[P, bool]:
    """Asks the same again only until the answer is yes."""
    yes: set[object] = set()

    def answer(*args: P.args, **kwargs: P.kwargs) -> bool:
        about = (args, tuple(sorted(kwargs.items())))
        if about not in yes and ask(*args, **kwargs):
            yes.add(about)
        return about in yes

    return answer
