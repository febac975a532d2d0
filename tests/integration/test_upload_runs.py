"""The sensor new_uploads in Dagster, runs of uploads, their hashes and the local files of objects."""

from __future__ import annotations

import io
import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.sensor_definition import SensorExecutionData

from detection_assets.definitions import JOB, build_defs
from detection_assets.local.runner import Runner
from detection_assets.partitions import sources
from detection_assets.sensors.new_uploads import UPLOAD_TAG, new_uploads
from detection_assets.upkeep import ingest_uploads as work
from detection_assets.upkeep.retry_uploads import RUN_KEY_TAG
from resources.database import Database
from resources.local_services import Endpoints
from resources.storage import Storage
from resources.uploads import BucketUploads, FolderUploads, local_video, sampled_checksum
from tests.support.hostile_place import HostileUploads
from tests.support.upload_library import Library, opened, picture
from touchline.errors import BadInputError, ServiceError
from touchline.library import repository
from touchline.library.intake import UploadState


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        yield library


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


# Hashes, and what a look costs


def test_a_look_asks_the_database_no_more_for_many_uploads_than_for_one(library: Library) -> None:
    statements: list[str] = []
    engine = library.connection.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = []
    for number in (1, 40):
        for n in range(number):
            (library.folder / f"{number}-{n}.png").write_bytes(picture())
        statements.clear()
        library.look(limit=0)
        counts.append(len(statements))
        for path in library.folder.iterdir():
            path.unlink()
        statements.clear()
        library.look(limit=0)
        counts.append(len(statements))
    assert counts[:2] == counts[2:]
    assert all(row.gone_at for row in library.rows().values())


def test_large_files_are_hashed_in_blocks_that_tell_content_from_time(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)
    empty = sampled_checksum(path)
    path.touch()
    assert sampled_checksum(path) == empty
    seen = {empty}
    for offset in (0, 3 * 1024**3 - 1):
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"1")
        seen.add(sampled_checksum(path))
    with path.open("r+b") as file:
        file.truncate(3 * 1024**3 - 1)
    seen.add(sampled_checksum(path))
    assert len(seen) == 4
    assert all(text.startswith("sampled:") for text in seen)


def test_a_disk_that_fails_refuses_nothing(library: Library) -> None:
    (library.folder / "unread.png").write_bytes(picture())
    places, library.places = library.places, [HostileUploads(library.folder)]
    assert isinstance(library.look().troubles[0], ServiceError)
    assert library.states() == {("unread.png", 1): "waiting"}
    library.places = places
    assert len(library.look().requests) == 1


# A file of an object


def test_the_copy_of_an_object_is_the_content_that_was_registered_and_goes_away(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    [upload] = BucketUploads(library.objects).listing().uploads
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
        (tmp_path / "scratch").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
        tags = {**request.tags, RUN_KEY_TAG: request.run_key or ""}
        outcome = runner.run(source, until="filter_scenes", tags=tags)
        assert outcome.succeeded, outcome.error
        assert not list((tmp_path / "scratch").iterdir()), "the copy was left behind"
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
            assert outcome.succeeded and (request.run_key or "").split("/")[1] == "2"
    finally:
        objects.delete(f"uploads/{name}")
