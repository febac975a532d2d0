"""One scan of the uploads: what is there goes into the ledger, and runs are asked for that look into what is new.

Belongs here: the order of it, and how much a scan may ask for. What is due is decided in `touchline/library/intake.py`,
the files are looked into in `ingest_uploads.py`, and the sensors that scan and ask are in `sensors/new_uploads.py`.

A scan opens no file. The ledger is written first, Dagster is asked afterwards, and asked again at every scan until the
run is there: a death in between loses nothing, and Dagster starts nothing twice for one run key.
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
"""Runs of uploads that are asked for at once. The daemon makes them one after another before it sees to other sensors,
0.1 to 0.7 s each; 50 are some thousands an hour: far more than are worked on."""
AT_ONCE: Final = 1000
"""Runs that are looked for in one question."""


@dataclass
class Scan:
    """What a scan found."""

    runs: dict[str, str] = field(default_factory=dict)
    """Ingest runs to be asked for: run key to location."""
    troubles: list[TouchlineError] = field(default_factory=list)
    """Places, and parts of them, that could not be read."""
    present: int = 0
    """Uploads that are there."""
    waiting: int = 0
    """Uploads that still arrive, or that no run was asked for yet."""
    asked: int = 0
    """Uploads that a run was asked for that looks into them."""
    newest: datetime | None = None

    def __str__(self) -> str:
        """One sentence for the tick."""
        return (
            f"{self.present} upload(s) there, {self.asked} of them to be looked into by a run, {self.waiting} still "
            "arriving or waiting for their turn"
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
    """Brings the ledger up to date with the places; tells which runs are due that look into at most `limit` uploads.

    A place has one such run at a time. One that cannot be read is noted in `troubles` and holds up no other. Raises
    ServiceError if the database is away.
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
        # What is registered and has no run yet is enough to be going on with.
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
    """The keys of the ingest runs of a place that have not ended, with whether Dagster has the run.

    What those that have ended left behind may be asked for again.
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
            reason = f"the run that was to look into it {how}{': ' if why else ''}{why}. It is asked for again"
        with connection.database.session() as session:
            repository.end_ingest_run(session, key, reason, PAUSES)
    return at_work


def registered(instance: DagsterInstance, connection: Connection, *, limit: int = PER_TICK) -> list[Upload]:
    """Versions that are sources and whose run is to be asked for: Dagster has none of them yet."""
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
    """The tag that makes a run that is asked for again go on with the job that the one before left unfinished."""
    if upload.tries < 2:
        return {}
    with connection.database.session() as session:
        source = repository.get_source(session, upload.partition_key)
        newest = repository.list_jobs(session, source.id, limit=1)
    if not newest or newest[0].status is not DetectJobStatus.FAILED:
        return {}
    return {CONTINUES_TAG: str(newest[0].id)}
