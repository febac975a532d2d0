"""The sensor new_uploads: what lies in the bucket or the folder becomes a source, a partition and one run."""

from __future__ import annotations

import io
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import pytest
import sqlalchemy as sa
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.test_utils import create_run_for_test

from detection_assets import forget as retiring
from detection_assets import uploads as work
from detection_assets.definitions import JOB, build_defs
from detection_assets.partitions import sources
from detection_assets.runner import Runner
from detection_assets.sensors.new_uploads import UPLOAD_TAG, new_uploads
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from resources.storage import Connection, Storage
from resources.uploads import BucketUploads, FolderUploads, Place, local_video
from tests.flaky_proxy import FlakyProxy
from touchline import repository
from touchline.errors import BadInputError, ServiceError
from touchline.schema import SourceAsset, SourceState, Upload
from touchline.sources import checksum
from touchline.uploads import UploadState

LATER = timedelta(minutes=5)


def picture(grey: int = 40) -> bytes:
    ok, data = cv2.imencode(".png", np.full((64, 96, 3), grey, np.uint8))
    assert ok
    return data.tobytes()


def bucket(services: Endpoints, name: str, endpoint: str = "", **more: float) -> ObjectStore:
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
            tags = {work.RUN_KEY_TAG: upload.run_key}
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


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    empty_database.migrate()
    objects = bucket(services, f"test-{uuid.uuid4().hex[:12]}")
    objects.ensure_bucket()
    folder = tmp_path / "uploads"
    folder.mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Library(empty_database, objects, folder, instance)


# From a look to a run


def test_an_upload_of_either_kind_becomes_a_source_with_one_run(library: Library) -> None:
    library.objects.put("uploads/cup/Final – 1, a.png", picture())
    (library.folder / "board.png").write_bytes(picture(90))
    found = library.look()
    assert {upload.key for upload in found.requests} == {"cup/Final – 1, a.png", "board.png"}
    assert library.states() == {("board.png", 1): "requested", ("cup/Final – 1, a.png", 1): "requested"}
    assert len(library.obey(found)) == 2
    for _ in range(2):
        assert library.look().requests == []
    assert set(library.states().values()) == {"started"}
    path = f"s3://{library.objects.bucket}/uploads/cup/Final – 1, a.png"
    stored, local = library.source(path), library.source(str(library.folder / "board.png"))
    etag = library.rows()["cup/Final – 1, a.png", 1].etag
    assert (stored.width, stored.height, stored.state) == (96, 64, SourceState.ACCEPTED)
    assert stored.checksum == f"etag:{etag}"
    assert local.checksum == checksum(library.folder / "board.png")


def test_what_still_grows_waits(library: Library) -> None:
    path = library.folder / "match.mp4"
    for n in range(3):
        path.write_bytes(b"x" * (n + 1))
        # The file is of this second, by the look's clock too.
        library.now = datetime.now(UTC)
        assert library.look(later=timedelta()).requests == []
        assert library.states() == {("match.mp4", 1): "waiting"}
    path.write_bytes(picture())
    library.now = datetime.now(UTC)
    assert library.look(later=timedelta()).waiting == 1
    assert [upload.key for upload in library.look().requests] == ["match.mp4"]


def test_a_look_takes_up_so_many_and_the_next_looks_take_up_the_rest(library: Library) -> None:
    names = [f"{n}.png" for n in range(7)]
    for name in names:
        path = library.folder / name
        path.write_bytes(picture())
        os.utime(path, (1_700_000_000, 1_700_000_000))
    began: list[str] = []
    sizes = []
    while new := library.obey(library.look(limit=3)):
        sizes.append(len(new))
        began += new
    assert (sizes, sorted(began)) == ([3, 3, 1], names)
    (library.folder / "0-before-all.png").write_bytes(picture())
    assert library.obey(library.look(limit=3)) == ["0-before-all.png"]


def test_new_content_under_the_same_key_is_another_run_of_the_same_source(library: Library) -> None:
    started = []
    for grey in (10, 20, 10):
        library.objects.put("uploads/a.png", picture(grey))
        found = library.look()
        started += [(upload.partition_key, upload.run_key) for upload in found.requests]
        library.obey(found)
    assert (len({key for key, _ in started}), len(set(started))) == (1, 3)
    library.objects.put("uploads/a.png", picture(10))
    assert library.look().requests == [], "the same content sent again"
    assert list(library.states()) == [("a.png", 1), ("a.png", 2), ("a.png", 3)]
    assert library.source(f"s3://{library.objects.bucket}/uploads/a.png").checksum == (
        f"etag:{library.rows()['a.png', 3].etag}"
    )


