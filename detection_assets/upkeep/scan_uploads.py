"""One scan of the upload locations: it updates the ledger, and requests ingest runs for new uploads.

Belongs here: the order of work, and how many runs a scan may request. `touchline/library/intake.py` decides which
uploads are due, `ingest_uploads.py` probes them, and the sensors are in `sensors/new_uploads.py`.

A scan opens no file. It writes the ledger first and requests the run afterwards, again at each scan until Dagster has
the run: if the process is killed in between, nothing is lost, and Dagster launches one run per run key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster import DagsterInstance

from detection_assets.dagster_internals.failures import failure_of
from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.jobs import lifecycle
from detection_assets.jobs.job_of_run import CONTINUES_TAG
from resources.folder_listing import Listing
from resources.storage import Connection
from resources.uploads import WatchedLocation
from touchline.errors import BadInputError, TouchlineError
from touchline.library import repository
from touchline.library.intake import PAUSES, PER_RUN, QUIESCENCE, batch_for_run, decide
from touchline.library.tables import DetectJobStatus, Upload

PER_TICK: Final = 50
"""Maximum number of runs of uploads that one tick requests. The daemon creates them one after another, in 0.1 to 0.7 s
each, before it evaluates other sensors; 50 a tick are some thousands an hour, far more than are executed."""
AT_ONCE: Final = 1000
"""Maximum number of runs that are looked up in one query."""


@dataclass
class Scan:
    """Result of a scan."""

    runs: dict[str, str] = field(default_factory=dict)
    """Ingest runs to request: run key to location."""
    troubles: list[TouchlineError] = field(default_factory=list)
    """Errors of locations, and of parts of them, that could not be listed."""
    present: int = 0
    """Number of uploads in the listings."""
    waiting: int = 0
    """Number of uploads that are not complete yet, or have no ingest run yet."""
    asked: int = 0
    """Number of uploads that an ingest run is assigned to."""
    newest: datetime | None = None

    def __str__(self) -> str:
        """One sentence for the tick."""
        return (
            f"{self.present} upload(s) listed: {self.asked} assigned to an ingest run, {self.waiting} incomplete or "
            "queued"
        )


def scan(
    instance: DagsterInstance,
    connection: Connection,
    places: Sequence[WatchedLocation],
    *,
    limit: int = PER_RUN,
    settle: timedelta = QUIESCENCE,
    now: datetime | None = None,
) -> Scan:
    """Updates the ledger from the listings of all locations. Returns the ingest runs to request.

    A location has one ingest run at a time, of at most `limit` uploads. A location that cannot be listed is noted in
    `troubles`; the others are scanned all the same. Raises ServiceError if the database cannot be reached.
    """
    now = now or datetime.now(UTC)
    found = Scan()
    for place in places:
        try:
            listing = place.listing()
            if listing is not None:
                _scan_place(instance, connection, listing, found, limit, settle, now)
        except TouchlineError as error:
            found.troubles.append(error)
        except Exception as error:
            what = f"{place.name} could not be scanned ({type(error).__name__}: {error})"
            found.troubles.append(TouchlineError(what))
    return found


def _scan_place(
    instance: DagsterInstance,
    connection: Connection,
    listing: Listing,
    found: Scan,
    limit: int,
    settle: timedelta,
    now: datetime,
) -> None:
    location = listing.location
    at_work = _follow(instance, connection, location)
    with connection.database.session() as session:
        known = repository.known_uploads(session, location)
        plan = decide(known, listing.uploads, now, quiescence=settle, unread=listing.unread)
        repository.record_uploads(session, location, plan, now)
        taken = 0
        # Registered uploads whose run was not requested yet come first.
        room = min(limit, PER_TICK - len(repository.requested_uploads(session, limit=PER_TICK)))
        if not at_work and (due := batch_for_run(plan.due, room)):
            key = f"ingest/{uuid.uuid4().hex}"
            taken = repository.assign_ingest_run(session, location, due, key)
            at_work = {key: False} if taken else {}
    found.runs |= {key: location for key, known_to_dagster in at_work.items() if not known_to_dagster}
    found.troubles += [BadInputError(reason) for reason in listing.unread.values()]
    found.present += len(listing.uploads)
    found.asked += plan.asked + taken
    found.waiting += plan.waiting + len(plan.due) - taken
    newest = max((upload.modified for upload in listing.uploads), default=None)
    if newest is not None:
        found.newest = max(newest, found.newest or newest)


def _follow(instance: DagsterInstance, connection: Connection, location: str) -> dict[str, bool]:
    """Run keys of a location's ingest runs that have not ended, each with whether Dagster has the run.

    Uploads that an ended run left unprobed may be assigned again.
    """
    with connection.database.session() as session:
        keys = list(repository.ingest_runs(session, location))
    at_work = {}
    for key in keys:
        run = next(iter(runs_where(instance, dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1)), None)
        if run is None or not run.is_finished:
            at_work[key] = run is not None
            continue
        reason = ""
        if run.status is not dg.DagsterRunStatus.SUCCESS:
            how = "was cancelled" if run.status is dg.DagsterRunStatus.CANCELED else "failed"
            failed = run.status is dg.DagsterRunStatus.FAILURE
            why = lifecycle.failure_text(failure_of(instance, run.run_id)) if failed else ""
            reason = f"its ingest run {how}{': ' if why else ''}{why}. Another run is requested"
        with connection.database.session() as session:
            repository.end_ingest_run(session, key, reason, PAUSES)
    return at_work


def registered(instance: DagsterInstance, connection: Connection, *, limit: int = PER_TICK) -> list[Upload]:
    """Versions that are registered as sources and whose run is to be requested: Dagster does not have it yet."""
    with connection.database.session() as session:
        keys = [upload.run_key for upload in repository.requested_uploads(session, limit=AT_ONCE, gone=True)]
    if not keys:
        return []
    runs = runs_where(instance, dg.RunsFilter(tags={RUN_KEY_TAG: keys}))
    started = {run.tags[RUN_KEY_TAG] for run in runs} & set(keys)
    with connection.database.session() as session:
        if started:
            repository.confirm_uploads(session, started)
        return repository.requested_uploads(session, limit=limit)


def continued(connection: Connection, upload: Upload) -> dict[str, str]:
    """The tag by which a run that is requested again resumes the job that the previous run left unfinished."""
    if upload.tries < 2:
        return {}
    with connection.database.session() as session:
        source = repository.get_source(session, upload.partition_key)
        newest = repository.list_jobs(session, source.id, limit=1)
    if not newest or newest[0].status is not DetectJobStatus.FAILED:
        return {}
    return {CONTINUES_TAG: str(newest[0].id)}
