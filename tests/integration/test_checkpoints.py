"""Checkpoints on real servers: blob before row, journals that resume, nothing damaged ever read."""

from __future__ import annotations

import gc
import hashlib
import tempfile
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.checkpoints import CheckpointStore, Journal
from resources.database import Database
from resources.object_store import ObjectStore
from touchline.bson_stream import StreamHeader, write_stream
from touchline.errors import CheckpointError, ServiceError
from touchline.library import repository
from touchline.library.tables import DetectJob, StageCheckpoint
from touchline.values import SampledFrame

STAGE = "run_ocr"


@pytest.fixture
def job(database: Database) -> DetectJob:
    with database.session() as session:
        source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
        return repository.create_job(session, source)


def filled(store: CheckpointStore, job: DetectJob, stage: str = STAGE, fingerprint: str = "f1") -> Journal:
    journal = store.journal(job.id, stage, fingerprint)
    journal.write(0, [{"n": 0}, {"n": 1}], {"seen": 2})
    journal.write(1, [{"n": 2}], {"seen": 3})
    return journal


def commit(store: CheckpointStore, job: DetectJob, journal: Journal, **changed: Any) -> StageCheckpoint:
    values: dict[str, Any] = {
        "stats": {"readings": 3, "blur": float("nan")},
        "config_snapshot": {"min_confidence": 0.5},
        "config_overrides": {},
        "input_checkpoint_ids": [],
        "wall_s": 1.5,
    }
    return store.commit(
        job=job, stage=journal.stage, fingerprint=journal.fingerprint, journal=journal, **{**values, **changed}
    )


def rows(database: Database, job: DetectJob) -> Sequence[StageCheckpoint]:
    with database.session() as session:
        return repository.list_checkpoints(session, job_id=job.id)


def test_a_checkpoint_is_read_as_it_was_journalled(
    checkpoints: CheckpointStore, objects: ObjectStore, database: Database, job: DetectJob
) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job))
    assert row.stage_output_key == f"checkpoints/{job.id}/stages/run_ocr.bson"
    assert list(checkpoints.read(row)) == [{"n": 0}, {"n": 1}, {"n": 2}]
    blob = objects.get(row.stage_output_key)
    assert (row.stage_output_size, row.stage_output_sha256) == (len(blob), hashlib.sha256(blob).hexdigest())
    (stored,) = rows(database, job)
    assert (stored.id, stored.stage_index, stored.item_count, stored.fingerprint) == (row.id, 4, 3, "f1")
    assert (stored.stats, stored.wall_s) == ({"readings": 3, "blur": None}, 1.5)
    assert (stored.video_path, stored.profile_name) == (job.video_path, "soccer_broadcast")
    assert (stored.frames_manifest, stored.frames_meta, stored.filtered_frame_sequences) == ({}, [], [])


def test_a_stage_without_any_document_has_a_checkpoint_too(checkpoints: CheckpointStore, job: DetectJob) -> None:
    row = commit(checkpoints, job, checkpoints.journal(job.id, "detect_objects", "f1"))
    assert (row.item_count, list(checkpoints.read(row))) == (0, [])


def test_frames_are_named_on_the_row_that_stored_them(
    checkpoints: CheckpointStore, objects: ObjectStore, database: Database, job: DetectJob
) -> None:
    jpegs = [(n, b"jpeg %d" % n) for n in range(20)]
    keys = [checkpoints.put_frame(job.id, *frame) for frame in jpegs]
    assert keys == [f"checkpoints/{job.id}/frames/{n:06d}.jpg" for n in range(20)]
    assert checkpoints.put_frame(job.id, 3, b"jpeg 3") == keys[3]
    # From memory, where they were stored, as in another process.
    for store in (checkpoints, CheckpointStore(objects, database)):
        assert [store.get_frame(key) for key in keys] == [jpeg for _, jpeg in jpegs]
    frames = [
        SampledFrame(n, 0, n / 2, n, (1, 2), 8, 8, keys[n], hashlib.sha256(jpegs[n][1]).hexdigest(), 6)
        for n in range(20)
    ]
    journal = filled(checkpoints, job, "extract_frames")
    commit(checkpoints, job, journal, frames=frames)
    (row,) = rows(database, job)
    assert row.frames_prefix == f"checkpoints/{job.id}/frames/"
    assert row.frames_manifest == dict(enumerate(keys))
    assert row.frames_meta[7] == {"sequence": 7, "chunk_id": 0, "timestamp": 3.5, "hash": frames[7].sha256}


def test_kept_frames_are_named_on_the_row_of_filter_scenes(
    checkpoints: CheckpointStore, database: Database, job: DetectJob
) -> None:
    commit(checkpoints, job, filled(checkpoints, job, "filter_scenes"), filtered=[0, 2, 5])
    assert rows(database, job)[0].filtered_frame_sequences == [0, 2, 5]


def test_a_missing_frame_is_named(checkpoints: CheckpointStore) -> None:
    with pytest.raises(CheckpointError, match="checkpoints/none/frames/000001.jpg"):
        checkpoints.get_frame("checkpoints/none/frames/000001.jpg")


