"""The sensor new_uploads in Dagster, runs of uploads, their hashes and the local files of objects."""

from __future__ import annotations

import io
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.sensor_definition import SensorExecutionData

from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.definitions import JOB, build_defs
from detection_assets.local.runner import Runner
from detection_assets.partitions import sources
from detection_assets.sensors.new_uploads import UPLOAD_TAG, new_uploads, registered_uploads
from detection_assets.upkeep import scan_uploads as work
from detection_assets.upkeep.ingest_job import INGEST_TAG
from resources.database import Database
from resources.folder_listing import FolderListing, list_folder
from resources.local_services import Endpoints
from resources.probing import Prober
from resources.storage import Storage
from resources.uploads import BucketUploads, local_video
from tests.support.hostile_place import HostileUploads
from tests.support.upload_library import Library, children, opened, picture
from touchline.errors import BadInputError, ServiceError
from touchline.library import naming, repository
from touchline.library.intake import BEGUN, Listed, UploadState
from touchline.library.tables import Upload


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        yield library


# The sensor


@dataclass
class Ticks:
    """The sensors of uploads on the library's servers and folder, and the runs that they ask for; nothing settles."""

    library: Library
    runner: Runner

    def tick(self, sensor: dg.SensorDefinition) -> SensorExecutionData:
        """One evaluation as the daemon has it."""
        context = dg.build_sensor_context(
            instance_ref=self.runner.instance.get_ref(), definitions=build_defs(), resources={"storage": Storage()}
        )
        with context:
            return sensor.evaluate_tick(context)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """The ingest run that a tick asks for."""
        tags = {**request.tags, RUN_KEY_TAG: request.run_key or ""}
        job = build_defs().resolve_job_def("ingest_uploads")
        return job.execute_in_process(instance=self.runner.instance, tags=tags, raise_on_error=False)

    def asked(self) -> list[dg.RunRequest]:
        """Scans, looks into what was found, and returns the runs of all nodes that are asked for then."""
        for request in self.tick(new_uploads).run_requests or []:
            assert self.run(request).success
        return list(self.tick(registered_uploads).run_requests or [])


