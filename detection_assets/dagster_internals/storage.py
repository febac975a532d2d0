"""Dagster's own storage in a process that runs stages: connections are kept, and what cannot change is asked once.

Belongs here: how this process talks to Dagster's tables. What Dagster is configured to be is in `dagster.yaml`.

A run asks Dagster's tables some hundred times. By default each question opens a connection to Postgres (about 7 ms,
most of it the exchange of the password). Medians of 8 runs of a 6 s clip by turns, seconds outside the stages:

| | s |
|---|---|
| as here | 1.0 |
| without the answers that are kept | 1.2 |
| without connections that are kept | 5.3 |

Dagster has no public way for either. A subclass of its storage, named under `storage: custom:` in `dagster.yaml`, would
override the same names, in the webserver and the daemon as well, and without an error where one of them was renamed.
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
"""Connections beyond the first that each storage may open at once."""
RECYCLE_S: Final = 600
"""Age at which a connection is replaced: firewalls forget those that live for hours [s]."""
OF_RUNS: Final = ("has_run_stats_index_cols", "has_backfill_id_column")
"""Methods of the run storage whose yes stays true: what a migration has added is never taken away again."""
OF_EVENTS: Final = ("has_table", "has_asset_key_index_cols", "has_asset_key_col", "has_dynamic_partition")
"""Methods of the event log storage whose yes stays true: of migrations, and of the partition that a run works on (a
source is not retired while it is worked on)."""

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
        discard_dead_connections(engine)
    for storage, questions in ((runs, OF_RUNS), (events, OF_EVENTS)):
        for question in questions:
            setattr(storage, question, _once_true(getattr(storage, question)))
    _kept[instance] = engines


def close(instance: DagsterInstance) -> None:
    """Closes an instance and the connections that it kept."""
    for engine in _kept.pop(instance, ()):
        engine.dispose()
    instance.dispose()


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
            logging.getLogger(__name__).warning(
                "run %s is over, but the end of its jobs could not be recorded", run_id, exc_info=True
            )

    instance.add_event_listener(run_id, heard)


def _once_true(ask: Callable[P, bool]) -> Callable[P, bool]:
    """Asks the same again only until the answer is yes."""
    yes: set[object] = set()

    def answer(*args: P.args, **kwargs: P.kwargs) -> bool:
        about = (args, tuple(sorted(kwargs.items())))
        if about not in yes and ask(*args, **kwargs):
            yes.add(about)
        return about in yes

    return answer
