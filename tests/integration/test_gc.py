"""`touchline gc`: what is needed stays whatever runs beside it, and of the rest everything goes."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from typer.testing import CliRunner

from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from detection_assets.upkeep import collect_garbage
from resources.journal import Journal
from resources.object_store import ObjectStore
from touchline.bson_stream import StreamHeader, write_stream
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, StageCheckpoint
from touchline.nodes import NODE_INDEX
from touchline.synthetic import CLIP, render
from touchline_cli.app import app

NOW = timedelta(0)


@pytest.fixture
def library(secluded: Runner) -> Runner:
    """The library of this file, with nothing in its bucket that an earlier test has left as garbage."""
    objects = secluded.connection.objects
    for folder in objects.folders()[0]:
        objects.delete_all([item.key for item in objects.stored(f"{folder}/")])
    with secluded.connection.database.session() as session:
        for table in (StageCheckpoint, DetectJob):
            session.execute(sa.delete(table))
    return secluded


def collect(library: Runner, **options: Any) -> collect_garbage.Collected:
    return collect_garbage.collect(library.instance, library.connection, **{"older_than": NOW, **options})


def keys(library: Runner, prefix: str = "") -> set[str]:
    objects = library.connection.objects
    folders = [prefix] if prefix else [f"{name}/" for name in objects.folders()[0]]
    return {item.key for folder in folders for item in objects.stored(folder)}


def register(library: Runner) -> SourceAsset:
    with library.connection.database.session() as session:
        return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)


def job_of(library: Runner, source: SourceAsset, status: DetectJobStatus) -> DetectJob:
    with library.connection.database.session() as session:
        job = repository.create_job(session, source)
        return repository.set_job_status(session, job.id, status)


def blob(library: Runner, key: str, content: bytes = b"something") -> str:
    library.connection.objects.put(key, content)
    return key


def chunk(library: Runner, job: uuid.UUID, stage: str, number: int, fingerprint: str) -> str:
    key = f"checkpoints/{job}/stages/{stage}.partial/{number}.bson"
    with io.BytesIO() as buffer:
        write_stream(buffer, StreamHeader(stage, str(job), "", fingerprint), [{"n": 1}])
        return blob(library, key, buffer.getvalue())


def checkpoint(library: Runner, job: DetectJob, stage: str, output: str, **more: Any) -> StageCheckpoint:
    with library.connection.database.session() as session:
        row = StageCheckpoint(
            job_id=job.id,
            stage=stage,
            stage_index=NODE_INDEX[stage],
            source_asset_id=job.source_asset_id,
            stage_output_key=output,
            **more,
        )
        return repository.add_checkpoint(session, row)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A still with one brand, under a new path each time."""
    image = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(image, "HEINEKEN", (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)

    def new() -> Path:
        path = tmp_path_factory.mktemp("stills") / "board.png"
        cv2.imwrite(str(path), image)
        return path

    return new


def report_of(library: Runner, outcome: RunOutcome) -> dict[str, Any]:
    """report.json without ids and wall times."""
    assert outcome.succeeded, outcome.error
    with library.connection.database.session() as session:
        prefix = repository.get_job(session, outcome.job.id).report_prefix
    report: dict[str, Any] = json.loads(library.connection.objects.get(prefix + "report.json"))
    assert report["brands"]
    for name in ("source", "video_path", "job_id", "stages"):
        del report[name]
    return report


def planted(library: Runner) -> tuple[dict[str, set[str]], set[str]]:
    """Garbage of every kind, by kind; and what lies beside it and is needed, or not ours."""
    source = register(library)
    done, cancelled, failed = (
        job_of(library, source, status)
        for status in (DetectJobStatus.COMPLETED, DetectJobStatus.CANCELLED, DetectJobStatus.FAILED)
    )
    nobody, root = uuid.uuid4(), "checkpoints"
    blob(library, "touchline.ready")  # by the embedded server
    frame = blob(library, f"{root}/{done.id}/frames/000000.jpg")
    output = blob(library, f"{root}/{done.id}/stages/run_ocr.bson")
    checkpoint(library, done, "run_ocr", output, fingerprint="finished", frames_manifest={0: frame})
    with library.connection.database.session() as session:
        repository.get_job(session, done.id).report_prefix = f"reports/{done.id}/"
    needed = {
        frame,
        output,
        blob(library, f"reports/{done.id}/report.json"),
        chunk(library, failed.id, "run_ocr", 0, "unfinished"),
        blob(library, f"{root}/{failed.id}/stages/detect_edges.partial/3.bson", b"not readable"),
        blob(library, "uploads/match.mp4"),
        blob(library, f"{root}/{nobody}/frames/000000.jpg.new"),
        blob(library, f"{root}/{nobody}/stages/later_stage.bson"),
        blob(library, f"{root}/somebody/stages/run_ocr.bson"),
        blob(library, "elsewhere/logs.txt"),
    }
    found = {
        "orphans": {
            blob(library, f"{root}/{nobody}/frames/000001.jpg"),
            blob(library, f"{root}/{nobody}/stages/extract_frames.bson"),
            chunk(library, nobody, "run_ocr", 0, "unfinished"),
            blob(library, f"reports/{uuid.uuid4()}/report.html"),
        },
        "journals": {
            chunk(library, done.id, "run_ocr", 0, "unfinished"),
            chunk(library, cancelled.id, "extract_frames", 0, "unfinished"),
            chunk(library, failed.id, "run_ocr", 1, "finished"),
        },
        "outputs": {
            blob(library, f"{root}/{cancelled.id}/stages/run_ocr.bson"),
            blob(library, f"{root}/{done.id}/stages/run_ocr.{uuid.uuid4()}.bson"),
        },
        "frames": {
            blob(library, f"{root}/{cancelled.id}/frames/000000.jpg"),
            blob(library, f"{root}/{done.id}/frames/000001.jpg"),
        },
        "reports": {blob(library, f"reports/{failed.id}/report.json")},
    }
    return found, needed


def test_garbage_of_every_kind_is_found_and_nothing_else_goes(library: Runner) -> None:
    found, needed = planted(library)
    sizes = {kind: sum(library.connection.objects.size(key) for key in of_it) for kind, of_it in found.items()}
    dry = collect(library, dry_run=True)
    assert keys(library) == needed.union(*found.values())
    told = collect(library)
    assert told == dry
    assert dict(told.objects) == {kind: len(of_it) for kind, of_it in found.items()}
    assert dict(told.size) == sizes
    assert keys(library) == needed
    assert dict(told.kept) == {"needed": 5, "foreign": 4}
    assert {name.rpartition("/")[2] for name in told.not_ours} >= {"", "later_stage.bson", "000000.jpg.new"}
    assert {"elsewhere/", "checkpoints/somebody/"} <= set(told.not_ours)
    again = collect(library)
    assert (again.objects.total(), keys(library)) == (0, needed)


def test_what_is_young_stays(library: Runner) -> None:
    found, needed = planted(library)
    told = collect_garbage.collect(library.instance, library.connection)
    assert (told.objects.total(), told.kept["young"]) == (0, sum(map(len, found.values())))
    assert keys(library) == needed.union(*found.values())


def test_an_upload_in_parts_that_broke_off_is_given_up_but_not_one_of_a_person(library: Runner) -> None:
    objects = library.connection.objects
    job = job_of(library, register(library), DetectJobStatus.CANCELLED)
    at_work = job_of(library, register(library), DetectJobStatus.PENDING)
    names = [f"checkpoints/{job.id}/stages/run_ocr.bson", "uploads/match.mp4"]
    names.append(f"checkpoints/{at_work.id}/stages/run_ocr.bson")
    with objects._boto3("a test") as client:
        for name in names:
            begun = client.create_multipart_upload(Bucket=objects.bucket, Key=name)["UploadId"]
            part = b"x" * 1000
            client.upload_part(Bucket=objects.bucket, Key=name, UploadId=begun, PartNumber=1, Body=part)
    dry = collect(library, dry_run=True)
    assert (dict(dry.objects), dict(dry.size)) == ({"parts": 1}, {"parts": 1000})
    assert collect(library) == dry
    assert sorted(upload.key for upload in objects.unfinished("checkpoints/", "uploads/")) == sorted(names[1:])
    for upload in objects.unfinished("checkpoints/", "uploads/"):
        objects.abandon(upload)
        objects.abandon(upload)


def test_a_bucket_of_another_database_is_refused_whole(library: Runner) -> None:
    register(library)
    key = blob(library, f"checkpoints/{uuid.uuid4()}/frames/000000.jpg")
    with pytest.raises(BadInputError, match="knows none of them"):
        collect(library)
    assert keys(library) == {key}


class Cut(BaseException):
    """Ends the process, as far as the code can see."""


def test_an_interrupted_gc_is_finished_by_the_next(library: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    found, needed = planted(library)
    real, calls = ObjectStore.delete_all, 0

    def cut(store: ObjectStore, doomed: list[str]) -> None:
        nonlocal calls
        calls += 1
        real(store, doomed[: len(doomed) // 2])
        if calls == 2:
            raise Cut
        real(store, doomed)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "delete_all", cut)
        with pytest.raises(Cut):
            collect(library)
    assert needed < keys(library) < needed.union(*found.values())
    collect(library)
    assert keys(library) == needed


def test_the_frames_of_a_parent_stay_as_long_as_a_row_names_them(library: Runner) -> None:
    source = register(library)
    parent, child = (job_of(library, source, DetectJobStatus.COMPLETED) for _ in range(2))
    frames = {n: blob(library, f"checkpoints/{parent.id}/frames/{n:06d}.jpg") for n in range(3)}
    output = blob(library, f"checkpoints/{parent.id}/stages/extract_frames.bson")
    row = checkpoint(library, child, "extract_frames", output, frames_manifest=frames, is_scenario=True)
    # Of another source, which cannot come about by itself.
    stranger = job_of(library, register(library), DetectJobStatus.COMPLETED)
    lent = checkpoint(library, stranger, "extract_frames", "", frames_manifest={9: frames[1]})
    assert collect(library).objects.total() == 0
    for gone, left in ((row, {frames[1]}), (lent, set())):
        with library.connection.database.session() as session:
            session.execute(sa.delete(StageCheckpoint).where(StageCheckpoint.id == gone.id))
        collect(library)
        assert keys(library) == left


def test_a_source_with_a_dagster_run_under_way_is_left_alone_whatever_its_jobs_say(library: Runner) -> None:
    source = register(library)
    job = job_of(library, source, DetectJobStatus.CANCELLED)
    key = blob(library, f"checkpoints/{job.id}/frames/000000.jpg")
    tags = {"dagster/partition": source.partition_key}
    run = create_run_for_test(library.instance, "detect_brands", status=DagsterRunStatus.STARTED, tags=tags)
    assert +collect(library).kept == Counter(busy=1)
    library.instance.report_run_canceled(run)
    assert collect(library).objects == Counter(frames=1)
    assert keys(library, "checkpoints/") == set() != {key}


def test_a_worker_that_goes_on_after_its_job_was_cancelled_adds_no_row_for_a_blob_that_goes(
    library: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(library, register(library), DetectJobStatus.CANCELLED)
    store = library.connection.checkpoints
    journal = store.journal(job.id, "run_ocr", "f")
    journal.write(0, [{"n": 1}], {})
    real, begun = ObjectStore.put_file, threading.Event()
    told: list[collect_garbage.Collected] = []
    thread = threading.Thread(target=lambda: told.append(collect(library)))

    def put(objects: ObjectStore, key: str, file: Any) -> None:
        real(objects, key, file)
        thread.start()
        # Long enough for it to delete the blob, if nothing kept it from doing so.
        begun.wait(1.0)

    monkeypatch.setattr(ObjectStore, "put_file", put)
    row = store.commit(
        job=job,
        stage="run_ocr",
        fingerprint="f",
        journal=journal,
        stats={},
        config_snapshot={},
        config_overrides={},
        input_checkpoint_ids=[],
    )
    thread.join()
    assert told
    assert list(store.read(row)) == [{"n": 1}]


@pytest.mark.slow
def test_nothing_is_taken_from_runs_neither_after_their_end_nor_at_any_step(
    library: Runner, picture: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = library.register(picture())
    undisturbed = report_of(library, library.run(source))
    before = keys(library)
    cli = CliRunner().invoke(app, ["gc", "--older-than", "0", "--yes", "--json"], catch_exceptions=False)
    told = json.loads(cli.stdout)
    assert (cli.exit_code, told["objects"], told["bytes"], told["kept"]["needed"]) == (0, 0, 0, len(before))
    assert keys(library) == before
    points: list[str] = []

    def collecting(name: str) -> None:
        real = getattr(ObjectStore, name)

        def wrapped(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            # On connections of its own, before the row that will name what was put is there.
            assert collect(library).objects.total() == 0
            points.append(name)

        monkeypatch.setattr(ObjectStore, name, wrapped)

    collecting("put")
    collecting("put_file")
    disturbed = library.run(library.register(picture()))
    assert Counter(points) == {"put": 9, "put_file": 12}
    assert report_of(library, disturbed) == undisturbed
    monkeypatch.undo()
    assert report_of(library, library.run(source, first="match_brands")) == undisturbed


@pytest.mark.slow
def test_what_failed_goes_on_after_gc_without_computing_a_chunk_again(
    library: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(tmp_path / "clip.mp4", CLIP)
    source = library.register(tmp_path / "clip.mp4")
    settings = {"extract_frames.chunk_s": 1.0, "extract_frames.sample_fps": 1.0}
    written: Counter[tuple[str, int]] = Counter()
    real = Journal.write
    stop_at = [("extract_frames", 1), ("extract_frames", 3), ("filter_scenes", 2)]

    def write(journal: Journal, number: int, *rest: Any) -> None:
        if stop_at and (journal.stage, number) == stop_at[0]:
            stop_at.pop(0)
            raise OSError("the disk went away")
        real(journal, number, *rest)
        written[journal.stage, number] += 1

    monkeypatch.setattr(Journal, "write", write)
    for ending in (DetectJobStatus.FAILED, DetectJobStatus.PAUSED, DetectJobStatus.FAILED):
        outcome = library.run(source, overrides=settings, until="filter_scenes")
        assert outcome.job.status is DetectJobStatus.FAILED
        with library.connection.database.session() as session:
            # Each goes on with a copy of the journal before, which names frames of all attempts so far.
            repository.set_job_status(session, outcome.job.id, ending)
        collect(library)
    done = library.run(source, overrides=settings, until="filter_scenes")
    assert done.succeeded, done.error
    assert set(written.values()) == {1} and len(written) == 2 * int(CLIP.duration_s)
    collect(library)
    named = set()
    with library.connection.database.session() as session:
        for row in repository.list_checkpoints(session, source_asset_id=source.id):
            named |= {row.stage_output_key, *row.frames_manifest.values()}
            for meta in row.frames_meta:
                data = library.connection.objects.get(row.frames_manifest[meta["sequence"]])
                assert hashlib.sha256(data).hexdigest() == meta["hash"]
    # With the run at its end, nothing else is left of four attempts.
    assert keys(library, "checkpoints/") == named


def test_the_command_tells_the_same_in_words_and_refuses_what_is_no_time(library: Runner) -> None:
    found, needed = planted(library)
    cli = CliRunner()
    dry = cli.invoke(app, ["gc", "--dry-run", "--older-than", "0"], catch_exceptions=False)
    number = sum(map(len, found.values()))
    assert dry.exit_code == 0 and f"would free {number} objects" in dry.stdout
    assert "elsewhere/" in dry.stdout
    assert cli.invoke(app, ["gc", "--older-than", "-1"]).exit_code == 2
    assert keys(library) == needed.union(*found.values())
    done = cli.invoke(app, ["gc", "--older-than", "0", "--yes"], catch_exceptions=False)
    assert done.exit_code == 0 and f"freed {number} objects" in done.stdout
    assert keys(library) == needed
