"""The standing checks of the library: failed sources, stale checkpoints, keys without their other half."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import cv2
import dagster as dg
import numpy as np
import pytest
import sqlalchemy as sa

from detection_assets.checks.library import failed_sources, stale_checkpoints, unmatched_keys
from detection_assets.definitions import build_defs
from detection_assets.execution.registry import STAGES
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from detection_assets.partitions import sources
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.models import Models
from resources.object_store import ObjectStore
from resources.storage import Connection, Storage
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, SourceAsset


@pytest.fixture(scope="module")
def done(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> tuple[SourceAsset, RunOutcome]:
    """A finished run on a still with one brand."""
    picture = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(picture, "HEINEKEN", (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    path = tmp_path_factory.mktemp("library") / "board.png"
    cv2.imwrite(str(path), picture)
    source = runner.register(path)
    outcome = runner.run(source)
    assert outcome.succeeded, outcome.error
    return source, outcome


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def library(empty_database: Database, objects: ObjectStore) -> Connection:
    """A library of its own: nothing in it but what a test puts there."""
    empty_database.migrate()
    return Connection(empty_database, objects, CheckpointStore(objects, empty_database))


def copied(runner: Runner, library: Connection, done: tuple[SourceAsset, RunOutcome]) -> SourceAsset:
    """The source with its job and checkpoints, and the brands it was matched against, in that library."""
    tables = SourceAsset.metadata.sorted_tables
    wanted = {
        "source_assets": SourceAsset.id == done[0].id,
        "detect_jobs": sa.column("id") == done[1].job.id,
        "known_brands": sa.true(),
        "stage_checkpoints": sa.column("job_id") == done[1].job.id,
    }
    for table in tables:
        if table.name not in wanted:
            continue
        with runner.connection.database.session() as session:
            rows = [dict(row._mapping) for row in session.execute(sa.select(table).where(wanted[table.name]))]
        with library.database.session() as session:
            session.execute(sa.insert(table), rows)
    return done[0]


@pytest.fixture
def stocked(runner: Runner, library: Connection, done: tuple[SourceAsset, RunOutcome]) -> Connection:
    copied(runner, library, done)
    return library


def test_what_was_just_made_is_not_stale(stocked: Connection) -> None:
    assert stale_checkpoints(stocked, Models()) == []
    assert failed_sources(stocked) == []


@pytest.mark.parametrize(
    ("change", "stages", "reason"),
    [
        (
            "UPDATE stage_checkpoints SET config_snapshot = config_snapshot || '{\"min_confidence\": 0.11}'"
            " WHERE stage = 'run_ocr'",
            ["run_ocr"],
            "run_ocr.min_confidence: 0.11, the profile says",
        ),
        (
            "UPDATE stage_checkpoints SET fingerprint = 'other' WHERE stage = 'detect_objects'",
            ["detect_objects", "run_ocr"],
            "the code of detect_objects",
        ),
        (
            "UPDATE source_assets SET checksum = 'another'",
            ["extract_frames"],
            "was replaced after its frames were extracted",
        ),
        (
            # Rows of earlier versions do not say what content they are of.
            "UPDATE stage_checkpoints SET stats = stats - 'checksum', fingerprint = 'other'"
            " WHERE stage = 'extract_frames'",
            ["extract_frames", "filter_scenes"],
            "or the content of the video has changed",
        ),
        (
            "INSERT INTO known_brands (id, canonical_name, aliases, first_source, total_occurrences, confirmed)"
            " VALUES (gen_random_uuid(), 'Grondelix', '[]', 'manual', 0, false)",
            ["match_brands"],
            "another list of brands",
        ),
        (
            "UPDATE stage_checkpoints SET profile_name = 'gone' WHERE stage = 'filter_scenes'",
            ["filter_scenes"],
            "unknown profile 'gone'",
        ),
    ],
)
def test_a_checkpoint_is_stale_when_anything_it_was_made_from_has_changed(
    stocked: Connection, change: str, stages: list[str], reason: str
) -> None:
    with stocked.database.session() as session:
        session.connection().exec_driver_sql(change)
    found = stale_checkpoints(stocked, Models())
    assert [line.split()[1].rstrip(":") for line in found] == stages
    assert reason in found[0]


def test_newer_code_makes_its_checkpoints_stale(stocked: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STAGES["filter_scenes"].module, "VERSION", "2000")
    [line] = stale_checkpoints(stocked, Models())
    assert "filter_scenes" in line and "now version 2000" in line


def test_an_override_of_a_run_is_not_held_against_its_checkpoint(stocked: Connection) -> None:
    with stocked.database.session() as session:
        session.connection().exec_driver_sql(
            "UPDATE stage_checkpoints SET config_snapshot = config_snapshot || '{\"min_confidence\": 0.11}',"
            " config_overrides = '{\"min_confidence\": 0.11}' WHERE stage = 'run_ocr'"
        )
    assert not [line for line in stale_checkpoints(stocked, Models()) if "the profile says" in line]


def test_failed_sources_and_keys_without_their_other_half_are_listed(
    library: Connection, instance: dg.DagsterInstance
) -> None:
    name = uuid.uuid4().hex
    with library.database.session() as session:
        source = repository.register_source(session, f"/library/{name}.mp4")
        for status in (DetectJobStatus.COMPLETED, DetectJobStatus.FAILED):
            job = repository.create_job(session, source)
            repository.set_job_status(session, job.id, status, error_message="the lights\nwent out")
    assert failed_sources(library) == [f"{source.partition_key}: job {job.id}, the lights went out"]
    instance.add_dynamic_partitions(str(sources.name), ["nobody-00000000"])
    lost, hidden = unmatched_keys(instance, library)
    assert "nobody-00000000: a partition without a source" in lost
    assert f"{source.partition_key}: a source without a partition" in hidden
    with library.database.session() as session:
        repository.create_job(session, repository.get_source(session, source.partition_key))
    assert failed_sources(library) == [], "a newer job is on its way"


def test_the_schedules_job_evaluates_them_all_and_names_the_first_twenty(
    library: Connection, instance: dg.DagsterInstance
) -> None:
    class Fixed(Storage):
        def connect(self) -> Connection:
            return library

    with library.database.session() as session:
        keys = [repository.register_source(session, f"/library/{n}.mp4").partition_key for n in range(30)]
    job = build_defs(resource_overrides={"storage": Fixed()}).resolve_job_def("library_check")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(instance=instance, run_config=quiet)
    assert result.success
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert {name: one.passed for name, one in found.items()} == {
        "no_failed_sources": True,
        "no_stale_checkpoints": True,
        "keys_match_sources": False,
        "uploads_looked_into": True,
    }
    told = found["keys_match_sources"].metadata
    assert told["offenders"].value == 30
    assert sum(key in str(told["first"].value) for key in keys) == 20