def test_a_stored_frame_is_not_asked_of_the_store_again(
    checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = checkpoints.put_frame(job.id, 0, b"stored")
    missing = f"checkpoints/{job.id}/frames/000001.jpg"
    objects.put(missing, b"asked for")

    def refuse(*_: object) -> bytes:
        raise AssertionError("asked again")

    assert checkpoints.get_frame(missing) == b"asked for"
    monkeypatch.setattr(ObjectStore, "get", refuse)
    assert [checkpoints.get_frame(key) for key in (put, missing)] == [b"stored", b"asked for"]


# Journals


def test_a_journal_goes_on_in_another_process(checkpoints: CheckpointStore, job: DetectJob) -> None:
    assert checkpoints.journal(job.id, STAGE, "f1").state is None
    filled(checkpoints, job)
    again = checkpoints.journal(job.id, STAGE, "f1")
    assert (again.finished, again.state) == ((0, 1), {"seen": 3})
    again.write(5, [{"n": 3}], {"seen": 4})
    assert list(checkpoints.journal(job.id, STAGE, "f1").documents()) == [{"n": n} for n in range(4)]


def test_what_was_just_written_is_not_asked_of_the_store_again(
    checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = checkpoints.journal(job.id, STAGE, "f1")
    journal.write(0, [{"n": 0}], {})
    journal.write(1, [{"n": 1}], {})
    asked: list[str] = []
    get = ObjectStore.get

    def noted(store: ObjectStore, key: str) -> bytes:
        asked.append(key)
        return get(store, key)

    monkeypatch.setattr(ObjectStore, "get", noted)
    assert list(journal.documents()) == [{"n": 0}, {"n": 1}]
    assert asked == [journal.key(0)]


def test_a_chunk_that_could_not_be_stored_is_not_finished(
    checkpoints: CheckpointStore, job: DetectJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = checkpoints.journal(job.id, STAGE, "f1")
    journal.write(0, [{"n": 0}], {})

    def refuse(*_: object) -> None:
        raise ServiceError("full")

    monkeypatch.setattr(ObjectStore, "put", refuse)
    with pytest.raises(ServiceError):
        journal.write(1, [{"n": 1}], {})
    assert (journal.finished, list(journal.documents())) == ((0,), [{"n": 0}])


def test_chunk_ten_comes_after_chunk_nine(checkpoints: CheckpointStore, job: DetectJob) -> None:
    journal = checkpoints.journal(job.id, STAGE, "f1")
    for number in range(12):
        journal.write(number, [{"n": number}], {"last": number})
    again = checkpoints.journal(job.id, STAGE, "f1")
    assert (again.finished, again.state) == (tuple(range(12)), {"last": 11})
    assert [d["n"] for d in again.documents()] == list(range(12))


def test_chunks_of_another_fingerprint_are_not_seen_and_go_at_the_commit(
    checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob
) -> None:
    filled(checkpoints, job, fingerprint="old")
    journal = checkpoints.journal(job.id, STAGE, "new")
    assert (journal.finished, journal.state, list(journal.documents())) == ((), None, [])
    journal.write(0, [{"n": 9}], {})
    row = commit(checkpoints, job, journal)
    assert list(checkpoints.read(row)) == [{"n": 9}]
    assert objects.list(journal.prefix) == []


def test_a_damaged_chunk_and_all_after_it_are_done_again(
    checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob
) -> None:
    journal = filled(checkpoints, job)
    journal.write(2, [{"n": 3}], {"seen": 4})
    raw = bytearray(objects.get(journal.key(1)))
    raw[-3] ^= 1
    objects.put(journal.key(1), bytes(raw))
    again = checkpoints.journal(job.id, STAGE, "f1")
    assert (again.finished, again.state) == ((0,), {"seen": 2})


def test_a_lost_chunk_hides_those_after_it(checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob) -> None:
    journal = filled(checkpoints, job)
    objects.delete(journal.key(0))
    assert checkpoints.journal(job.id, STAGE, "f1").finished == ()


def test_chunks_come_in_rising_order(checkpoints: CheckpointStore, job: DetectJob) -> None:
    journal = filled(checkpoints, job)
    with pytest.raises(ValueError, match="expected a chunk after"):
        journal.write(1, [], {})


# Ends at bad moments


def test_a_commit_that_is_repeated_gives_the_same_row(
    checkpoints: CheckpointStore, database: Database, job: DetectJob
) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job))
    assert commit(checkpoints, job, filled(checkpoints, job)).id == row.id
    assert len(rows(database, job)) == 1


def test_a_row_never_names_a_blob_that_is_not_there(
    services: Any, database: Database, checkpoints: CheckpointStore, job: DetectJob
) -> None:
    gone = ObjectStore("http://127.0.0.1:1", "touchline", "us-east-1", "key", "secret", retry_s=0)
    journal = filled(checkpoints, job)
    with pytest.raises(ServiceError):
        commit(CheckpointStore(gone, database), job, journal)
    assert rows(database, job) == []
    assert checkpoints.journal(job.id, STAGE, "f1").finished == (0, 1)


def test_a_second_output_of_a_job_leaves_the_first_untouched(checkpoints: CheckpointStore, job: DetectJob) -> None:
    first = commit(checkpoints, job, filled(checkpoints, job))
    other = checkpoints.journal(job.id, STAGE, "f2")
    other.write(0, [{"n": 7}], {})
    second = commit(checkpoints, job, other)
    assert second.stage_output_key != first.stage_output_key
    assert list(checkpoints.read(second)) == [{"n": 7}]
    assert len(list(checkpoints.read(first))) == 3


def test_two_commits_at_once_make_one_checkpoint(
    checkpoints: CheckpointStore, database: Database, job: DetectJob
) -> None:
    journals = [filled(checkpoints, job) if n == 0 else checkpoints.journal(job.id, STAGE, "f1") for n in range(4)]
    together = threading.Barrier(4)

    def work(journal: Journal) -> uuid.UUID:
        together.wait(60)
        return commit(checkpoints, job, journal).id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(work, journals))
    (row,) = rows(database, job)
    assert ids == {row.id}
    assert len(list(checkpoints.read(row))) == 3


