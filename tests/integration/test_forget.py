"""`touchline forget`: everything of a source goes together, nothing of another, whatever breaks off in between."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from typer.testing import CliRunner

from detection_assets.local.runner import Runner
from detection_assets.partitions import sources
from detection_assets.upkeep import retire_source as work
from resources.object_store import ObjectStore
from touchline.brands.registry import brand_id
from touchline.errors import BadInputError, TouchlineError
from touchline.library import repository
from touchline.library.tables import (
    DetectJob,
    DetectJobStatus,
    KnownBrand,
    SourceAsset,
    SourceBrandSighting,
    SourceState,
    StageCheckpoint,
)
from touchline.nodes import NODE_INDEX
from touchline_cli.app import app

FRAMES = 3


def blob(objects: ObjectStore, key: str) -> str:
    objects.put(key, key.encode())
    return key


def made(runner: Runner) -> tuple[SourceAsset, DetectJob]:
    """A source with two finished jobs: frames, checkpoints, unfinished chunks, reports, a sighting, a partition."""
    objects, brand = runner.connection.objects, uuid.UUID(brand_id("Grondelix"))
    with runner.connection.database.session() as session:
        source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)
        first = repository.create_job(session, source)
        job = repository.create_job(session, source)
        for one in (first, job):
            root = f"checkpoints/{one.id}"
            frames = {n: blob(objects, f"{root}/frames/{n:06d}.jpg") for n in range(FRAMES)}
            output = blob(objects, f"{root}/stages/extract_frames.bson")
            blob(objects, f"{root}/stages/run_ocr.partial/0.bson")
            blob(objects, f"reports/{one.id}/report.json")
            row = checkpoint(session, one, output, frames_manifest=frames)
            repository.set_job_status(session, one.id, DetectJobStatus.COMPLETED)
            one.report_prefix = f"reports/{one.id}/"
        checkpoint(session, job, f"checkpoints/{first.id}/stages/extract_frames.bson", reused_from=row.id)
        repository.record_sightings(session, source.id, [repository.Sighting(brand, "Grondelix", 0.0, 1.0, 5)])
    runner.instance.add_dynamic_partitions(str(sources.name), [source.partition_key])
    return source, job


def checkpoint(session: Any, job: DetectJob, output: str, **more: Any) -> StageCheckpoint:
    row = StageCheckpoint(
        job_id=job.id,
        stage="extract_frames",
        stage_index=NODE_INDEX["extract_frames"],
        source_asset_id=job.source_asset_id,
        stage_output_key=output,
        stage_output_sha256=hashlib.sha256(output.encode()).hexdigest(),
        stage_output_size=len(output),
        **more,
    )
    return repository.add_checkpoint(session, row)


def left(runner: Runner, source: SourceAsset, jobs: list[uuid.UUID]) -> dict[str, int]:
    """How much is left of a source, by kind; nothing of what is all gone."""
    counts: dict[str, int] = {}
    with runner.connection.database.session() as session:
        for table in (StageCheckpoint, SourceBrandSighting, DetectJob):
            query = sa.select(sa.func.count()).select_from(table).where(table.source_asset_id == source.id)
            counts[table.__tablename__] = session.scalar(query) or 0
        counts["source"] = int(session.get(SourceAsset, source.id) is not None)
    counts["partition"] = int(source.partition_key in runner.instance.get_dynamic_partitions(str(sources.name)))
    counts["objects"] = sum(
        len(runner.connection.objects.list(f"{folder}/{job}/")) for job in jobs for folder in ("checkpoints", "reports")
    )
    return {name: count for name, count in counts.items() if count}


def missing(runner: Runner, source: SourceAsset) -> list[str]:
    """The keys that rows of a source name and that are not in the store."""
    with runner.connection.database.session() as session:
        rows = repository.list_checkpoints(session, source_asset_id=source.id)
        jobs = repository.list_jobs(session, source.id)
    keys = [key for row in rows for key in (row.stage_output_key, *row.frames_manifest.values())]
    keys += [job.report_prefix + "report.json" for job in jobs if job.report_prefix]
    return [key for key in keys if not runner.connection.objects.exists(key)]


def jobs_of(runner: Runner, source: SourceAsset) -> list[uuid.UUID]:
    with runner.connection.database.session() as session:
        return [job.id for job in repository.list_jobs(session, source.id)]


def occurrences(runner: Runner) -> int:
    with runner.connection.database.session() as session:
        return session.get_one(KnownBrand, uuid.UUID(brand_id("Grondelix"))).total_occurrences


def test_everything_of_a_source_goes_and_nothing_of_another(runner: Runner) -> None:
    source, _ = made(runner)
    other, _ = made(runner)
    jobs, others = jobs_of(runner, source), jobs_of(runner, other)
    whole, before = left(runner, other, others), occurrences(runner)
    found = work.forget(runner.instance, runner.connection, source.partition_key)
    assert (len(found.objects), found.rows.checkpoints, found.rows.sightings) == (2 * (FRAMES + 3), 3, 1)
    assert found.size == sum(len(key) for key, _ in found.objects)
    assert left(runner, source, jobs) == {}
    assert left(runner, other, others) == whole
    assert missing(runner, other) == []
    assert occurrences(runner) == before - 5
    with pytest.raises(BadInputError, match="no source"):
        work.forget(runner.instance, runner.connection, source.partition_key)


def test_a_blob_that_a_row_of_another_source_names_is_kept(runner: Runner) -> None:
    source, job = made(runner)
    other, theirs = made(runner)
    jobs = jobs_of(runner, source)
    root = f"checkpoints/{job.id}"
    with runner.connection.database.session() as session:
        [ours] = [r for r in repository.list_checkpoints(session, job_id=job.id) if r.frames_manifest]
        row = checkpoint(session, theirs, f"{root}/stages/extract_frames.bson", reused_from=ours.id)
        checkpoint(session, theirs, "", frames_manifest={7: f"{root}/frames/000001.jpg"})
    found = work.forget(runner.instance, runner.connection, source.partition_key)
    kept = [f"{root}/frames/000001.jpg", f"{root}/stages/extract_frames.bson"]
    assert list(found.kept) == kept
    assert [key for key, _ in runner.connection.objects.list(f"{root}/")] == kept
    assert left(runner, source, jobs) == {"objects": 2}
    with runner.connection.database.session() as session:
        assert repository.get_checkpoint(session, row.id).reused_from is None
    assert [key for key in missing(runner, other) if key] == []


def test_a_dry_run_tells_all_and_changes_nothing(runner: Runner) -> None:
    source, _ = made(runner)
    jobs = jobs_of(runner, source)
    before = left(runner, source, jobs)
    found = work.inventory(runner.instance, runner.connection, source.video_path)
    assert left(runner, source, jobs) == before
    assert len(found.objects) == before["objects"]
    assert work.forget(runner.instance, runner.connection, source.video_path).objects == found.objects


def test_a_source_at_work_is_refused_and_stays_whole(runner: Runner) -> None:
    source, _ = made(runner)
    run = create_run_for_test(runner.instance, "detect_brands", status=DagsterRunStatus.STARTED)
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source, dagster_run_id=run.run_id)
        repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)
    before = left(runner, source, jobs_of(runner, source))
    for act in (work.inventory, work.forget):
        with pytest.raises(BadInputError, match=str(job.id)):
            act(runner.instance, runner.connection, source.partition_key)
    assert left(runner, source, jobs_of(runner, source)) == before
    # Its run is over without a word to the job: no reason to refuse.
    runner.instance.report_run_failed(run)
    work.forget(runner.instance, runner.connection, source.partition_key)
    assert left(runner, source, jobs_of(runner, source)) == {}


def test_a_source_with_a_dagster_run_under_way_is_refused(runner: Runner) -> None:
    source, _ = made(runner)
    tags = {"dagster/partition": source.partition_key}
    run = create_run_for_test(runner.instance, "detect_brands", status=DagsterRunStatus.STARTED, tags=tags)
    with pytest.raises(BadInputError, match=f"{run.run_id} is started"):
        work.forget(runner.instance, runner.connection, source.partition_key)
    runner.instance.report_run_failed(run)
    work.forget(runner.instance, runner.connection, source.partition_key)


class Cut(BaseException):
    """Ends the process, as far as the code can see: nothing catches it."""


def cut_at(monkeypatch: pytest.MonkeyPatch, runner: Runner, point: str) -> None:
    """The next call of `point` ends everything; `point#n` the n-th after it."""
    name, _, count = point.partition("#")
    targets: dict[str, tuple[Any, str]] = {
        "lock": (repository, "source_inventory"),
        "rows": (repository, "delete_findings"),
        "partition": (type(runner.instance), "delete_dynamic_partition"),
        "list": (type(runner.connection.objects), "list"),
        "delete": (type(runner.connection.objects), "delete"),
        "source": (repository, "delete_source"),
    }
    target, attribute = targets[name]
    real: Callable[..., Any] = getattr(target, attribute)
    calls = 0

    def cut(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > int(count or 0):
            raise Cut
        return real(*arguments, **named)

    monkeypatch.setattr(target, attribute, cut)


@pytest.mark.parametrize(
    "point", ["lock", "lock#1", "rows", "partition", "list#4", "delete", "delete#1", "delete#5", "delete#11", "source"]
)
def test_cut_off_at_any_point_no_row_points_at_nothing_and_the_next_attempt_finishes(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    source, _ = made(runner)
    jobs = jobs_of(runner, source)
    with monkeypatch.context() as patched:
        cut_at(patched, runner, point)
        with pytest.raises(Cut):
            work.forget(runner.instance, runner.connection, source.partition_key)
    assert missing(runner, source) == []
    assert left(runner, source, jobs)["source"] == 1
    with runner.connection.database.session() as session:
        state = repository.get_source(session, source.partition_key).state
    begun = "stage_checkpoints" not in left(runner, source, jobs)
    assert state is (SourceState.REJECTED if begun else SourceState.ACCEPTED)
    work.forget(runner.instance, runner.connection, source.partition_key)
    assert left(runner, source, jobs) == {}


def test_a_job_that_begins_while_a_source_is_forgotten_is_not_lost(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = made(runner)
    real = runner.connection.objects.list

    def late(store: ObjectStore, prefix: str) -> list[tuple[str, int]]:
        with runner.connection.database.session() as session:
            if repository.get_source(session, source.partition_key).state is SourceState.REJECTED:
                repository.create_job(session, repository.get_source(session, source.partition_key))
        return real(prefix)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "list", late)
        with pytest.raises(TouchlineError, match="a job began"):
            work.forget(runner.instance, runner.connection, source.partition_key)
    jobs = jobs_of(runner, source)
    assert len(jobs) > 2
    work.forget(runner.instance, runner.connection, source.partition_key)
    assert left(runner, source, jobs) == {}


@pytest.mark.slow
def test_the_command_forgets_what_a_real_run_left_behind(runner: Runner, tmp_path: Path) -> None:
    picture = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(picture, "HEINEKEN", (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "board.png"), picture)
    source = runner.register(tmp_path / "board.png")
    assert runner.run(source).succeeded
    jobs = jobs_of(runner, source)
    cli = CliRunner()
    dry = cli.invoke(app, ["forget", source.video_path, "--dry-run", "--json"], catch_exceptions=False)
    assert dry.exit_code == 0
    told = json.loads(dry.stdout)
    assert (told["dry_run"], told["jobs"], told["checkpoints"], told["sightings"]) == (True, 1, 8, 1)
    assert told["objects"] == left(runner, source, jobs)["objects"] > 10
    done = cli.invoke(app, ["forget", source.video_path, "--yes"], catch_exceptions=False)
    assert done.exit_code == 0 and f"forgot {source.partition_key}" in done.stdout
    assert left(runner, source, jobs) == {}
    assert (tmp_path / "board.png").exists()
    with pytest.raises(BadInputError):
        cli.invoke(app, ["forget", source.video_path, "--yes"], catch_exceptions=False)
