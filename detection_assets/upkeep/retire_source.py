"""Retiring a source: blobs, rows and partition key together, whatever happens in between.

Belongs here: the order of it. The rows are in `touchline/library/repository/retire.py`.

Rows that name blobs go first, then the partition, then the blobs, then the jobs and the source. At no moment does a row
point at nothing, and as long as anything is left the source and its jobs are there to find it by: an end at any point
leaves what the next attempt removes.
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
"""Objects removed side by side."""
UNFINISHED: Final = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Inventory:
    """What there is of a source. `objects`: key and bytes of each that goes; `kept`: those that other sources name."""

    source: SourceAsset
    rows: repository.SourceInventory
    objects: tuple[tuple[str, int], ...]
    kept: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all objects that go."""
        return sum(size for _, size in self.objects)


def inventory(instance: DagsterInstance, connection: Connection, key_or_path: str) -> Inventory:
    """What forgetting a source would remove; changes nothing of it.

    Raises BadInputError for a source that is unknown or at work. A job of a process that died is no work: it is put
    right first.
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
    """Removes a source and all that was made of it; returns what that was. Doing it again finishes what broke off.

    Raises as `inventory`, ServiceError if the object store fails, TouchlineError if a job began in the meantime.
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
    """Where all that jobs have stored lies."""
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
