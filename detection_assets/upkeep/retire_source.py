"""Retires a source: deletes its objects, its rows and its partition.

Belongs here: the order of the steps. The rows are deleted by `touchline/library/repository/retire.py`.

Rows that name objects are deleted first, then the partition, then the objects, then the jobs and the source. So no row
ever names a deleted object, and the source and its jobs exist as long as anything else does: after an interruption the
next attempt finds and deletes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import PARTITION_TAG
from detection_assets.jobs.reconcile import reconcile
from detection_assets.partitions import sources
from resources.storage import Connection
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import SourceAsset

DELETES: Final = 8
"""Number of objects deleted in parallel."""
UNFINISHED: Final = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
"""Statuses of runs that have not ended, queued ones included."""


@dataclass(frozen=True)
class Inventory:
    """The data of a source. `objects`: key and bytes of those to delete; `kept`: keys that other sources refer to."""

    source: SourceAsset
    rows: repository.SourceInventory
    objects: tuple[tuple[str, int], ...]
    kept: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all objects to delete."""
        return sum(size for _, size in self.objects)


def inventory(instance: DagsterInstance, connection: Connection, key_or_path: str) -> Inventory:
    """What `forget` would delete; nothing is deleted.

    Raises BadInputError if the source is unknown or has an active job or run. Jobs of dead processes are reconciled
    first.
    """
    with connection.database.session() as session:
        source = repository.named_source(session, key_or_path)
    reconcile(instance, connection)
    _check_runs(instance, source)
    with connection.database.session() as session:
        rows = _idle(repository.source_inventory(session, source.id), source)
        named = repository.named_by_others(session, source.id, _prefixes(rows.jobs))
    found = [item for prefix in _prefixes(rows.jobs) for item in connection.objects.list(prefix)]
    objects = tuple(item for item in found if item[0] not in named)
    return Inventory(source, rows, objects, tuple(sorted(named)))


def forget(instance: DagsterInstance, connection: Connection, key_or_path: str) -> Inventory:
    """Deletes a source and all its data. Returns what was deleted. A repeated call completes an interrupted one.

    Raises like `inventory`; ServiceError if the object store fails, TouchlineError if a job began in the meantime.
    """
    found = inventory(instance, connection, key_or_path)
    source = found.source
    with connection.database.session() as session:
        rows = _idle(repository.source_inventory(session, source.id), source)
        repository.delete_findings(session, source.id)
    instance.delete_dynamic_partition(str(sources.name), source.partition_key)
    with ThreadPoolExecutor(DELETES, thread_name_prefix="forget") as pool:
        for prefix in _prefixes(rows.jobs):
            keys = [key for key, _ in connection.objects.list(prefix) if key not in found.kept]
            list(pool.map(connection.objects.delete, keys))
    with connection.database.session() as session:
        repository.delete_source(session, source.id, rows.jobs)
    return found


def _prefixes(jobs: Sequence[UUID]) -> list[str]:
    """The key prefixes of all objects of the jobs."""
    return [f"{folder}/{job}/" for job in jobs for folder in ("checkpoints", "reports")]


def _idle(rows: repository.SourceInventory, source: SourceAsset) -> repository.SourceInventory:
    if rows.running:
        raise BadInputError(
            f"{source.partition_key}: job {rows.running[0]} is running; wait for its end or cancel it, then forget"
        )
    return rows


def _check_runs(instance: DagsterInstance, source: SourceAsset) -> None:
    tags = {PARTITION_TAG: source.partition_key}
    run = next(iter(runs_where(instance, dg.RunsFilter(statuses=list(UNFINISHED), tags=tags), limit=1)), None)
    if run is not None:
        raise BadInputError(
            f"{source.partition_key}: Dagster run {run.run_id} is {run.status.value.lower()}; wait for its end or "
            "cancel it in Dagster, then forget"
        )
