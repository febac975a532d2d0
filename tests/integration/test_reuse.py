"""What a change recomputes and what stays: fingerprints, lineage and Dagster's in-step marks, on one still picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from detection_assets.definitions import build_defs
from detection_assets.jobs.run_config import refuse_changed_profile
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from io_managers.resolution import FROM_JOB_TAG, choose
from resources import models
from resources.checkpoints import CheckpointStore
from tests.support.tiny_yolo import ARCHITECTURE
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunType, SourceAsset, StageCheckpoint
from touchline.nodes import NODE_NAMES, REPORT, downstream
from touchline.synthetic import Truth
from touchline.vision.yolo import contained
from touchline.weights import sha256_of

pytestmark = pytest.mark.slow

FROM_MATCHING = {"match_brands", "escalate_vlm", "escalate_cloud"}


@pytest.fixture
def source(runner: Runner, clip: tuple[Path, Truth], tmp_path: Path) -> SourceAsset:
    """A picture out of the synthetic broadcast, registered anew for each test."""
    video = cv2.VideoCapture(str(clip[0]))
    video.set(cv2.CAP_PROP_POS_MSEC, 500)
    _, image = video.read()
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), image)
    return runner.register(path)


def rows_of(runner: Runner, outcome: RunOutcome) -> dict[str, StageCheckpoint]:
    assert outcome.succeeded, outcome.error
    with runner.connection.database.session() as session:
        return {row.stage: row for row in repository.list_checkpoints(session, job_id=outcome.job.id)}


def computed(rows: dict[str, StageCheckpoint]) -> set[str]:
    return {name for name, row in rows.items() if row.reused_from is None}


def materialized(runner: Runner, source: SourceAsset, stage: str) -> dict[str, Any]:
    """Metadata and data version of the newest materialization of a stage."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(stage), asset_partitions=[source.partition_key])
    [record] = runner.instance.fetch_materializations(wanted, limit=1).records
    event = record.asset_materialization
    assert event is not None
    tags = event.tags or {}
    return {name: value.value for name, value in event.metadata.items()} | {"version": tags["dagster/data_version"]}


def stale(runner: Runner, source: SourceAsset) -> dict[str, list[str]]:
    """The assets that Dagster's UI marks as out of step for this partition, with the causes it gives."""
    graph = build_defs().resolve_asset_graph()
    resolver = CachingStaleStatusResolver(runner.instance, graph, LoadingContextForTest(runner.instance))
    found = {}
    for key in graph.get_all_asset_keys():
        if resolver.get_status(key, source.partition_key) is StaleStatus.STALE:
            causes = resolver.get_stale_causes(key, source.partition_key)
            found[key.to_user_string()] = sorted(
                c.dependency.asset_key.to_user_string() for c in causes if c.dependency is not None
            )
    return found


def test_a_setting_of_match_brands_recomputes_from_there_on_and_says_what_was_reused(
    runner: Runner, source: SourceAsset
) -> None:
    first = rows_of(runner, runner.run(source))
    outcome = runner.run(source, overrides={"match_brands.min_score": 0.9})
    rows = rows_of(runner, outcome)
    assert computed(rows) == FROM_MATCHING
    before = [name for name in NODE_NAMES if name not in FROM_MATCHING]
    assert {name: rows[name].reused_from for name in before} == {name: first[name].id for name in before}
    report = json.loads(runner.connection.objects.get(outcome.job.report_prefix + "report.json"))
    assert {name: stage["reused"] for name, stage in report["stages"].items()} == {
        name: name in before for name in NODE_NAMES
    }
    for name in NODE_NAMES:
        shown = materialized(runner, source, name)
        assert (shown["reused"], shown["version"]) == (name in before, rows[name].fingerprint)


def test_other_yolo_weights_recompute_the_objects_and_what_depends_on_them(
    runner: Runner, source: SourceAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_weights: list[Path]
) -> None:
    weights = tmp_path / "weights.pt"

    def with_weights(path: Path) -> dict[str, StageCheckpoint]:
        weights.write_bytes(path.read_bytes())
        monkeypatch.setenv("TOUCHLINE_YOLO_WEIGHTS", str(weights))
        monkeypatch.setenv("TOUCHLINE_YOLO_SHA256", sha256_of(weights))
        # Each run of the daemon is a process of its own; here one process has to forget what it loaded.
        models._detector.cache_clear()
        return rows_of(runner, runner.run(source))

    try:
        first = with_weights(two_weights[0])
        assert "skipped" not in first["detect_objects"].stats
        again = with_weights(two_weights[0])
        other = with_weights(two_weights[1])
    finally:
        models._detector.cache_clear()
    assert computed(again) == set()
    assert computed(other) == {"detect_objects", "run_ocr", *FROM_MATCHING}
    assert other["detect_edges"].reused_from == first["detect_edges"].id


