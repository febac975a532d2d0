"""Freeing what nothing needs any more, beside whatever runs.

Belongs here: the order of it. The rule is in `touchline/library/retention.py`, its questions to the database in
`touchline/library/repository/retention_facts.py`.

Job by job: its objects are listed first, then rows are read. So a row that came after the listing is seen, and an
object that came after it is not judged. A job that begins after the rows were read finds all that it may read: rows
stay, and so do the journals it may go on with. Where there is garbage at that first look, Dagster's runs are asked for,
and rows are read again, under the locks that commits of that job's checkpoints take. Garbage is deleted before they are
let go: the worker of a job that is said to be over and is not can add no row for a blob that has just gone.

At no time more is held than the ids of all jobs and the objects of one. An end at any point leaves less garbage and
nothing else; the next call goes on.
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
"""What was stored within this time is left alone."""
PARTS: Final = "parts"
"""Kind of uploads in parts that were never completed."""
NAMED: Final = 20
"""Keys told of what is not ours."""
EXTRACTION: Final = "extract_frames"

Listener = Callable[[int, int], None]


@dataclass
class Collected:
    """What was freed, or would be: objects and bytes by kind; and how many objects were kept, by reason.

    `not_ours`: keys, or folders ending in `/`, that have no form known here, the first of them.
    """

    objects: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    not_ours: list[str] = field(default_factory=list)

    def add(self, judged: Sequence[tuple[StoredObject, Retention]]) -> None:
        """Counts objects with what became of them."""
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
    """Deletes what nothing needs and tells it; with `dry_run` it only tells. `listener` is given jobs done and all.

    Jobs of processes that died are put right first. Raises BadInputError, before anything is deleted, if the database
    knows none of the jobs that have objects: it is not the one that belongs to this bucket. Raises ServiceError.
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
    """The jobs that have a folder; what is not ours is noted."""
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
    """The objects of one job with what became of them."""
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
    """Whether Dagster has a running or queued run of this job's source.

    Jobs alone do not tell: after a failed stage, a run goes on with those beside it.
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
    """The chunks among `keys` that a later attempt may go on with."""
    found = set()
    for key in keys:
        part = part_of(key)
        if part is None or part.kind is not Kind.CHUNK or not resumable(status, part.stage, None, finished):
            continue
        if resumable(status, part.stage, _fingerprint(library, key), finished):
            found.add(key)
    return found


def _extraction(library: _Library, standing: repository.JobState) -> bool:
    """Whether a later attempt may go on with extracting the frames of this source."""
    for other, status in standing.adoptable.items():
        chunks = library.connection.objects.stored(f"checkpoints/{other}/stages/{EXTRACTION}.partial/")
        if any(resumable(status, EXTRACTION, _fingerprint(library, c.key), standing.finished) for c in chunks):
            return True
    return False


def _fingerprint(library: _Library, key: str) -> str | None:
    """What a chunk was made from; nothing if it cannot be read."""
    try:
        with io.BytesIO(library.connection.objects.get(key)) as buffer:
            return read_header(buffer, key=key).fingerprint
    except CheckpointError:
        return None


def _uploads(library: _Library, collected: Collected, dry_run: bool) -> None:
    """Gives up uploads in parts that broke off long ago; those of sources that are busy may still go on."""
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
    """Deletes what runs printed long ago. Logs of runs at work are young: they are uploaded while they grow."""
    before = datetime.now(UTC) - LOGS_KEPT
    old = [item for item in connection.objects.stored(f"{LOGS}/") if item.modified < before]
    if old:
        collected.objects[LOGS] += len(old)
        collected.size[LOGS] += sum(item.size for item in old)
    if not dry_run:
        connection.objects.delete_all([item.key for item in old])
