"""Sources, jobs, checkpoint rows and brands in a real database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session

from resources.database import Database
from touchline.brands.registry import BrandEntry, brand_id, shipped
from touchline.errors import BadInputError, CheckpointError
from touchline.library import repository
from touchline.library.repository import Found
from touchline.library.tables import (
    BrandSource,
    DetectJob,
    DetectJobStatus,
    KnownBrand,
    RunType,
    SourceAsset,
    SourceState,
    StageCheckpoint,
)
from touchline.nodes import NODE_INDEX


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as session:
        yield session


@pytest.fixture
def source(session: Session) -> SourceAsset:
    return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c1", duration=90.0)


def add(session: Session, job: DetectJob, stage: str, **values: Any) -> StageCheckpoint:
    row = StageCheckpoint(
        job_id=job.id, stage=stage, stage_index=NODE_INDEX[stage], source_asset_id=job.source_asset_id, **values
    )
    return repository.add_checkpoint(session, row)


# Sources


def test_a_source_is_registered_once_and_found_by_key_path_or_id(session: Session, source: SourceAsset) -> None:
    again = repository.register_source(session, source.video_path, checksum="c1", fps=25.0)
    assert again is source
    assert (again.duration, again.fps) == (90.0, 25.0)
    for name in (source.partition_key, source.video_path, str(source.id)):
        assert repository.get_source(session, name) is source
    assert source in repository.list_sources(session)


def test_new_content_under_a_path_is_the_same_source_and_forgets_the_old_measures(
    session: Session, source: SourceAsset
) -> None:
    again = repository.register_source(session, source.video_path, checksum="c2", fps=50.0)
    assert again.id == source.id
    assert (again.checksum, again.duration, again.fps) == ("c2", None, 50.0)


def test_a_rejected_source_says_why(session: Session, source: SourceAsset) -> None:
    reason = "no video stream\0"
    repository.register_source(session, source.video_path, state=SourceState.REJECTED, rejection_reason=reason)
    assert (source.state, source.rejection_reason) == (SourceState.REJECTED, "no video stream")


def test_an_unknown_source_is_refused(session: Session) -> None:
    with pytest.raises(BadInputError, match="nothing-00000000"):
        repository.get_source(session, "nothing-00000000")


# Jobs


def test_a_new_job_has_the_defaults_of_the_schema(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    assert (job.status, job.run_type, job.progress) == (DetectJobStatus.PENDING, RunType.INITIAL, 0.0)
    assert (job.profile_name, job.video_path, job.partition_key) == (
        "soccer_broadcast",
        source.video_path,
        source.partition_key,
    )
    assert (job.parent_job_id, job.replay_from_stage, job.config_overrides) == (None, None, {})


def test_all_jobs_of_a_source_name_the_first_of_the_line(session: Session, source: SourceAsset) -> None:
    first = repository.create_job(session, source)
    second = repository.create_job(session, source, run_type=RunType.REPLAY, replay_from_stage="run_ocr")
    third = repository.create_job(session, source, run_type=RunType.RETRY)
    assert (second.parent_job_id, third.parent_job_id) == (first.id, first.id)
    assert [job.id for job in repository.list_jobs(session, source.id)] == [third.id, second.id, first.id]


def test_two_jobs_created_at_once_agree_on_the_first(database: Database) -> None:
    with database.session() as session:
        source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")

    def create(_: int) -> uuid.UUID:
        with database.session() as session:
            return repository.create_job(session, source).id

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create, range(6)))
    with database.session() as session:
        jobs = repository.list_jobs(session, source.id)
    (first,) = [job.id for job in jobs if job.parent_job_id is None]
    assert {job.parent_job_id for job in jobs} == {None, first}


def test_times_follow_from_the_status(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)
    started = job.started_at
    assert started is not None
    assert job.completed_at is None
    repository.set_job_status(session, job.id, DetectJobStatus.FAILED, error_message="out of\0 memory")
    assert job.completed_at is not None
    assert job.error_message == "out of memory"
    before = (job.started_at, job.completed_at, job.error_message)
    assert repository.set_job_status(session, job.id, DetectJobStatus.RUNNING).status is DetectJobStatus.FAILED
    assert (job.started_at, job.completed_at, job.error_message) == before


@pytest.mark.parametrize("final", sorted(repository.FINAL))
def test_a_final_status_stays(session: Session, source: SourceAsset, final: DetectJobStatus) -> None:
    job = repository.create_job(session, source)
    repository.set_job_status(session, job.id, final)
    assert repository.set_job_status(session, job.id, DetectJobStatus.FAILED).status is final
    repository.set_progress(session, job.id, "run_ocr", 0.1)
    session.refresh(job)
    assert job.progress == (1.0 if final is DetectJobStatus.COMPLETED else 0.0)
    with pytest.raises(BadInputError, match="already"):
        repository.request_stop(session, job.id, DetectJobStatus.PAUSED)


def test_progress_is_kept_between_nothing_and_all(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    repository.set_progress(session, job.id, "run_ocr", np.float64(1.7))
    session.refresh(job)
    assert (job.current_stage, job.progress) == ("run_ocr", 1.0)


def test_a_summary_ends_no_job_and_a_completed_one_has_done_all(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    repository.set_progress(session, job.id, "escalate_cloud", 0.9)
    repository.record_totals(session, job.id, {"total_detections": 12, "brands_found": 3, "estimated_cost_usd": 0.25})
    assert (job.status, job.progress) == (DetectJobStatus.PENDING, 0.9)
    repository.set_job_status(session, job.id, DetectJobStatus.COMPLETED)
    session.refresh(job)
    assert (job.status, job.progress, job.current_stage) == (DetectJobStatus.COMPLETED, 1.0, None)
    assert (job.total_detections, job.brands_found, job.cloud_llm_calls, job.estimated_cost_usd) == (12, 3, 0, 0.25)


def test_a_running_job_is_asked_to_stop_and_another_stops_at_once(session: Session, source: SourceAsset) -> None:
    running, waiting = (repository.create_job(session, source) for _ in range(2))
    repository.set_job_status(session, running.id, DetectJobStatus.RUNNING)
    repository.request_stop(session, running.id, DetectJobStatus.PAUSED)
    assert running.status is DetectJobStatus.RUNNING
    assert repository.stop_requested(session, running.id) is DetectJobStatus.PAUSED
    repository.set_job_status(session, running.id, DetectJobStatus.PAUSED)
    repository.request_stop(session, running.id, DetectJobStatus.PAUSED)
    assert repository.request_stop(session, waiting.id, DetectJobStatus.CANCELLED).status is DetectJobStatus.CANCELLED
    with pytest.raises(BadInputError, match="expected paused or cancelled"):
        repository.request_stop(session, running.id, DetectJobStatus.FAILED)


def test_a_job_is_found_by_its_dagster_run_and_by_its_id(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source, dagster_run_id=str(uuid.uuid4()))
    assert job.dagster_run_id is not None
    assert repository.job_of_run(session, job.dagster_run_id) is job
    assert repository.job_of_run(session, job.dagster_run_id, uuid.uuid4()) is None
    assert repository.get_job(session, str(job.id)) is job
    for unknown in ("not-an-id", str(uuid.uuid4())):
        with pytest.raises(BadInputError, match=unknown):
            repository.get_job(session, unknown)


def test_what_json_lacks_is_made_storable() -> None:
    value = {1: float("nan"), "t": (np.float32(0.5), {"b", "a"}), "s": "a\0\ud800", "id": uuid.UUID(int=1)}
    assert repository.plain_json(value) == {
        "1": None,
        "t": [0.5, ["a", "b"]],
        "s": "a?",
        "id": "00000000-0000-0000-0000-000000000001",
    }


# Checkpoints


def test_a_run_reads_its_own_checkpoint_then_the_named_jobs_then_the_newest(
    session: Session, source: SourceAsset
) -> None:
    first, second, third = (repository.create_job(session, source) for _ in range(3))
    with pytest.raises(CheckpointError, match="run_ocr"):
        repository.resolve_checkpoint(session, source.id, "run_ocr", job_id=third.id)
    rows = [add(session, job, "run_ocr") for job in (first, second)]

    def resolved(**named: uuid.UUID | None) -> tuple[StageCheckpoint, Found]:
        return repository.resolve_checkpoint(session, source.id, "run_ocr", **{"job_id": third.id, **named})

    assert resolved() == (rows[1], Found.NEWEST)
    assert resolved(job_id=None) == (rows[1], Found.NEWEST)
    assert resolved(from_job=first.id) == (rows[0], Found.NAMED)
    # The named job's is told from the newest, also where they are one.
    assert resolved(from_job=second.id) == (rows[1], Found.NAMED)
    empty = repository.create_job(session, source)
    assert resolved(from_job=empty.id) == (rows[1], Found.NEWEST)
    own = add(session, third, "run_ocr")
    assert resolved(from_job=first.id) == (own, Found.OWN)
    # What is this run's own is so for whoever names it, too.
    assert resolved(job_id=None, from_job=third.id) == (own, Found.NAMED)


def test_a_named_replay_leads_back_to_what_it_was_computed_from(session: Session, source: SourceAsset) -> None:
    initial, replay, newest, run = (repository.create_job(session, source) for _ in range(4))
    frames = add(session, initial, "extract_frames")
    scenes = add(session, initial, "filter_scenes", input_checkpoint_ids=[frames.id])
    add(session, replay, "detect_edges", input_checkpoint_ids=[scenes.id])
    for stage in ("extract_frames", "filter_scenes"):
        add(session, newest, stage)
    for stage, row in (("filter_scenes", scenes), ("extract_frames", frames)):
        found = repository.resolve_checkpoint(session, source.id, stage, job_id=run.id, from_job=replay.id)
        assert found == (row, Found.NAMED)


def test_a_named_job_of_another_source_is_refused(session: Session, source: SourceAsset) -> None:
    other = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
    job = repository.create_job(session, other)
    with pytest.raises(BadInputError, match="another source"):
        repository.resolve_checkpoint(session, source.id, "run_ocr", job_id=None, from_job=job.id)
    with pytest.raises(BadInputError, match="unknown"):
        repository.resolve_checkpoint(session, source.id, "run_ocr", job_id=None, from_job=uuid.uuid4())


def test_checkpoints_are_found_by_fingerprint(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    row = add(session, job, "run_ocr", fingerprint="f1", frames_manifest={10: "b", 2: "a"})
    assert repository.find_by_fingerprint(session, source.id, "run_ocr", "f1") is row
    assert repository.find_by_fingerprint(session, source.id, "run_ocr", "f2") is None
    assert repository.find_by_fingerprint(session, source.id, "match_brands", "f1") is None
    session.expire(row)
    assert list(row.frames_manifest.items()) == [(2, "a"), (10, "b")]
    assert repository.get_checkpoint(session, row.id) is row
    assert list(repository.list_checkpoints(session, job_id=job.id)) == [row]


def test_only_nodes_have_checkpoints(session: Session, source: SourceAsset) -> None:
    job = repository.create_job(session, source)
    row = StageCheckpoint(job_id=job.id, stage="brand_report", stage_index=8, source_asset_id=source.id)
    with pytest.raises(BadInputError, match="brand_report"):
        repository.add_checkpoint(session, row)


# Brands


def test_the_book_is_the_same_object_until_a_brand_changes(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("Umbrella")])
        before = repository.brand_book(session)
        assert repository.brand_book(session) is before
        repository.upsert_brands(session, [BrandEntry.of("Umbrella", ["UMBRELLA CORP"])])
        after = repository.brand_book(session)
    assert (before.entries[0].aliases, after.entries[0].aliases) == ((), ("UMBRELLA CORP",))
    assert before.version != after.version


def test_the_shipped_brands_are_loaded_once(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.session() as session:
        assert repository.load_shipped_brands(session) == len(shipped()) >= 250
        assert repository.load_shipped_brands(session) == 0
        book = repository.brand_book(session)
        assert len(book) == len(shipped())
        assert not repository.list_brands(session, confirmed=True)


def test_names_that_differ_in_case_or_accents_are_one_brand_and_aliases_merge(session: Session) -> None:
    name = f"Casinò {uuid.uuid4().hex}"
    assert repository.upsert_brands(session, [BrandEntry.of(name, ["First"])], confirmed=False) == (1, 0)
    twin = name.upper().replace("Ò", "O")
    assert repository.upsert_brands(session, [BrandEntry.of(twin, ["FIRST", "Second"])]) == (0, 1)
    assert repository.upsert_brands(session, [BrandEntry.of(name, ["second"])]) == (0, 0)
    brand = session.get_one(KnownBrand, uuid.UUID(brand_id(name)))
    assert (brand.canonical_name, brand.aliases) == (name, ["First", "Second"])
    assert (brand.first_source, brand.confirmed) == (BrandSource.MANUAL, True)


def sighting(name: str, occurrences: int, **values: Any) -> repository.Sighting:
    return repository.Sighting(uuid.UUID(brand_id(name)), name, 1.0, 9.5, occurrences, **values)


def test_a_replay_counts_nothing_twice(session: Session, source: SourceAsset) -> None:
    name = f"Brand {uuid.uuid4().hex}"
    other = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
    repository.record_sightings(session, source.id, [sighting(name, 7)])
    repository.record_sightings(session, other.id, [sighting(name, 5)])
    repository.record_sightings(session, source.id, [sighting(name, 4, avg_confidence=0.75)])
    brand = session.get_one(KnownBrand, uuid.UUID(brand_id(name)))
    session.refresh(brand)
    assert (brand.total_occurrences, brand.first_source, brand.confirmed) == (9, BrandSource.OCR, False)
    (seen,) = repository.list_sightings(session, source.id)
    assert (seen.occurrences, seen.avg_confidence, seen.first_seen_timestamp, seen.last_seen_timestamp) == (
        4,
        0.75,
        1.0,
        9.5,
    )
    repository.record_sightings(session, source.id, [])


def test_runs_on_many_sources_at_once_lose_no_sighting(database: Database) -> None:
    names = [f"Brand {n} {uuid.uuid4().hex}" for n in range(3)]

    def run(number: int) -> None:
        with database.session() as session:
            source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
            turned = names[number % 3 :] + names[: number % 3]
            repository.record_sightings(session, source.id, [sighting(name, 2) for name in turned])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(12)))
    with database.session() as session:
        totals = [session.get_one(KnownBrand, uuid.UUID(brand_id(name))).total_occurrences for name in names]
    assert totals == [24, 24, 24]
