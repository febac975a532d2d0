"""Garbage collection of objects, safe while runs are active.

Belongs here: the order of the steps. The rules are in `touchline/library/retention.py`, their queries in
`touchline/library/repository/retention_facts.py`.

Jobs are processed one by one. The objects of a job are listed first, then the rows are read. So a row that was added
after the listing is seen, and an object that was added after it is not judged. A job that begins later finds all that
it may read: rows are not deleted, nor are journals that can be resumed. If the first pass finds garbage, Dagster is
asked for unfinished runs, and the rows are read again under the locks that commits of the job's checkpoints take. The
garbage is deleted under these locks, so that a job that was wrongly recorded as ended cannot add a row for a deleted
object.

Memory holds the ids of all jobs and the objects of one. Collection can stop at any point; the next call continues.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance
from sqlalchemy.orm import Session

from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import PARTITION_TAG
from detection_assets.jobs.reconcile import reconcile
from detection_assets.upkeep.retire_source import UNFINISHED
from resources.object_store import READY, StoredObject
from resources.storage import Connection
from touchline.bson_stream import read_header
from touchline.errors import BadInputError, CheckpointError
from touchline.library import repository
from touchline.library.retention import (
    FOLDERS,
    GARBAGE,
    LOGS,
    LOGS_KEPT,
    UNTOUCHED,
    GcFacts,
    Kind,
    Retention,
    job_folder,
    part_of,
    resumable,
    retention_of,
)
from touchline.library.tables import DetectJobStatus

OLDER_THAN: Final = timedelta(hours=1)
"""Default age below which objects are kept."""
PARTS: Final = "parts"
"""Name, in the counts, of multipart uploads that were never completed."""
NAMED: Final = 20
"""Most foreign keys that are listed."""
EXTRACTION: Final = "extract_frames"
"""The stage whose frames may be resumed by a later job."""

Listener = Callable[[int, int], None]
"""Called with the number of finished jobs and of all jobs."""


@dataclass
class Collected:
    """What was deleted, or would be: number of objects and bytes by kind; and the number of kept objects by reason.

    `not_ours`: the first NAMED foreign keys, or folders ending in `/`: those that Touchline does not write.
    """

    objects: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    not_ours: list[str] = field(default_factory=list)

    def add(self, judged: Sequence[tuple[StoredObject, Retention]]) -> None:
        """Counts objects by their retention."""
        for item, found in judged:
            if found in GARBAGE:
                self.objects[found.value] += 1
                self.size[found.value] += item.size
            else:
                self.kept[found.value] += 1
            if found is Retention.FOREIGN and len(self.not_ours) < NAMED:
                self.not_ours.append(item.key)


@dataclass(frozen=True)
class _Library:
    instance: DagsterInstance
    connection: Connection
    strangers: repository.ForeignReferences
    before: datetime


def collect(
    instance: DagsterInstance,
    connection: Connection,
    *,
    older_than: timedelta = OLDER_THAN,
    dry_run: bool = False,
    listener: Listener | None = None,
) -> Collected:
    """Deletes garbage older than `older_than` and returns what it was; with `dry_run` nothing is deleted.

    Jobs of dead processes are reconciled first. Raises BadInputError, before anything is deleted, if the database knows
    none of the jobs that have objects, because it then belongs to another bucket. Raises ServiceError if a server
    cannot be reached.
    """
    reconcile(instance, connection)
    before = datetime.now(UTC) - older_than
    collected = Collected()
    jobs = _folders(connection, collected)
    with connection.database.session() as session:
        known = repository.known_jobs(session, jobs)
        library = _Library(instance, connection, repository.foreign_references(session), before)
    if not known:
        _refuse_strange_bucket(connection, jobs)
    for number, job in enumerate(jobs):
        collected.add(_job(library, job, dry_run))
        if listener is not None:
            listener(number + 1, len(jobs))
    collected.jobs = len(jobs)
    _uploads(library, collected, dry_run)
    _logs(connection, collected, dry_run)
    return collected


def _folders(connection: Connection, collected: Collected) -> list[UUID]:
    """The ids of jobs that have a folder. Foreign keys and folders are recorded in `collected`."""
    objects = connection.objects
    jobs: set[UUID] = set()
    names, keys = objects.folders()
    strange = [key for key in keys if key != READY]
    folders = [f"{name}/" for name in names if name not in (*FOLDERS, *UNTOUCHED, LOGS)]
    for folder in FOLDERS:
        names, keys = objects.folders(folder)
        jobs.update(job for name in names if (job := job_folder(name)) is not None)
        strange += keys
        folders += [f"{folder}/{name}/" for name in names if job_folder(name) is None]
    strange += [folder for folder in folders if next(objects.stored(folder), None) is not None]
    collected.kept[Retention.FOREIGN.value] += len(strange)
    collected.not_ours += strange[:NAMED]
    return sorted(jobs)


def _refuse_strange_bucket(connection: Connection, jobs: Sequence[UUID]) -> None:
    objects = connection.objects
    for job in jobs:
        if any(next(objects.stored(f"{folder}/{job}/"), None) is not None for folder in FOLDERS):
            raise BadInputError(
                f"bucket {objects.bucket} of {objects.endpoint} holds objects of jobs, and the database at "
                f"{connection.database.address} knows none of them: they belong to another database, or this one was "
                "made again. Nothing was deleted. Check TOUCHLINE_POSTGRES_URL and TOUCHLINE_S3_BUCKET"
            )


def _job(library: _Library, job: UUID, dry_run: bool) -> list[tuple[StoredObject, Retention]]:
    """The objects of one job with their retention; garbage is deleted unless `dry_run`."""
    objects = library.connection.objects
    listed = [item for folder in FOLDERS for item in objects.stored(f"{folder}/{job}/")]
    if not listed:
        return []
    with library.connection.database.session() as session:
        judged = list(_judged(library, session, job, listed, live=False))
    if not any(found in GARBAGE for _, found in judged):
        return judged
    live = _live(library, job)
    with library.connection.database.session() as session:
        if not dry_run:
            repository.lock_commits(session, job)
        judged = list(_judged(library, session, job, listed, live))
        if not dry_run:
            objects.delete_all([item.key for item, found in judged if found in GARBAGE])
    return judged


def _live(library: _Library, job: UUID) -> bool:
    """Whether Dagster has an unfinished run of this job's source.

    The job's status is not enough: after a failed stage, a run still executes stages that do not depend on it.
    """
    with library.connection.database.session() as session:
        standing = repository.job_state(session, job)
    if standing is None:
        return False
    tags = {PARTITION_TAG: standing.partition_key}
    filters = dg.RunsFilter(statuses=list(UNFINISHED), tags=tags)
    return bool(runs_where(library.instance, filters, limit=1))


def _judged(
    library: _Library, session: Session, job: UUID, listed: Sequence[StoredObject], live: bool
) -> Iterator[tuple[StoredObject, Retention]]:
    facts = _facts(library, session, job, [item.key for item in listed], live)
    return ((item, retention_of(item.key, item.modified, facts, library.before)) for item in listed)


def _facts(library: _Library, session: Session, job: UUID, keys: Sequence[str], live: bool) -> GcFacts:
    standing = repository.job_state(session, job)
    sources = set(library.strangers.sources.get(str(job), ()))
    reports = library.strangers.reports.get(str(job), ())
    if standing is not None:
        sources.add(standing.source_asset_id)
        reports = (*reports, *filter(None, [standing.report_prefix]))
    named = repository.named_under(session, f"checkpoints/{job}/", sources) if sources else set()
    if standing is None:
        return GcFacts(None, named=named, reports=reports)
    if standing.active or live:
        return GcFacts(standing.status, busy=True, named=named, reports=reports)
    frames = any(key not in named and (part := part_of(key)) and part.kind is Kind.FRAME for key in keys)
    return GcFacts(
        standing.status,
        named=named,
        reports=reports,
        resumable=_resumable(library, standing.status, keys, standing.finished),
        extraction=frames and _extraction(library, standing),
    )


def _resumable(
    library: _Library, status: DetectJobStatus, keys: Sequence[str], finished: frozenset[tuple[str, str]]
) -> set[str]:
    """The chunks among `keys` that a later job may resume."""
    found = set()
    for key in keys:
        part = part_of(key)
        if part is None or part.kind is not Kind.CHUNK or not resumable(status, part.stage, None, finished):
            continue
        if resumable(status, part.stage, _fingerprint(library, key), finished):
            found.add(key)
    return found


def _extraction(library: _Library, standing: repository.JobState) -> bool:
    """Whether a later job may resume the extraction of this source's frames."""
    for other, status in standing.adoptable.items():
        chunks = library.connection.objects.stored(f"checkpoints/{other}/stages/{EXTRACTION}.partial/")
        if any(resumable(status, EXTRACTION, _fingerprint(library, c.key), standing.finished) for c in chunks):
            return True
    return False