@pytest.fixture
def ticks(library: Library, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Ticks:
    prepare(library, monkeypatch)
    return Ticks(library, runner)


def prepare(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_UPLOADS", str(library.folder))
    monkeypatch.setattr(Storage, "connect", lambda _: library.connection)
    monkeypatch.setattr(work.scan, "__kwdefaults__", {**(work.scan.__kwdefaults__ or {}), "settle": timedelta()})


def test_a_tick_opens_no_file_and_asks_for_one_run_a_place(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ticks.library
    for name in ("a.png", "b.png"):
        (library.folder / name).write_bytes(picture())
        library.objects.put(f"uploads/{name}", picture())
    monkeypatch.setattr(Prober, "_started", lambda _: pytest.fail("a tick looked into a file"))
    asked = ticks.tick(new_uploads).run_requests or []
    assert new_uploads.job_name == "ingest_uploads"
    assert {request.tags[INGEST_TAG] for request in asked} == {place.location for place in library.places}
    again = ticks.tick(new_uploads).run_requests or []
    assert {request.run_key for request in again} == {request.run_key for request in asked}, "not there yet"
    with library.connection.database.session() as session:
        rows = session.scalars(sa.select(Upload)).all()
    assert {(row.state, row.looks) for row in rows} == {(UploadState.WAITING, 0)}


def test_a_registered_upload_gets_partition_and_run_together_with_priority_and_tags(ticks: Ticks) -> None:
    library = ticks.library
    (library.folder / "a.png").write_bytes(picture())
    [request] = ticks.tick(new_uploads).run_requests or []
    result = ticks.run(request)
    assert result.success
    row = library.rows()["a.png", 1]
    done = ticks.tick(registered_uploads)
    [request] = done.run_requests or []
    assert (request.run_key, request.partition_key) == (row.run_key, row.partition_key)
    assert registered_uploads.job_name == JOB
    assert row.etag in row.run_key
    assert request.tags["dagster/priority"] == "0"
    assert request.tags[UPLOAD_TAG] == str(library.folder / "a.png")
    assert request.tags["dagster/partition"] == row.partition_key
    [added] = done.dynamic_partitions_requests or []
    assert list(added.partition_keys) == [row.partition_key]
    assert not ticks.tick(new_uploads).run_requests, "it was looked into"


def test_a_run_tells_of_refusals_and_a_tick_of_a_folder_that_cannot_be_read(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ticks.library.objects
    objects.put("uploads/notes.txt", b"no video")
    [request] = ticks.tick(new_uploads).run_requests or []
    result = ticks.run(request)
    path = f"s3://{objects.bucket}/uploads/notes.txt"
    [event] = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    observed = event.asset_observation_data.asset_observation
    assert (observed.asset_key, observed.metadata["path"].value) == (dg.AssetKey("library"), path)
    assert not ticks.tick(new_uploads).run_requests
    monkeypatch.setattr(FolderListing, "listing", lambda _: (_ for _ in ()).throw(BadInputError("no rights")))
    with pytest.raises(BadInputError, match="no rights"):
        ticks.tick(new_uploads)


def test_a_folder_that_hangs_or_is_missing_holds_up_no_other_place_and_leaves_nothing_running(
    library: Library, tmp_path: Path
) -> None:
    library.objects.put("uploads/a.png", picture())
    before = children()
    library.places[1:] = [FolderListing(tmp_path, limit_s=0.01)]  # type: ignore[list-item]
    found = library.scan()
    assert "could not be listed within 0.01 s" in str(found.troubles[0])
    assert list(found.runs.values()) == [library.places[0].location]
    assert children() <= before
    assert FolderListing(tmp_path / "nowhere").listing() is None
    with pytest.raises(BadInputError, match="cannot be read"):
        list_folder(tmp_path / "nowhere")


def test_a_folder_is_listed_in_its_own_process_as_in_this_one(library: Library) -> None:
    (library.folder / "cup").mkdir()
    for name in ("é 1.png", "cup/b.png", ".hidden"):
        (library.folder / name).write_bytes(picture())
    (library.folder / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    link = library.folder.parent / "link"
    link.symlink_to(library.folder)
    apart = FolderListing(link).listing()
    assert apart is not None and apart == list_folder(library.folder)
    assert sorted(upload.key for upload in apart.uploads) == ["\\xff.png", "cup/b.png", "é 1.png"]


def test_what_a_killed_ingest_run_leaves_behind_is_looked_into_by_another_with_the_reason_until_then(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (library.folder / name).write_bytes(picture())
    [run] = library.begin(library.scan())
    identify, seen = Prober.identify, []

    def dies_at_the_second(prober: Prober, place: object, upload: Listed, known: str) -> tuple[str, str]:
        seen.append(upload.key)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return identify(prober, place, upload, known)

    monkeypatch.setattr(Prober, "identify", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        library.ingest(run)
    monkeypatch.undo()
    rows = library.rows()
    assert [rows[name, 1].looks for name in ("a.png", "b.png", "c.png")] == [1, 1, 0]
    found = library.scan()
    [again] = library.begin(found)
    rows = library.rows()
    assert found.asked == 2 and again.tags[RUN_KEY_TAG] != run.tags[RUN_KEY_TAG]
    assert rows["b.png", 1].reason == BEGUN
    assert "its ingest run failed: the process of the run died" in rows["c.png", 1].reason
    assert len(library.ingest(again).registered) == 2
    assert set(library.states().values()) == {"requested"}


def test_a_run_that_ends_before_it_looks_into_anything_is_asked_for_more_and_more_seldom(library: Library) -> None:
    (library.folder / "a.png").write_bytes(picture())
    asked = []
    for _ in range(3):
        runs = library.begin(library.scan())
        asked.append(len(runs))
        for run in runs:
            library.instance.report_run_failed(run, "out of memory")
    assert asked == [1, 1, 0], "at once, then after a pause"
    row = library.rows()["a.png", 1]
    assert (row.state, row.tries, row.looks) == (UploadState.WAITING, 2, 0)
    assert "out of memory" in row.reason
    with library.connection.database.session() as session:
        session.execute(sa.update(Upload).values(ask_at=sa.func.clock_timestamp()))
    assert len(library.look().requests) == 1


def test_a_file_that_changes_between_scan_and_run_waits_for_the_next_scan(library: Library) -> None:
    (library.folder / "a.png").write_bytes(picture())
    library.objects.put("uploads/b.png", picture())
    runs = library.begin(library.scan())
    (library.folder / "a.png").write_bytes(picture(99) + b"more")
    library.objects.put("uploads/b.png", picture(99))
    for run in runs:
        done = library.ingest(run)
        assert (done.registered, done.refused, done.troubles) == ([], [], [])
    assert len(library.look(later=timedelta()).requests) == 2
    with library.connection.database.session() as session:
        assert {row.looks for row in session.scalars(sa.select(Upload))} == {1}


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


def test_a_source_that_an_older_version_registered_by_blocks_keeps_its_checksum(
    runner: Runner, own_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "WHOLE", 0)
    sampled = runner.register(own_video).checksum
    monkeypatch.undo()
    assert sampled.startswith(naming.SAMPLED)
    assert runner.register(own_video).checksum == sampled


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
        prepare(library, monkeypatch)
        ticks = Ticks(library, runner)
        [request] = ticks.asked()
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
        assert not ticks.asked()
        with runner.connection.database.session() as session:
            upload = repository.get_upload(session, request.tags[UPLOAD_TAG].removesuffix(name), name, 1)
        assert upload is not None and upload.state is UploadState.STARTED
        if kind == "bucket":
            objects.put_file(f"uploads/{name}", io.BytesIO(clip[0].read_bytes() + b"more"))
            outcome = runner.run(source, until="extract_frames", fresh=True)
            assert not outcome.succeeded and "removed or replaced after it was registered" in outcome.error
            [request] = ticks.asked()
            outcome = runner.run(library.source(path), until="extract_frames", tags=request.tags)
            assert outcome.succeeded and (request.run_key or "").split("/")[1] == "2"
    finally:
        objects.delete(f"uploads/{name}")
