"""Dagster's own storage in a process that runs stages: connections are kept, and what cannot change is asked once.

Belongs here: how this process talks to Dagster's tables. What Dagster is configured to be is in `dagster.yaml`.

A run asks Dagster's tables some thousand times. By default each question opens a connection to Postgres (about 7 ms,
most of it the exchange of the password), which was half of the time that a run spends beside its stages. A tenth of the
questions is whether Dagster's own tables exist and have their columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from dagster import DagsterInstance
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

OVERFLOW: Final = 8
"""Connections beyond the first that each storage may open at once."""
RECYCLE_S: Final = 600
"""Age at which a connection is replaced: firewalls forget those that live for hours [s]."""

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
        sa.event.listen(engine, "checkout", _ask)
    _remember_tables(events)
    _remember_columns(runs, events)
    _kept[instance] = engines


def close_connections(instance: DagsterInstance) -> None:
    """Closes the connections that are kept; the next question opens new ones."""
    for engine in _kept.get(instance, ()):
        engine.dispose()


def _remember_tables(events: PostgresEventLogStorage) -> None:
    """Asks for each table once: a table that is there stays there as long as anybody runs on it."""
    ask, there = events.has_table, set[str]()

    def has_table(table_name: str) -> bool:
        if table_name not in there and ask(table_name):
            there.add(table_name)
        return table_name in there

    events.has_table = has_table  # type: ignore[method-assign]


def _remember_columns(runs: PostgresRunStorage, events: PostgresEventLogStorage) -> None:
    """Asks for the columns that migrations once added until they are there: none is taken away again."""
    runs.has_run_stats_index_cols = _once_true(runs.has_run_stats_index_cols)  # type: ignore[method-assign]
    runs.has_backfill_id_column = _once_true(runs.has_backfill_id_column)  # type: ignore[method-assign]
    events.has_asset_key_index_cols = _once_true(events.has_asset_key_index_cols)  # type: ignore[method-assign]


def _once_true(ask: Callable[[], bool]) -> Callable[[], bool]:
    there = False

    def answer() -> bool:
        nonlocal there
        there = there or ask()
        return there

    return answer


def _ask(connection: Any, _record: object, _proxy: object) -> None:
    """A server that was restarted must not fail the next question: dead connections are replaced at this exception."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error as error:
        raise sa.exc.InvalidatePoolError(str(error)) from error
