"""Asset checks: each passes on a sound run, and fails when what it looks at is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest
import sqlalchemy as sa
from dagster import AssetCheckEvaluation, AssetCheckSeverity

from detection_assets.definitions import JOB, build_defs
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from touchline.brands import BrandEntry
from touchline.checks import brands_known, exposure_fits, frame_count, frames_kept, intervals_in_order
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, KnownBrand, SourceAsset, SourceBrandSighting, StageCheckpoint
from touchline.nodes import NODE_NAMES, REPORT

Evaluations = dict[str, AssetCheckEvaluation]
EXPECTED = {f"{stage}:output_intact" for stage in NODE_NAMES} | {
    "extract_frames:frame_count",
    "filter_scenes:frames_kept",
    "match_brands:brands_known",
    "brand_report:exposure_fits_the_video",
    "brand_report:intervals_in_order",
}


# The rules


def counted(frames: int, **more: Any) -> tuple[bool, bool]:
    facts = {"duration_s": 60.0, "sample_fps": 2.0, "fps": 25.0, "is_image": False, **more}
    verdict = frame_count(frames, **facts)
    return verdict.passed, verdict.severe


def test_the_number_of_frames_follows_from_length_and_rate() -> None:
    assert counted(120)[0] and counted(114)[0] and counted(126)[0]
    assert counted(113) == (False, False)
    assert counted(127) == (False, False)
    assert counted(0) == (False, True)
    assert counted(60, fps=1.0)[0], "a video with fewer frames than samples gives each of its frames once"
    assert counted(1, is_image=True, duration_s=0.0)[0]
    assert counted(7, duration_s=0.0)[0], "an unknown length promises nothing"
    assert counted(3, duration_s=0.5)[0]


def test_a_source_of_which_nothing_can_be_looked_at_is_a_warning() -> None:
    assert frames_kept(10, 1).passed
    assert (frames_kept(10, 0).passed, frames_kept(10, 0).severe) == (False, False)


def test_brands_that_are_not_known_are_named() -> None:
    assert brands_known({"1": "One"}, {"1", "2"}).passed
    verdict = brands_known({"1": "One", "3": "Three"}, {"1", "2"})
    assert not verdict.passed and "Three (3)" in verdict.message and "One" not in verdict.message


def report(**changes: Any) -> dict[str, Any]:
    brand = {"name": "Pepsi", "seconds": 3.0, "intervals": [[0.0, 1.0], [4.0, 6.0]], "solus_seconds": 1.0}
    return {"duration_s": 6.0, "brands": [{**brand, "zones": {"board": 3.0, "jersey": 0.0}, **changes}]}


def test_a_sound_report_passes_and_each_impossible_one_does_not() -> None:
    assert exposure_fits(report()).passed and intervals_in_order(report()).passed
    changes: tuple[dict[str, Any], ...] = (
        {"seconds": 6.1},
        {"zones": {"board": 6.1}},
        {"solus_seconds": 3.1},
        {"seconds": -1.0},
    )
    for wrong in changes:
        assert not exposure_fits(report(**wrong)).passed, wrong
    changes = (
        {"intervals": [[4.0, 6.0], [0.0, 1.0]]},
        {"intervals": [[0.0, 2.0], [1.0, 2.0]]},
        {"intervals": [[0.0, 1.0], [6.0, 4.0]]},
        {"intervals": [[-1.0, 0.0], [4.0, 6.0]]},
        {"intervals": [[0.0, 1.0], [5.0, 7.0]]},
        {"intervals": [[0.0, 1.0]]},
    )
    for wrong in changes:
        assert not intervals_in_order(report(**wrong)).passed, wrong


# On a real run


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still in which two known brands can be read: the shortest source there is."""
    image = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(image, "HEINEKEN", (60, 140), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    cv2.putText(image, "PEPSI", (60, 300), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    path = tmp_path_factory.mktemp("checks") / "boards.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def done(runner: Runner, picture: Path) -> tuple[SourceAsset, RunOutcome]:
    source = runner.register(picture)
    outcome = runner.run(source)
    assert outcome.succeeded, outcome.error
    return source, outcome


def evaluations(runner: Runner, run_id: str) -> Evaluations:
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    found = {}
    for entry in runner.instance.all_logs(run_id, of_type=kind):
        assert entry.dagster_event is not None
        data = entry.dagster_event.asset_check_evaluation_data
        found[f"{data.asset_key.to_user_string()}:{data.check_name}"] = data
    return found


def check(runner: Runner, source: SourceAsset, stage: str) -> Evaluations:
    """Runs the checks of one asset by themselves, as the button in Dagster does."""
    defs = build_defs()
    graph = defs.resolve_asset_graph()
    keys = {key for key in graph.asset_check_keys if key.asset_key == dg.AssetKey(stage)}
    job = defs.resolve_job_def(JOB).get_subset(asset_selection=set(), asset_check_selection=keys)
    result = job.execute_in_process(
        instance=runner.instance,
        tags={"dagster/partition": source.partition_key},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    return evaluations(runner, result.run_id)


def row_of(runner: Runner, outcome: RunOutcome, stage: str) -> StageCheckpoint:
    with runner.connection.database.session() as session:
        row = repository.job_checkpoint(session, outcome.job.id, stage)
    assert row is not None
    return row


def test_a_sound_run_passes_every_check_and_each_says_what_it_compared(
    runner: Runner, done: tuple[SourceAsset, RunOutcome]
) -> None:
    source, outcome = done
    found = evaluations(runner, outcome.run_id)
    assert set(found) == EXPECTED
    assert {name for name, one in found.items() if not one.passed} == set()
    for name, one in found.items():
        assert one.metadata and one.description, name
        assert one.partition == source.partition_key, name


@pytest.fixture
def damaged(runner: Runner, done: tuple[SourceAsset, RunOutcome], request: pytest.FixtureRequest) -> Iterator[str]:
    """A stage one byte of whose blob was flipped; put right afterwards."""
    key = row_of(runner, done[1], request.param).stage_output_key
    blob = runner.connection.objects.get(key)
    middle = len(blob) // 2
    runner.connection.objects.put(key, blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :])
    yield request.param
    runner.connection.objects.put(key, blob)


@pytest.mark.parametrize("damaged", ["extract_frames", "filter_scenes", "run_ocr", "match_brands"], indirect=True)
def test_a_flipped_byte_is_found_by_the_checks_of_its_stage(
    runner: Runner, done: tuple[SourceAsset, RunOutcome], damaged: str
) -> None:
    found = check(runner, done[0], damaged)
    assert found and not any(one.passed for one in found.values())
    intact = found[f"{damaged}:output_intact"]
    assert intact.severity is AssetCheckSeverity.ERROR
    assert "SHA-256" in (intact.description or "")


def test_a_missing_blob_is_found(runner: Runner, done: tuple[SourceAsset, RunOutcome]) -> None:
    key = row_of(runner, done[1], "detect_edges").stage_output_key
    blob = runner.connection.objects.get(key)
    runner.connection.objects.delete(key)
    try:
        assert not check(runner, done[0], "detect_edges")["detect_edges:output_intact"].passed
    finally:
        runner.connection.objects.put(key, blob)
    assert check(runner, done[0], "detect_edges")["detect_edges:output_intact"].passed


def test_frames_that_the_length_promises_and_the_store_lacks_are_a_warning(
    runner: Runner, done: tuple[SourceAsset, RunOutcome]
) -> None:
    row = row_of(runner, done[1], "extract_frames")
    stats = dict(row.stats)
    longer = {**stats, "is_image": False, "duration_s": 600.0, "fps": 25.0}
    set_stats(runner, row, longer)
    try:
        counted = check(runner, done[0], "extract_frames")["extract_frames:frame_count"]
    finally:
        set_stats(runner, row, stats)
    assert (counted.passed, counted.severity) == (False, AssetCheckSeverity.WARN)
    assert counted.metadata["expected"].value == 1200


def set_stats(runner: Runner, row: StageCheckpoint, stats: dict[str, Any]) -> None:
    with runner.connection.database.session() as session:
        session.execute(sa.update(StageCheckpoint).where(StageCheckpoint.id == row.id).values(stats=stats))


def test_a_brand_that_was_deleted_from_the_registry_is_found(
    runner: Runner, done: tuple[SourceAsset, RunOutcome]
) -> None:
    assert check(runner, done[0], "match_brands")["match_brands:brands_known"].passed
    with runner.connection.database.session() as session:
        sightings = repository.list_sightings(session, done[0].id)
        assert sightings
        lost = sightings[0].brand_id
        kept = session.get_one(KnownBrand, lost)
        values = (kept.canonical_name, tuple(kept.aliases))
        session.execute(sa.delete(SourceBrandSighting).where(SourceBrandSighting.brand_id == lost))
        session.execute(sa.delete(KnownBrand).where(KnownBrand.id == lost))
    found = check(runner, done[0], "match_brands")
    with runner.connection.database.session() as session:
        repository.upsert_brands(session, [BrandEntry.of(*values)])
    assert not found["match_brands:brands_known"].passed
    assert values[0] in (found["match_brands:brands_known"].description or "")
    assert found["match_brands:output_intact"].passed


def test_an_exposure_longer_than_the_video_is_found(runner: Runner, done: tuple[SourceAsset, RunOutcome]) -> None:
    key = done[1].job.report_prefix + "report.json"
    blob = runner.connection.objects.get(key)
    told = json.loads(blob)
    told["brands"][0] |= {"seconds": told["duration_s"] + 1, "intervals": [[5.0, 4.0]]}
    try:
        runner.connection.objects.put(key, json.dumps(told).encode())
        broken = check(runner, done[0], REPORT)
        runner.connection.objects.put(key, b"{")
        unreadable = check(runner, done[0], REPORT)
    finally:
        runner.connection.objects.put(key, blob)
    for found in (broken, unreadable):
        assert len(found) == 2 and not any(one.passed for one in found.values())
    assert all(one.passed for one in check(runner, done[0], REPORT).values())


def test_a_black_picture_has_an_empty_report_and_a_warning(runner: Runner, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((180, 320, 3), np.uint8))
    source = runner.register(tmp_path / "black.png")
    outcome = runner.run(source)
    assert outcome.succeeded
    assert outcome.job.status is DetectJobStatus.COMPLETED
    assert outcome.job.brands_found == 0
    assert not check(runner, source, "filter_scenes")["filter_scenes:frames_kept"].passed
