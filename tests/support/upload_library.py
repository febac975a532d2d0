"""A library of uploads for one test: a database, a bucket and a folder of its own, a clock, and looks of the sensor.

Belongs here: what the tests of uploads share. What is looked at and decided is told apart in the tests.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import sqlalchemy as sa
from dagster._core.test_utils import create_run_for_test

from detection_assets.definitions import JOB
from detection_assets.partitions import sources
from detection_assets.upkeep import ingest_uploads as work
from detection_assets.upkeep.retry_uploads import RUN_KEY_TAG
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from resources.storage import Connection
from resources.uploads import BucketUploads, FolderUploads, Place
from touchline.library import repository
from touchline.library.tables import SourceAsset, Upload

LATER = timedelta(minutes=5)


def picture(grey: int = 40) -> bytes:
    ok, data = cv2.imencode(".png", np.full((64, 96, 3), grey, np.uint8))
    assert ok
    return data.tobytes()


def bucket(services: Endpoints, name: str, endpoint: str = "", **more: Any) -> ObjectStore:
    keys = (services.s3_access_key_id, services.s3_secret_access_key)
    return ObjectStore(endpoint or services.s3_endpoint, name, services.s3_region, *keys, **more)


class Library:
    """A database, a bucket and a folder of one test alone; a clock; and the looks of the sensor."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path, instance: dg.DagsterInstance) -> None:
        self.connection = Connection(database, objects, CheckpointStore(objects, database))
        self.objects, self.folder, self.instance = objects, folder, instance
        self.places: list[Place] = [BucketUploads(objects), FolderUploads(folder)]
        self.now = datetime.now(UTC)

    def look(self, limit: int = work.PER_LOOK, later: timedelta = LATER) -> work.Look:
        self.now += later
        return work.look(self.instance, self.connection, self.places, limit=limit, now=self.now)

    def obey(self, found: work.Look) -> list[str]:
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