def test_a_file_written_over_with_the_same_length_and_time_is_new_and_one_that_was_only_touched_is_not(
    library: Library,
) -> None:
    path = library.folder / "a.png"
    one, other = picture(10), picture(20)
    path.write_bytes(one.ljust(200, b"\0"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert len(library.obey(library.look())) == 1
    time.sleep(0.02)  # the file system's clock ticks in hundredths
    path.write_bytes(other.ljust(200, b"\0"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert len(library.obey(library.look())) == 1
    time.sleep(0.02)
    path.touch()
    assert library.look().requests == []
    assert [row.state.value for row in library.rows().values()] == ["started", "started", "unchanged"]


def test_a_deleted_upload_is_marked_and_starts_nothing_when_it_comes_back_as_it_was(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    library.obey(library.look())
    library.objects.delete("uploads/a.png")
    library.look()
    assert library.rows()["a.png", 1].gone_at is not None
    library.objects.put("uploads/a.png", picture())
    assert library.look().requests == []
    assert library.rows()["a.png", 1].gone_at is None


# Refusals


def test_what_is_no_video_is_refused_once_with_the_reason_everywhere(library: Library) -> None:
    library.objects.put("uploads/notes.mp4", b"minutes of the meeting " * 999)
    library.objects.put("uploads/empty.mp4", b"")
    (library.folder / "list.txt").write_text("#EXTM3U\nfile:///etc/passwd\n")
    found = library.look()
    assert found.requests == []
    assert len(found.refused) == 3
    for path, reason in found.refused:
        assert reason
        assert library.source(path).state is SourceState.REJECTED
        assert library.source(path).rejection_reason == reason
        assert f"refused {path}: {reason}" in str(found)
    assert set(library.states().values()) == {"refused"}
    assert library.look().refused == []
    library.objects.put("uploads/notes.mp4", picture())
    assert [upload.version for upload in library.look().requests] == [2]


def test_an_odd_name_holds_up_no_other(library: Library) -> None:
    client = library.objects._boto3()
    client.put_object(Bucket=library.objects.bucket, Key="uploads/two\nlines.png", Body=picture())
    client.put_object(Bucket=library.objects.bucket, Key="uploads/folder/", Body=b"")
    library.objects.put("uploads/.hidden.png", picture())
    library.objects.put("uploads/fine.png", picture())
    Path(os.fsdecode(bytes(library.folder) + b"/\xff.png")).write_bytes(picture())
    (library.folder / "nowhere").symlink_to(library.folder / "gone")
    os.mkfifo(library.folder / "pipe")
    found = library.look()
    assert [upload.key for upload in found.requests] == ["fine.png"]
    assert sorted(reason.rsplit("; ", 1)[1] for _, reason in found.refused) == ["rename it", "rename the file"]
    assert len(library.rows()) == 3


# Faults


def test_a_death_after_the_ledger_was_written_loses_nothing_and_starts_nothing_twice(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    lost = library.look()
    again = library.look()
    assert [u.run_key for u in again.requests] == [u.run_key for u in lost.requests]
    assert library.obey(again) == ["a.png"]
    assert library.obey(lost) == []
    assert library.look().requests == []


@pytest.mark.parametrize("point", ["record_uploads", "register_source", "settle_upload"])
def test_a_death_before_a_commit_is_made_up_for_by_the_next_look(
    library: Library, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    library.objects.put("uploads/a.png", picture())
    real = getattr(repository, point)

    def dies(*arguments: object, **named: object) -> None:
        real(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(repository, point, dies)
    with pytest.raises(KeyboardInterrupt):
        library.look()
    monkeypatch.undo()
    assert library.obey(library.look()) == ["a.png"]
    assert library.look().requests == []


def test_two_looks_at_once_ask_for_the_same_run(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.objects.put("uploads/a.png", picture())
    other: list[work.Look] = []
    probe = BucketUploads.probe

    def meanwhile(place: BucketUploads, upload: object) -> object:
        monkeypatch.undo()
        other.append(library.look(later=timedelta()))
        return probe(place, upload)  # type: ignore[arg-type]

    monkeypatch.setattr(BucketUploads, "probe", meanwhile)
    mine = library.look()
    assert [u.run_key for u in mine.requests] == [u.run_key for u in other[0].requests]
    assert library.states() == {("a.png", 1): "requested"}


def test_a_server_that_fails_while_an_upload_is_looked_into_refuses_nothing(
    library: Library, services: Endpoints, clip: tuple[Path, object]
) -> None:
    library.objects.put_file("uploads/a.mp4", clip[0])
    (library.folder / "b.png").write_bytes(picture())
    with FlakyProxy(services.s3_endpoint) as proxy:
        objects = bucket(services, library.objects.bucket, proxy.endpoint, retry_s=0)
        place = BucketUploads(objects)
        [upload] = place.listing()
        for fault in ("503", "refuse"):
            proxy.fault = fault
            with pytest.raises(ServiceError):
                place.probe(upload)
        proxy.fault = ""
        library.places[0] = place
        real = objects.reader

        def fails_midway(key: str) -> object:
            found = real(key)
            proxy.fault = "503"
            return found

        objects.reader = fails_midway  # type: ignore[method-assign, assignment]
        found = library.look()
        assert [u.key for u in found.requests] == ["b.png"], "the folder is looked at all the same"
        assert isinstance(found.troubles[0], ServiceError)
        assert library.states()["a.mp4", 1] == "waiting"
        assert "failed at" in library.rows()["a.mp4", 1].reason
        objects.reader = real  # type: ignore[method-assign]
        library.obey(found)
        found = library.look()
        assert found.troubles, "a bucket that cannot be listed"
        assert library.rows()["a.mp4", 1].gone_at is None
        proxy.fault = ""
        assert [u.key for u in library.look().requests] == ["a.mp4"]


def test_a_folder_that_may_not_be_read_is_trouble_and_not_empty(library: Library) -> None:
    (library.folder / "a.png").write_bytes(picture())
    library.obey(library.look())
    library.places[1] = FolderUploads(library.folder / "unmounted")
    assert library.look().troubles
    assert library.rows()["a.png", 1].gone_at is None


# Forgetting


def test_a_forgotten_source_is_not_started_again_until_its_upload_comes_anew(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    library.obey(library.look())
    library.look()
    [run] = library.instance.get_runs()
    library.instance.report_run_failed(run)
    key = library.rows()["a.png", 1].partition_key
    retiring.forget(library.instance, library.connection, key)
    assert library.look().requests == []
    row = library.rows()["a.png", 1]
    assert (row.state, row.reason) == (UploadState.FORGOTTEN, "retired by touchline forget")
    library.objects.delete("uploads/a.png")
    library.look()
    library.objects.put("uploads/a.png", picture())
    assert library.obey(library.look()) == ["a.png"]
    assert library.states() == {("a.png", 1): "forgotten", ("a.png", 2): "requested"}


def test_a_forgotten_file_that_is_only_touched_stays_forgotten(library: Library) -> None:
    path = library.folder / "a.png"
    path.write_bytes(picture())
    library.obey(library.look())
    library.instance.report_run_failed(library.instance.get_runs()[0])
    retiring.forget(library.instance, library.connection, library.rows()["a.png", 1].partition_key)
    time.sleep(0.02)
    path.touch()
    assert library.look().requests == []
    assert set(library.states().values()) == {"forgotten"}


# The sensor


def tick(library: Library, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> SensorExecutionData:
    """One evaluation as the daemon has it, on the library's servers and folder; nothing has to settle."""
    monkeypatch.setenv("TOUCHLINE_UPLOADS", str(library.folder))
    monkeypatch.setattr(Storage, "connect", lambda _: library.connection)
    monkeypatch.setattr(work.look, "__kwdefaults__", {**(work.look.__kwdefaults__ or {}), "settle": timedelta()})
    context = dg.build_sensor_context(
        instance_ref=runner.instance.get_ref(), definitions=build_defs(), resources={"storage": Storage()}
    )
    with context:
        return new_uploads.evaluate_tick(context)


def test_a_tick_adds_partition_and_run_together_with_priority_and_tags(
    library: Library, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library.folder / "a.png").write_bytes(picture())
    done = tick(library, runner, monkeypatch)
    row = library.rows()["a.png", 1]
    [request] = done.run_requests or []
    assert (request.run_key, request.partition_key) == (row.run_key, row.partition_key)
    assert new_uploads.job_name == JOB
    assert row.etag in row.run_key
    assert request.tags["dagster/priority"] == "0"
    assert request.tags[UPLOAD_TAG] == str(library.folder / "a.png")
    assert request.tags["dagster/partition"] == row.partition_key
    [added] = done.dynamic_partitions_requests or []
    assert list(added.partition_keys) == [row.partition_key]


def test_a_tick_tells_of_refusals_and_of_a_folder_that_cannot_be_read(
    library: Library, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = library.objects
    objects.put("uploads/notes.txt", b"no video")
    done = tick(library, runner, monkeypatch)
    path = f"s3://{objects.bucket}/uploads/notes.txt"
    assert f"refused {path}" in (done.skip_message or "")
    [event] = done.asset_events
    assert (event.asset_key, event.metadata["path"].value) == (dg.AssetKey("library"), path)
    assert "refused" not in (tick(library, runner, monkeypatch).skip_message or "")
    monkeypatch.setattr(FolderUploads, "listing", lambda _: (_ for _ in ()).throw(BadInputError("no rights")))
    with pytest.raises(BadInputError, match="no rights"):
        tick(library, runner, monkeypatch)


# A file of an object


def test_the_copy_of_an_object_is_the_content_that_was_registered_and_goes_away(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    [upload] = BucketUploads(library.objects).listing()
    path = f"s3://{library.objects.bucket}/uploads/a.png"
    with local_video(library.objects, path, f"etag:{upload.etag}") as copy:
        assert (copy.name, copy.read_bytes()) == ("a.png", picture())
    assert not copy.parent.exists()
    library.objects.put("uploads/a.png", picture(99))
    with (
        pytest.raises(BadInputError, match="removed or replaced"),
        local_video(library.objects, path, f"etag:{upload.etag}"),
    ):
        pass
    with (
        pytest.raises(BadInputError, match="expected an object of bucket"),
        local_video(library.objects, "s3://other/uploads/a.png", ""),
    ):
        pass
    with pytest.raises(BadInputError, match="^s3://.*a.png: no"), local_video(library.objects, path, "") as copy:
        raise BadInputError(f"{copy}: no good")


# A run of an upload


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_an_uploaded_video_is_found_registered_and_run(
    runner: Runner, kind: str, clip: tuple[Path, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = runner.connection.objects
    name = f"match {uuid.uuid4().hex[:6]}.mp4"
    (tmp_path / "uploads").mkdir()
    if kind == "bucket":
        objects.put_file(f"uploads/{name}", clip[0])
        path = f"s3://{objects.bucket}/uploads/{name}"
    else:
        path = str(tmp_path / "uploads" / name)
        Path(path).write_bytes(clip[0].read_bytes())
    try:
        library = Library(runner.connection.database, objects, tmp_path / "uploads", runner.instance)
        [request] = tick(library, runner, monkeypatch).run_requests or []
        source = library.source(path)
        assert request.partition_key == source.partition_key
        assert (source.width, source.height, round(source.duration or 0)) == (640, 360, 6)
        runner.instance.add_dynamic_partitions(str(sources.name), [source.partition_key])
        began = set(Path(tempfile.gettempdir()).glob("touchline-*"))
        tags = {**request.tags, work.RUN_KEY_TAG: request.run_key or ""}
        outcome = runner.run(source, until="filter_scenes", tags=tags)
        assert outcome.succeeded, outcome.error
        assert set(Path(tempfile.gettempdir()).glob("touchline-*")) <= began, "the copy was left behind"
        with runner.connection.database.session() as session:
            job = repository.get_job(session, outcome.job.id)
            [row, _] = repository.list_checkpoints(session, job_id=job.id)
        assert (job.priority, job.video_path, row.item_count) == (0, path, 12)
        assert not tick(library, runner, monkeypatch).run_requests
        with runner.connection.database.session() as session:
            upload = repository.get_upload(session, request.tags[UPLOAD_TAG].removesuffix(name), name, 1)
        assert upload is not None and upload.state is UploadState.STARTED
        if kind == "bucket":
            objects.put_file(f"uploads/{name}", io.BytesIO(clip[0].read_bytes() + b"more"))
            outcome = runner.run(source, until="extract_frames", fresh=True)
            assert not outcome.succeeded and "removed or replaced after it was registered" in outcome.error
            [request] = tick(library, runner, monkeypatch).run_requests or []
            outcome = runner.run(library.source(path), until="extract_frames", tags=request.tags)
            assert outcome.succeeded and request.run_key.split("/")[1] == "2"
    finally:
        objects.delete(f"uploads/{name}")