def test_a_journal_of_another_stage_is_refused(checkpoints: CheckpointStore, job: DetectJob) -> None:
    journal = filled(checkpoints, job)
    with pytest.raises(CheckpointError, match="expected the journal of match_brands"):
        checkpoints.commit(
            job=job,
            stage="match_brands",
            fingerprint="f1",
            journal=journal,
            stats={},
            config_snapshot={},
            config_overrides={},
            input_checkpoint_ids=[],
        )


# Reuse


def test_a_reused_checkpoint_names_the_same_blob_and_who_computed_it(
    checkpoints: CheckpointStore, database: Database, job: DetectJob
) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job), input_checkpoint_ids=[uuid.uuid4()])
    with database.session() as session:
        source = repository.get_source(session, str(job.source_asset_id))
        second, third = (repository.create_job(session, source) for _ in range(2))
    reused = checkpoints.reuse(row, second)
    assert (reused.job_id, reused.reused_from, reused.stage_output_key) == (second.id, row.id, row.stage_output_key)
    assert (reused.stats, reused.input_checkpoint_ids, reused.wall_s) == (row.stats, row.input_checkpoint_ids, 0.0)
    assert list(checkpoints.read(reused)) == list(checkpoints.read(row))
    inputs = [uuid.uuid4()]
    again = checkpoints.reuse(reused, third, input_checkpoint_ids=inputs)
    assert (again.reused_from, again.input_checkpoint_ids) == (row.id, inputs)
    assert checkpoints.reuse(row, third).id == again.id


# Damage


def test_a_missing_blob_is_named(checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job))
    objects.delete(row.stage_output_key)
    with pytest.raises(CheckpointError, match=row.stage_output_key):
        checkpoints.read(row)


def test_a_row_without_a_blob_is_refused(checkpoints: CheckpointStore, job: DetectJob) -> None:
    row = StageCheckpoint(job_id=job.id, stage=STAGE, stage_index=4, source_asset_id=job.source_asset_id)
    with pytest.raises(CheckpointError, match="names no output"):
        checkpoints.read(row)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_and_every_truncation_is_refused_before_the_first_document(
    checkpoints: CheckpointStore, objects: ObjectStore, job: DetectJob, data: st.DataObject
) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job))
    whole = objects.get(row.stage_output_key)
    damaged = bytearray(whole)
    position = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[position:]
    objects.put(row.stage_output_key, bytes(damaged))
    try:
        with pytest.raises(CheckpointError, match=row.stage_output_key):
            checkpoints.read(row)
    finally:
        objects.put(row.stage_output_key, whole)


def test_a_blob_of_another_stage_is_refused(
    checkpoints: CheckpointStore, objects: ObjectStore, database: Database, job: DetectJob, tmp_path: Path
) -> None:
    with (tmp_path / "blob").open("w+b") as file:
        write_stream(file, StreamHeader("match_brands", "job", "source", "f1"), [{"n": 1}])
    blob = (tmp_path / "blob").read_bytes()
    key = f"checkpoints/{job.id}/stages/run_ocr.bson"
    objects.put(key, blob)
    row = StageCheckpoint(
        job_id=job.id,
        stage=STAGE,
        stage_index=4,
        source_asset_id=job.source_asset_id,
        stage_output_key=key,
        stage_output_size=len(blob),
        stage_output_sha256=hashlib.sha256(blob).hexdigest(),
    )
    with pytest.raises(CheckpointError, match=f"{key}: expected the output of run_ocr, got that of match_brands"):
        checkpoints.read(row)


def test_reading_leaves_no_file_behind_however_it_ends(
    checkpoints: CheckpointStore, job: DetectJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = commit(checkpoints, job, filled(checkpoints, job))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    list(checkpoints.read(row))
    begun = checkpoints.read(row)
    next(begun)
    untouched = checkpoints.read(row)
    assert list(tmp_path.iterdir()) == []
    del begun, untouched
    gc.collect()