def test_a_replay_from_match_brands_reads_no_frame_but_the_report_s_evidence(
    runner: Runner, source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of(runner, runner.run(source))
    read: list[str] = []
    get_frame = CheckpointStore.get_frame

    def frame(store: CheckpointStore, key: str) -> bytes:
        read.append(key)
        return get_frame(store, key)

    monkeypatch.setattr(CheckpointStore, "get_frame", frame)
    change = {"match_brands.min_score": 0.95}
    replay = runner.run(source, first="match_brands", until="escalate_cloud", overrides=change)
    assert computed(rows_of(runner, replay)) == FROM_MATCHING
    # One is drawn for Dagster's page.
    assert len(read) <= 1
    read.clear()
    rows_of(runner, runner.run(source, first="match_brands", overrides=change))
    # The counting itself works: evidence is cut from frames.
    assert read


def test_a_replay_from_edges_leaves_the_branch_beside_it_alone(runner: Runner, source: SourceAsset) -> None:
    first = rows_of(runner, runner.run(source))
    replay = runner.run(source, first="detect_edges", overrides={"detect_edges.canny_low": 40})
    rows = rows_of(runner, replay)
    assert set(rows) == {name for name in downstream("detect_edges") if name in NODE_NAMES}
    assert "detect_objects" not in rows
    assert first["detect_objects"].id in rows["run_ocr"].input_checkpoint_ids
    assert (replay.job.run_type, replay.job.replay_from_stage) == (RunType.REPLAY, "detect_edges")


def test_a_materialization_names_the_checkpoint_it_read_and_why(runner: Runner, source: SourceAsset) -> None:
    first = runner.run(source)
    old = rows_of(runner, first)
    assert "made in this run" in materialized(runner, source, "match_brands")["read_run_ocr"]
    rows_of(runner, runner.run(source, overrides={"match_brands.min_score": 0.91}))
    read = materialized(runner, source, "match_brands")["read_run_ocr"]
    assert f"reused in this run from checkpoint {old['run_ocr'].id}" in read
    newer = rows_of(runner, runner.run(source, first="run_ocr", overrides={"run_ocr.min_confidence": 0.9}))

    rows_of(runner, runner.run(source, first="match_brands"))
    read = materialized(runner, source, "match_brands")["read_run_ocr"]
    assert str(newer["run_ocr"].id) in read and "the newest of this source" in read

    rows_of(runner, runner.run(source, first="match_brands", from_job=first.job.id))
    read = materialized(runner, source, "match_brands")["read_run_ocr"]
    assert str(old["run_ocr"].id) in read and f"of job {first.job.id}, named by the run's config" in read

    rows_of(runner, runner.run(source, first="match_brands", tags={FROM_JOB_TAG: str(first.job.id)}))
    read = materialized(runner, source, "match_brands")["read_run_ocr"]
    assert str(old["run_ocr"].id) in read and f"named by the run tag {FROM_JOB_TAG}" in read


def test_a_named_job_that_is_no_id_is_refused_by_name(runner: Runner, source: SourceAsset) -> None:
    run = runner.instance.create_run_for_job(runner._job, tags={FROM_JOB_TAG: "not an id"})
    with (
        runner.connection.database.session() as session,
        pytest.raises(BadInputError, match="expected the id of a job"),
    ):
        choose(session, runner.instance, run, source, "run_ocr", from_job="")


def test_a_setting_out_of_bounds_from_the_launchpad_leaves_a_failed_job_that_shows_it(
    runner: Runner, source: SourceAsset
) -> None:
    rows_of(runner, runner.run(source))
    outcome = runner.run(source, first="match_brands", overrides={"match_brands.min_score": 7.0})
    assert not outcome.succeeded
    job = outcome.job
    assert (job.status, job.run_type, job.replay_from_stage) == (DetectJobStatus.FAILED, RunType.REPLAY, "match_brands")
    assert job.config_overrides == {"match_brands": {"min_score": 7.0}}
    assert "match_brands.min_score=7.0" in (job.error_message or "")


def test_a_run_config_with_a_former_name_works_is_told_and_shares_its_checkpoint_with_the_new_name(
    runner: Runner, source: SourceAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = "detect_objects"
    old = runner.run(source, until=until, overrides={"detect_objects.every": 3})
    rows = rows_of(runner, old)
    assert old.job.config_overrides == {until: {"frame_stride": 3}}
    told = {entry.user_message for entry in runner.instance.all_logs(str(old.job.dagster_run_id))}
    assert any("detect_objects.every is deprecated: use detect_objects.frame_stride" in text for text in told)
    new = rows_of(runner, runner.run(source, until=until, overrides={"detect_objects.frame_stride": 3}))
    assert new[until].reused_from == rows[until].id
    # As an earlier version stored it: a profile with the same value holds for what comes after, under either name.
    with runner.connection.database.session() as session:
        for row in (session.get_one(StageCheckpoint, rows_of_stage[until].id) for rows_of_stage in (rows, new)):
            row.config_snapshot = {n: v for n, v in row.config_snapshot.items() if n != "frame_stride"} | {"every": 2}
            row.config_overrides = {}
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))
    for name, stride in (("same", 2), ("other", 3)):
        (folder / f"{name}.yaml").write_text(f"detect_objects: {{frame_stride: {stride}}}\n", "utf-8")
    with runner.connection.database.session() as session:
        refuse_changed_profile(session, source, "same", ["match_brands", "run_ocr"])
        with pytest.raises(BadInputError, match=r"detect_objects\.frame_stride is 3 in it; .* was made with 2"):
            refuse_changed_profile(session, source, "other", ["match_brands", "run_ocr"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"min_scores": 0.9}, 'Received unexpected config entry "min_scores" at path root:ops:match_brands:config'),
        ({"min_votes": 2.0, "min_vote_sum": 2.0}, "min_votes is the former name of match_brands.min_vote_sum"),
    ],
)
def test_an_unknown_setting_or_one_under_both_names_fails_the_run_before_any_step(
    runner: Runner, source: SourceAsset, values: dict[str, float], says: str
) -> None:
    overrides = {f"match_brands.{name}": value for name, value in values.items()}
    with pytest.raises(Exception, match=says):
        rows_of(runner, runner.run(source, overrides=overrides))
    with runner.connection.database.session() as session:
        assert repository.list_jobs(session, source.id) == []


