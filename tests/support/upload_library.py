"""A library of uploads for one test: a database, a bucket and a folder of its own, a clock, and looks of the sensor.

Belongs here: what the tests of uploads share. What is looked at and decided is told apart in the tests.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import psutil
import sqlalchemy as sa
from dagster._core.test_utils import create_run_for_test

from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.definitions import JOB
from detection_assets.partitions import sources
from detection_assets.upkeep.ingest_uploads import Ingested, ingest
from detection_assets.upkeep.scan_uploads import Scan, registered, scan
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from resources.probing import Prober
from resources.storage import Connection
from resources.uploads import BucketUploads, FolderUploads, UploadLocation
from touchline.errors import TouchlineError
from touchline.library import repository
from touchline.library.intake import PER_RUN
from touchline.library.tables import SourceAsset, Upload

LATER = timedelta(minutes=5)
STARTED = dg.DagsterRunStatus.STARTED


def picture(grey: int = 40) -> bytes:
    ok, data = cv2.imencode(".png", np.full((64, 96, 3), grey, np.uint8))
    assert ok
    return data.tobytes()


def bucket(services: Endpoints, name: str, endpoint: str = "", **more: Any) -> ObjectStore:
    keys = (services.s3_access_key_id, services.s3_secret_access_key)
    return ObjectStore(endpoint or services.s3_endpoint, name, services.s3_region, *keys, **more)


def children() -> set[int]:
    """The processes that this one and its children have begun, without the servers and what those fork."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() not in ("postgres", "weed"):
                found.add(child.pid)
    return found


@dataclass
class Look:
    """What a scan found and the runs that it asked for. `requests`: versions to run; `refused`: path and reason."""

    scanned: Scan
    requests: list[Upload] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[TouchlineError] = field(default_factory=list)


class Library:
    """A database, a bucket and a folder of one test alone; a clock; and what sensors and runs do with uploads."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path, instance: dg.DagsterInstance) -> None:
        self.connection = Connection(database, objects, CheckpointStore(objects, database))
        self.objects, self.folder, self.instance = objects, folder, instance
        self.places: list[BucketUploads | FolderUploads] = [BucketUploads(objects), FolderUploads(folder)]
        self.now = datetime.now(UTC)

    def scan(self, limit: int = PER_RUN, later: timedelta = LATER) -> Scan:
        """What the sensor new_uploads does at a tick."""
        self.now += later
        return scan(self.instance, self.connection, self.places, limit=limit, now=self.now)

    def begin(self, found: Scan) -> list[dg.DagsterRun]:
        """What the daemon does with a scan: one ingest run for each key that it does not know; returns those."""
        return [
            create_run_for_test(self.instance, "ingest_uploads", tags={RUN_KEY_TAG: key}, status=STARTED)
            for key in found.runs
            if not self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: key}))
        ]

    def ingest(self, run: dg.DagsterRun, prober: Prober | None = None) -> Ingested:
        """What an ingest run does; Dagster hears how it ends."""
        try:
            done = ingest(self.connection, self.location_at, run.tags[RUN_KEY_TAG], prober=prober, now=lambda: self.now)
        except BaseException:
            self.instance.report_run_failed(run, "the process of the run died")
            raise
        self.end(run)
        return done

    def runs(self) -> list[dg.DagsterRun]:
        """The runs of uploads, newest first, without those that only look into them."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name=JOB)))

    def end(self, run: dg.DagsterRun) -> None:
        """Dagster hears that a run has succeeded."""
        event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name, message="done")
        self.instance.report_dagster_event(event, run.run_id)

    def location_at(self, location: str) -> UploadLocation:
        return next(place for place in self.places if place.location == location)

    def look(self, limit: int = PER_RUN, later: timedelta = LATER, prober: Prober | None = None) -> Look:
        """A scan, the runs that it asks for, and what is to be run then."""
        scanned = self.scan(limit, later)
        found = Look(scanned, troubles=scanned.troubles)
        for run in self.begin(scanned):
            ingested = self.ingest(run, prober)
            found.refused += ingested.refused
            found.troubles += ingested.troubles
        found.requests = registered(self.instance, self.connection, limit=limit)
        return found

    def obey(self, found: Look) -> list[str]:
        """What the daemon does with a look: one run for each run key that it does not know; returns the new ones."""
        made = []
        for upload in found.requests:
            tags = {RUN_KEY_TAG: upload.run_key}
            if not self.instance.get_runs(dg.RunsFilter(tags=tags)):
                self.instance.add_dynamic_partitions(str(sources.name), [upload.partition_key])
                create_run_for_test(self.instance, JOB, tags={**tags, "dagster/partition": upload.partition_key})
                made.append(upload.key)
        return made

    def rows(self) -> dict[tuple[str, int], Upload]:
        with self.connection.database.session() as session:
            return {(row.key, row.version): row for row in session.scalars(sa.select(Upload))}

    def states(self) -> dict[tuple[str, int], str]:
        return {key: row.state.value for key, row in sorted(self.rows().items())}

    def source(self, path: str) -> SourceAsset:
        with self.connection.database.session() as session:
            return repository.get_source(session, path)


@contextmanager
def opened(database: Database, services: Endpoints, folder: Path) -> Iterator[Library]:
    database.migrate()
    objects = bucket(services, f"test-{uuid.uuid4().hex[:12]}")
    objects.ensure_bucket()
    (folder / "uploads").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Library(database, objects, folder / "uploads", instance)
