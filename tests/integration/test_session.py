"""A session in Dagster's UI, from registering a source to a backfill: its GraphQL, the real webserver, daemon and rows.

Every step prints the rows it left (`pytest -s` shows them). The steps build on each other and run in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import pytest

from detection_assets.local.runner import Runner
from resources.brand_lists import store_list
from resources.object_store import ObjectStore
from tests.support.commands import done
from tests.support.webserver import (
    ADD,
    BACKFILL,
    BACKFILL_STATUS,
    TERMINATE,
    Ask,
    launch,
    re_execute,
    re_execute_steps,
    runs_tagged,
    wait,
)
from touchline.library import repository
from touchline.library.job_lifecycle import ACTIVE
from touchline.library.naming import checksum
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset, StageCheckpoint
from touchline.nodes import NODE_NAMES, REPORT, downstream
from touchline.synthetic import Truth

pytestmark = [pytest.mark.slow, pytest.mark.tells]

EVERYTHING = [*NODE_NAMES, REPORT]
LOGS = """
query Logs($key: [String!]!) {
  capturedLogs(logKey: $key) { stdout }
  capturedLogsMetadata(logKey: $key) { stderrLocation stderrDownloadUrl }
}"""
FROM_OCR = list(downstream("run_ocr"))
SLOW = {
    "extract_frames": {"config": {"sample_fps": 25.0, "chunk_s": 1.0}},
    "run_ocr": {"config": {"search_interval": 0.0, "strip_interval": 0.0}},
}
"""Slow enough to be stopped: every frame is searched."""
OVERRIDE = {"ops": {"run_ocr": {"config": {"min_confidence": 0.6}}}}


@dataclass(frozen=True)
class Page:
    """The UI as a user has it open: GraphQL, the code location, and the database beside it."""

    ask: Ask
    selector: dict[str, str]
    runner: Runner

    def register(self, path: Path, *, duration: float | None = None) -> SourceAsset:
        with self.runner.connection.database.session() as session:
            source = repository.register_source(session, str(path), checksum=checksum(path), duration=duration)
        added = self.ask(ADD, {"selector": self.selector, "name": "sources", "key": source.partition_key})
        assert added["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
        return source

    def materialize(self, source: SourceAsset, assets: list[str], config: dict[str, Any] | None = None) -> str:
        return launch(self.ask, self.selector, source.partition_key, assets, config or {})

    def ended(self, run_id: str) -> str:
        """How a run ended, once its job says so too: that follows a moment later."""
        status = wait(self.ask, run_id)
        _until(lambda: not any(job.status in ACTIVE for job in self.jobs(run_id)))
        return status

    def jobs(self, run_id: str) -> list[DetectJob]:
        with self.runner.connection.database.session() as session:
            return list(repository.jobs_of_run(session, run_id))

    def rows(self, title: str, run_id: str) -> tuple[DetectJob, dict[str, StageCheckpoint]]:
        """The job of a run and its checkpoints by stage; prints both."""
        with self.runner.connection.database.session() as session:
            job = repository.job_of_run(session, run_id)
            assert job is not None, f"run {run_id} has no job"
            rows = {row.stage: row for row in repository.list_checkpoints(session, job_id=job.id)}
        print(f"\n{title}\n  detect_jobs: {job.id} {job.run_type} from={job.replay_from_stage} {job.status}", end="")
        print(f" parent={job.parent_job_id} priority={job.priority} overrides={json.dumps(job.config_overrides)}")
        print(f"    progress={job.progress:.2f} stage={job.current_stage} error={job.error_message}")
        for row in sorted(rows.values(), key=lambda row: row.stage_index):
            how = f"reused from {row.reused_from}" if row.reused_from else f"computed in {row.wall_s:.2f} s"
            print(f"  stage_checkpoints: {row.stage:<15} {row.item_count:>3} items  {how}")
        return job, rows


@pytest.fixture(scope="module")
def page(ask: Ask, selector: dict[str, str], runner: Runner) -> Page:
    return Page(ask, selector, runner)


@pytest.fixture(scope="module")
def stills(clip: tuple[Path, Truth], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures out of the synthetic broadcast."""
    folder, paths = tmp_path_factory.mktemp("stills"), []
    video = cv2.VideoCapture(str(clip[0]))
    for number in range(3):
        video.set(cv2.CAP_PROP_POS_MSEC, 500 + 1500 * number)
        read, image = video.read()
        assert read
        paths.append(folder / f"still-{number}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


@pytest.fixture(scope="module")
def sources(page: Page, stills: list[Path]) -> list[SourceAsset]:
    return [page.register(path) for path in stills]


@pytest.fixture(scope="module")
def initial(page: Page, sources: list[SourceAsset]) -> list[str]:
    """The runs that materialized everything of each source."""
    runs = [page.materialize(source, EVERYTHING) for source in sources]
    assert [page.ended(run) for run in runs] == ["SUCCESS"] * 3
    return runs


@pytest.fixture(scope="module")
def first(initial: list[str]) -> str:
    """The run that materialized everything of the first source."""
    return initial[0]


@pytest.fixture(scope="module", autouse=True)
def backfill(page: Page, first: str, sources: list[SourceAsset]) -> str:
    """The id of a backfill of two of them, launched early: the daemon looks for new ones twice a minute."""
    params = {
        "assetSelection": [{"path": [name]} for name in FROM_OCR],
        "partitionNames": [source.partition_key for source in sources[:2]],
    }
    answer = page.ask(BACKFILL, {"params": params})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def test_what_a_run_printed_is_in_the_bucket_and_on_its_page(page: Page, first: str) -> None:
    objects, prefix = page.runner.connection.objects, f"logs/storage/{first}/compute_logs/"
    found = [key for key, _ in objects.list(prefix)]
    assert {Path(key).suffix for key in found} == {".err", ".out"}
    stem = Path(found[0]).stem
    # The process that did the run keeps nothing, as if it had been on another machine.
    assert not list(Path(os.environ["TOUCHLINE_COMPUTE_LOGS"]).rglob(f"{stem}.*"))
    objects.put(f"{prefix}{stem}.out", b"printed elsewhere")
    answer = page.ask(LOGS, {"key": [first, "compute_logs", stem]})
    assert answer["capturedLogs"]["stdout"] == "printed elsewhere"
    told = answer["capturedLogsMetadata"]
    assert told["stderrLocation"] == f"s3://{objects.bucket}/{prefix}{stem}.err"
    # Not an address of the store, which would hold a signature.
    assert told["stderrDownloadUrl"] == f"/logs/{first}/compute_logs/{stem}/err"


def test_materializing_all_makes_an_initial_job_with_eight_checkpoints(page: Page, first: str) -> None:
    job, rows = page.rows("materialize all", first)
    assert (job.run_type, job.status, job.progress) == (RunType.INITIAL, DetectJobStatus.COMPLETED, 1.0)
    assert (job.parent_job_id, job.replay_from_stage, job.config_overrides) == (None, None, {})
    assert set(rows) == set(NODE_NAMES)
    assert job.report_prefix


def test_sources_are_worked_on_side_by_side_as_far_as_the_queue_allows(page: Page, initial: list[str]) -> None:
    # From when the queue let a run go: how long its process takes to load is nothing that the queue decides.
    kinds = (dg.DagsterEventType.PIPELINE_STARTING, dg.DagsterEventType.PIPELINE_SUCCESS)
    spans = []
    for run in initial:
        [begun], [ended] = (page.runner.instance.all_logs(run, of_type=kind) for kind in kinds)
        spans.append((begun.timestamp, ended.timestamp))
    print("\nruns from the first start [s]:", [tuple(round(t - min(spans)[0], 1) for t in span) for span in spans])
    at_once = [sum(start <= at < end for start, end in spans) for at, _ in spans]
    assert (len(spans), max(at_once)) == (3, 2)


def test_run_ocr_and_downstream_with_an_override_is_a_replay_of_that_line(
    page: Page, first: str, sources: list[SourceAsset]
) -> None:
    run = page.materialize(sources[0], FROM_OCR, OVERRIDE)
    assert page.ended(run) == "SUCCESS"
    initial, old = page.rows("before", first)
    job, rows = page.rows("run_ocr and downstream, min_confidence=0.6", run)
    assert (job.run_type, job.replay_from_stage, job.status) == (RunType.REPLAY, "run_ocr", DetectJobStatus.COMPLETED)
    assert job.parent_job_id == initial.id
    assert job.config_overrides == {"run_ocr": {"min_confidence": 0.6}}
    assert set(rows) == {"run_ocr", "match_brands", "escalate_vlm", "escalate_cloud"}
    assert rows["run_ocr"].fingerprint != old["run_ocr"].fingerprint
    assert set(rows["run_ocr"].input_checkpoint_ids) == {
        old[name].id for name in ("filter_scenes", "detect_edges", "detect_objects")
    }


def test_a_failed_run_re_executed_from_failure_goes_on_where_it_failed(
    page: Page, first: str, sources: list[SourceAsset], objects: ObjectStore, tmp_path: Path
) -> None:
    brands = tmp_path / "brands.csv"
    brands.write_text("canonical_name,aliases\nNobody At All,\n", "utf-8")
    digest = hashlib.sha256(brands.read_bytes()).hexdigest()
    config = {**OVERRIDE, "resources": {"run_settings": {"config": {"brands": f"sha256:{digest}"}}}}
    config["ops"] = {"run_ocr": {"config": {"min_confidence": 0.7}}}
    broken = page.materialize(sources[0], FROM_OCR, config)
    assert page.ended(broken) == "FAILURE"
    failed, kept = page.rows("a list of brands that is not there", broken)
    assert (failed.status, failed.replay_from_stage) == (DetectJobStatus.FAILED, "run_ocr")
    assert digest in (failed.error_message or "")
    assert set(kept) == {"run_ocr"}

    # Meanwhile somebody replays with other settings: what is newest is no longer what the failed run made.
    other = page.materialize(sources[0], ["run_ocr"], OVERRIDE)
    assert page.ended(other) == "SUCCESS"
    store_list(objects, brands)
    again = re_execute(page.ask, broken, "FROM_FAILURE")
    assert page.ended(again) == "SUCCESS"
    initial, _ = page.rows("before", first)
    retry, rows = page.rows("re-executed from failure", again)
    assert (retry.run_type, retry.status) == (RunType.RETRY, DetectJobStatus.COMPLETED)
    assert (retry.replay_from_stage, retry.parent_job_id) == ("match_brands", initial.id)
    assert retry.config_overrides == {"run_ocr": {"min_confidence": 0.7}}
    assert set(rows) == {"match_brands", "escalate_vlm", "escalate_cloud"}
    assert rows["match_brands"].input_checkpoint_ids == [kept["run_ocr"].id]


def test_selected_steps_of_a_finished_run_executed_again_are_a_replay_of_those_steps(
    page: Page, first: str, sources: list[SourceAsset]
) -> None:
    run = re_execute_steps(page.ask, page.selector, first, sources[0].partition_key, EVERYTHING, ["match_brands"])
    assert page.ended(run) == "SUCCESS"
    initial, old = page.rows("before", first)
    job, rows = page.rows("match_brands of the first run again", run)
    assert (job.run_type, job.replay_from_stage) == (RunType.REPLAY, "match_brands")
    assert (job.status, job.parent_job_id) == (DetectJobStatus.COMPLETED, initial.id)
    assert set(rows) == {"match_brands"}
    assert rows["match_brands"].input_checkpoint_ids == [old["run_ocr"].id]
    assert rows["match_brands"].reused_from == old["match_brands"].id


def test_a_run_terminated_in_the_page_leaves_a_job_that_does_not_claim_to_run(
    page: Page, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    video = tmp_path / "terminated.mp4"
    video.write_bytes(clip[0].read_bytes())
    source = page.register(video, duration=6.0)
    run = page.materialize(source, EVERYTHING, {"ops": SLOW})
    _until(lambda: _stage(page, run) is not None)
    answer = page.ask(TERMINATE, {"id": run})["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    assert page.ended(run) == "CANCELED"
    _until(lambda: _status(page, run) is not DetectJobStatus.RUNNING)
    job, rows = page.rows("terminated", run)
    assert job.status in (DetectJobStatus.FAILED, DetectJobStatus.CANCELLED)
    assert job.error_message
    assert job.completed_at is not None
    assert set(rows) < set(NODE_NAMES)


def test_a_job_is_paused_resumed_through_the_queue_and_cancelled_by_command(
    page: Page, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    video = tmp_path / "controlled.mp4"
    video.write_bytes(clip[0].read_bytes())
    source = page.register(video, duration=6.0)
    run = page.materialize(source, EVERYTHING, {"ops": SLOW})
    _until(lambda: _stage(page, run) is not None)
    job = _job(page, run)
    assert job is not None
    assert command("pause", job.id, "--json")["asked"] == "paused"
    assert page.ended(run) == "FAILURE"
    paused, before = page.rows("paused", run)
    assert (paused.status, paused.error_message) == (DetectJobStatus.PAUSED, "paused by request")
    again = command("resume", job.id, "--priority", "5", "--json")["dagster_run_id"]
    _until(lambda: (_stage(page, again) or "extract_frames") != "extract_frames")
    second = _job(page, again)
    assert second is not None
    assert command("cancel", second.id, "--json")["dagster_run_id"] == again
    assert page.ended(again) == "CANCELED"
    # Its worker says so itself; nobody has to look after it.
    _until(lambda: _status(page, again) is not DetectJobStatus.RUNNING)
    resumed, rows = page.rows("resumed, then cancelled", again)
    assert (resumed.status, resumed.error_message) == (DetectJobStatus.CANCELLED, "cancelled by request")
    assert (resumed.run_type, resumed.parent_job_id, resumed.priority) == (RunType.RETRY, job.id, 5)
    assert resumed.config_overrides == job.config_overrides
    assert set(before) <= set(rows) < set(NODE_NAMES)


def test_a_backfill_of_two_partitions_makes_one_run_and_one_replay_each(
    page: Page, backfill: str, sources: list[SourceAsset]
) -> None:
    def status() -> str:
        found = page.ask(BACKFILL_STATUS, {"id": backfill})["partitionBackfillOrError"]
        assert found["error"] is None, found
        return str(found["status"])

    _until(lambda: status().startswith(("COMPLETED", "FAILED")), seconds=240)
    assert status() == "COMPLETED_SUCCESS"
    runs = runs_tagged(page.ask, "dagster/backfill", backfill)
    assert sorted(run["tags"]["dagster/partition"] for run in runs) == sorted(
        source.partition_key for source in sources[:2]
    )
    assert not any("dagster/asset_partition_range_start" in run["tags"] for run in runs)
    for run in runs:
        job, rows = page.rows(f"backfill {backfill}: {run['tags']['dagster/partition']}", run["runId"])
        assert (job.run_type, job.replay_from_stage) == (RunType.REPLAY, "run_ocr")
        assert (job.status, job.partition_key) == (DetectJobStatus.COMPLETED, run["tags"]["dagster/partition"])
        # Nothing changed since the first run of each: everything is reused, and says so.
        assert all(row.reused_from is not None for row in rows.values())


def test_the_backfill_command_finds_the_webserver_and_gives_its_runs_config_tags_and_priority(
    page: Page, first: str, sources: list[SourceAsset], stills: list[Path]
) -> None:
    options = ["--from", "match_brands", "--set", "match_brands.min_score=0.9", "--json"]
    answer = command("backfill", *options, "--only", f"{stills[0].parent}/still-[12].*")
    assert answer["server"].startswith("http://127.0.0.1:")
    assert {run["partition_key"] for run in answer["runs"]} == {source.partition_key for source in sources[1:]}
    tagged = runs_tagged(page.ask, "touchline/backfill", answer["backfill"])
    assert {run["runId"] for run in tagged} == {run["run_id"] for run in answer["runs"]}
    for run in answer["runs"]:
        assert page.ended(run["run_id"]) == "SUCCESS"
        job, rows = page.rows(f"touchline backfill {answer['backfill']}: {run['partition_key']}", run["run_id"])
        assert (job.run_type, job.replay_from_stage, job.priority) == (RunType.REPLAY, "match_brands", -10)
        assert job.config_overrides == {"match_brands": {"min_score": 0.9}}
        assert (job.status, job.partition_key) == (DetectJobStatus.COMPLETED, run["partition_key"])
        assert all(row.reused_from is None for row in rows.values())


def command(*arguments: object) -> Any:
    """What a command of `touchline` prints as JSON."""
    return json.loads(done(*arguments).stdout)


def _job(page: Page, run_id: str) -> DetectJob | None:
    with page.runner.connection.database.session() as session:
        return repository.job_of_run(session, run_id)


def _stage(page: Page, run_id: str) -> str | None:
    job = _job(page, run_id)
    return job.current_stage if job else None


def _status(page: Page, run_id: str) -> DetectJobStatus | None:
    job = _job(page, run_id)
    return job.status if job else None


def _until(condition: Any, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