def _fingerprint(library: _Library, key: str) -> str | None:
    """The fingerprint in a chunk's header; None if it cannot be read."""
    try:
        with io.BytesIO(library.connection.objects.get(key)) as buffer:
            return read_header(buffer, key=key).fingerprint
    except CheckpointError:
        return None


def _uploads(library: _Library, collected: Collected, dry_run: bool) -> None:
    """Aborts old multipart uploads of jobs that are not active."""
    for upload in library.connection.objects.unfinished(*(f"{folder}/" for folder in FOLDERS)):
        part = part_of(upload.key)
        if part is None:
            collected.kept[Retention.FOREIGN.value] += 1
            continue
        with library.connection.database.session() as session:
            standing = repository.job_state(session, part.job)
        if standing is not None and (standing.active or _live(library, part.job)):
            collected.kept[Retention.BUSY.value] += 1
        elif upload.begun >= library.before:
            collected.kept[Retention.YOUNG.value] += 1
        else:
            collected.objects[PARTS] += 1
            collected.size[PARTS] += upload.size
            if not dry_run:
                library.connection.objects.abandon(upload)


def _logs(connection: Connection, collected: Collected, dry_run: bool) -> None:
    """Deletes old compute logs. Logs of running steps are recent, because they are uploaded periodically."""
    before = datetime.now(UTC) - LOGS_KEPT
    old = [item for item in connection.objects.stored(f"{LOGS}/") if item.modified < before]
    if old:
        collected.objects[LOGS] += len(old)
        collected.size[LOGS] += sum(item.size for item in old)
    if not dry_run:
        connection.objects.delete_all([item.key for item in old])