def test_a_stage_looks_for_the_earlier_checkpoints_that_it_reads_once(runner: Runner, source: SourceAsset) -> None:
    rows = rows_of(runner, runner.run(source))
    asked: list[str] = []

    def note(*given: Any) -> None:
        if "WHERE stage_checkpoints.id" in given[2]:
            asked.append(str(given[3]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        again = runner.run(source, first="match_brands", until="match_brands", fresh=True)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert computed(rows_of(runner, again)) == {"match_brands"}
    assert sum(str(rows["extract_frames"].id) in values for values in asked) == 1


def test_dagster_marks_what_is_out_of_step_and_nothing_else(runner: Runner, source: SourceAsset) -> None:
    first = runner.run(source)
    rows_of(runner, first)
    assert stale(runner, source) == {}
    # The same again is no news to what depends on it.
    rows_of(runner, runner.run(source, first="run_ocr", until="run_ocr"))
    assert stale(runner, source) == {}
    # Readings made again, with other settings: what was matched on the old ones is out of step.
    rows_of(runner, runner.run(source, first="run_ocr", until="run_ocr", overrides={"run_ocr.min_confidence": 0.9}))
    assert stale(runner, source) == {"match_brands": ["run_ocr"], "brand_report": ["run_ocr"]}
    rows_of(runner, runner.run(source, first="match_brands"))
    assert stale(runner, source) == {}
    # Computed from the readings of the first job, while newer ones are there: out of step, though just made.
    rows_of(runner, runner.run(source, first="match_brands", from_job=first.job.id))
    assert stale(runner, source) == {"match_brands": ["run_ocr"], "brand_report": ["run_ocr"]}


def test_what_was_computed_from_older_frames_is_marked_at_every_stage_that_reads_them(
    runner: Runner, source: SourceAsset
) -> None:
    first = rows_of(runner, runner.run(source))
    other = {"extract_frames.sample_fps": 1.0}
    rows_of(runner, runner.run(source, first="extract_frames", until="extract_frames", overrides=other))
    readers = {name: ["extract_frames"] for name in (*NODE_NAMES[1:], REPORT)}
    assert stale(runner, source) == readers
    # Made just now, on kept frames of the first extraction: the frames that it reads are those, not the newest.
    edges = rows_of(runner, runner.run(source, first="detect_edges", until="detect_edges"))["detect_edges"]
    assert edges.input_checkpoint_ids == [first["filter_scenes"].id]
    assert stale(runner, source) == readers


@pytest.fixture(scope="module")
def two_weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained YOLO models of one architecture: they find nothing of use, but load and run."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "tiny.yaml").write_text(json.dumps(ARCHITECTURE))
    with contained():
        torch = pytest.importorskip("torch")
        from ultralytics.models import YOLO
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model: Any = YOLO(str(folder / "tiny.yaml"), task="detect")
        model.model.names = {0: "player"}
        paths.append(folder / f"{seed}.pt")
        model.save(str(paths[-1]))
    return paths
