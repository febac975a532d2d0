"""The cost of a library of ten thousand sources: ticks of the sensor, partitions, and queries of `touchline jobs`.

Belongs here: filling a database, a bucket and a folder with rows and tiny files, and timing queries. Only a picture of
one colour is decoded.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import cv2
import dagster as dg
import numpy as np
import sqlalchemy as sa

from detection_assets.checks.library import failed_sources, unmatched_keys
from detection_assets.definitions import build_defs
from detection_assets.local.runner import Runner
from detection_assets.partitions import sources
from detection_assets.sensors.new_uploads import new_uploads
from resources.storage import Storage
from resources.uploads import BucketUploads, FolderUploads
from touchline.library import repository
from touchline.library.intake import UploadState
from touchline.library.naming import partition_key, source_asset_id
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, Upload

TIMES: Final = 3
"""Number of measurements of each operation; the median counts."""
Figures = dict[str, float]


def measure(runner: Runner, folder: Path, count: int = 10_000) -> Figures:
    """Seconds of each operation, by its name. `folder` becomes the watched folder."""
    folder.mkdir()
    os.environ["TOUCHLINE_UPLOADS"] = str(folder)
    # The first tick of a process loads the definitions.
    _tick(runner)
    _fill(runner, folder, count)
    found: Figures = {
        f"list {count // 2} objects": _timed(lambda: BucketUploads(runner.connection.objects).listing()),
        f"list {count // 2} files": _timed(lambda: FolderUploads(folder).listing()),
    }
    began = time.perf_counter()
    asked = _tick(runner)
    assert asked == 2, asked
    found[f"tick that meets {count} new uploads and asks for two runs that look into them"] = (
        time.perf_counter() - began
    )
    _register(runner, [BucketUploads(runner.connection.objects), FolderUploads(folder)])
    assert _tick(runner) == 0
    found[f"tick with nothing new among {count} uploads"] = _timed(lambda: _tick(runner))
    instance, connection = runner.instance, runner.connection
    name = str(sources.name)

    def asked_of_database(question: Callable[[Any], Any]) -> Callable[[], Any]:
        def ask() -> Any:
            with connection.database.session() as session:
                return question(session)

        return ask

    one = partition_key(FolderUploads(folder).path("000000.png"))
    return found | {
        f"list {count} partitions": _timed(lambda: instance.get_dynamic_partitions(name)),
        "one partition known?": _timed(lambda: instance.has_dynamic_partition(name, one)),
        "touchline jobs": _timed(asked_of_database(lambda s: repository.list_jobs(s, limit=20))),
        "touchline jobs SOURCE": _timed(
            asked_of_database(lambda s: repository.list_jobs(s, repository.get_source(s, one).id))
        ),
        "jobs at work": _timed(asked_of_database(repository.active_jobs)),
        f"all {count} sources": _timed(asked_of_database(repository.list_sources)),
        "sources whose newest job failed": _timed(lambda: failed_sources(connection)),
        "partition keys without source and back": _timed(lambda: unmatched_keys(instance, connection)),
    }


def page(found: Figures) -> list[str]:
    """The figures as a table of Markdown."""
    return ["", "| library | seconds |", "|---|---|", *(f"| {name} | {took:.3f} |" for name, took in found.items())]


def _timed(work: Callable[[], Any]) -> float:
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return sorted(took)[TIMES // 2]


def _tick(runner: Runner) -> int:
    """One tick of the sensor as in the daemon; returns the number of requested runs."""
    with dg.build_sensor_context(
        instance_ref=runner.instance.get_ref(), definitions=build_defs(), resources={"storage": Storage()}
    ) as context:
        return len(new_uploads.evaluate_tick(context).run_requests or [])


def _fill(runner: Runner, folder: Path, count: int) -> None:
    """Puts half of the uploads into the bucket and half into the folder, all of them old enough."""
    ok, png = cv2.imencode(".png", np.full((64, 96, 3), 40, np.uint8))
    assert ok
    data = png.tobytes()
    names = [f"{n:06d}.png" for n in range(count // 2)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: runner.connection.objects.put(f"uploads/{name}", data), names))
    for name in names:
        (folder / name).write_bytes(data)
    time.sleep(31)


def _register(runner: Runner, places: list[BucketUploads | FolderUploads]) -> None:
    """Sets all uploads to started, each with a source, a partition and a completed or failed job."""
    now = datetime.now(UTC)
    rows: dict[type, list[dict[str, Any]]] = {SourceAsset: [], DetectJob: [], Upload: []}
    keys = []
    for place in places:
        for upload in place.listing().uploads:
            path = place.path(upload.key)
            key, identity = partition_key(path), source_asset_id(path)
            keys.append(key)
            named = {"partition_key": key, "video_path": path}
            rows[SourceAsset].append({"id": identity, "checksum": upload.etag, **named})
            failed = len(keys) % 100 == 0
            rows[DetectJob].append(
                {
                    "id": uuid.uuid4(),
                    "source_asset_id": identity,
                    **named,
                    "status": DetectJobStatus.FAILED if failed else DetectJobStatus.COMPLETED,
                    "config_overrides": {},
                    "created_at": now - timedelta(seconds=len(keys)),
                }
            )
            rows[Upload].append(
                {
                    "location": place.location,
                    "key": upload.key,
                    "version": 1,
                    "etag": upload.etag,
                    "size": upload.size,
                    "modified": upload.modified,
                    "first_seen": now,
                    "last_seen": now,
                    "state": UploadState.STARTED,
                    "partition_key": key,
                    "run_key": key,
                }
            )
    with runner.connection.database.session() as session:
        for model in (Upload, DetectJob, SourceAsset):
            session.execute(sa.delete(model))
        for model in (SourceAsset, DetectJob, Upload):
            session.execute(sa.insert(model), rows[model])
    runner.instance.add_dynamic_partitions(str(sources.name), keys)
