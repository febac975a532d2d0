"""Dagster's storage in a process that runs stages: pooled connections, and cached answers that cannot change.

Belongs here: how this process queries Dagster's tables. `dagster.yaml` configures Dagster.

A run queries Dagster's tables about a hundred times. By default each query opens a connection to Postgres (about 7 ms,
mostly the exchange of the password). Median time outside the stages, of 8 alternating runs of a 6 s clip:

| | s |
|---|---|
| as here | 1.0 |
| without cached answers | 1.2 |
| without pooled connections | 5.3 |

Dagster has no public API for either. A subclass of its storage, named under `storage: custom:` in `dagster.yaml`, would
override the same private names, also in the webserver and the daemon, and a renamed method would raise no error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, ParamSpec
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from dagster import DagsterEventType, DagsterInstance, EventLogEntry
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from resources.database import discard_dead_connections

P = ParamSpec("P")

OVERFLOW: Final = 8
"""Connections beyond the first that each storage may open at the same time."""
RECYCLE_S: Final = 600
"""Age at which a connection is replaced [s], because firewalls drop connections that are idle for hours."""
CACHED_OF_RUNS: Final = ("has_run_stats_index_cols", "has_backfill_id_column")
"""Methods of the run storage that are not called again after they returned True: they ask for columns of migrations."""
CACHED_OF_EVENTS: Final = ("has_table", "has_asset_key_index_cols", "has_asset_key_col", "has_dynamic_partition")
"""Methods of the event log storage that are not called again after they returned True.

They ask for tables and columns of migrations, and for the run's partition, which is not deleted while the run works."""

_ENDS: Final = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)

_kept: Final[WeakKeyDictionary[DagsterInstance, list[sa.Engine]]] = WeakKeyDictionary()


def keep_connections(instance: DagsterInstance) -> None:
    """Pools an instance's connections as the webserver does. A second call, or a storage other than Postgres, has no
    effect.
    """
    runs, events = instance.run_storage, instance.event_log_storage
    if instance in _kept or not (isinstance(runs, PostgresRunStorage) and isinstance(events, PostgresEventLogStorage)):
        return
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=RECYCLE_S, max_overflow=OVERFLOW)
    with runs.connect() as runs_connection, events.index_connection() as events_connection:
        engines = [runs_connection.engine, events_connection.engine]
    for engine in engines:
        discard_dead_connections(engine)
    for storage, methods in ((runs, CACHED_OF_RUNS), (events, CACHED_OF_EVENTS)):
        for method in methods:
            setattr(storage, method, _cached_if_true(getattr(storage, method)))
    _kept[instance] = engines


def close(instance: DagsterInstance) -> None:
    """Closes an instance and its pooled connections."""
    for engine in _kept.pop(instance, ()):
        engine.dispose()
    instance.dispose()


def on_run_end(instance: DagsterInstance, run_id: str, callback: Callable[[], None]) -> None:
    """Calls `callback` after this process has reported a run as succeeded, failed or cancelled.

    An error of `callback` is logged and not raised, because the run has ended.
    """

    def listener(entry: EventLogEntry) -> None:
        if entry.dagster_event is None or entry.dagster_event.event_type not in _ENDS:
            return
        try:
            callback()
        except Exception:
            logging.getLogger(__name__).warning(
                "run %s has ended, but the status of its jobs could not be recorded", run_id, exc_info=True
            )

    instance.add_event_listener(run_id, listener)


def _cached_if_true(method: Callable[P, bool]) -> Callable[P, bool]:
    """A function that calls `method` with given arguments until it has returned True once."""
    true: set[object] = set()

    def cached(*args: P.args, **kwargs: P.kwargs) -> bool:
        key = (args, tuple(sorted(kwargs.items())))
        if key not in true and method(*args, **kwargs):
            true.add(key)
        return key in true

    return cached
