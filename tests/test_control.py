"""Pausing, resuming and cancelling: jobs stop between chunks, go on from there, and say so; and two runs at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from detection_assets.bookkeeping import CONTINUES_TAG, STOP_TAG
from detection_assets.definitions import JOB, build_defs
from detection_assets.resume import request_of
from detection_assets.runner import Runner, RunOutcome
from detection_assets.stages import STAGES, Stage
from touchline import repository
from touchline.errors import BadInputError
from touchline.schema import DetectJob, DetectJobStatus, RunType, SourceAsset, StageCheckpoint
from touchline.synthetic import Truth
from touchline_cli.control import _ask

pytestmark = pytest.mark.slow
SETTINGS = {"extract_frames.chunk_s": 1.0, "extract_frames.sample_fps": 2.0}
CHUNKS = 6
UNTIL = "detect_objects"
PAUSED, CANCELLED = DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED


@pytest.fixture
def video(clip: tuple[Path, Truth], tmp_path: Path) -> Path:
    path = tmp_path / f"{uuid.uuid4().hex}.mp4"
    shutil.copyfile(clip[0], path)
    return path


@pytest.fixture
def source(runner: Runner, video: Path) -> SourceAsset:
    return runner.register(video)


def jobs_of(runner: Runner, source: SourceAsset) -> list[DetectJob]:
    """Oldest first."""
    with runner.connection.database.session() as session:
        return repository.list_jobs(session, source.id)[::-1]


def now(runner: Runner, job: DetectJob) -> DetectJob:
    with runner.connection.database.session() as session:
        return repository.get_job(session, job.id)


def rows_of(runner: Runner, job: DetectJob) -> dict[str, StageCheckpoint]:
    with runner.connection.database.session() as session:
        return {row.stage: row for row in repository.list_checkpoints(session, job_id=job.id)}


def ask(runner: Runner, source: SourceAsset, status: DetectJobStatus) -> None:
    """As the commands do, while the job is at work."""
    with runner.connection.database.session() as session:
        repository.request_stop(session, repository.list_jobs(session, source.id, limit=1)[0].id, status)


def tag(runner: Runner, source: SourceAsset, value: str) -> None:
    """As the editor and Dagster's UI can, while the run is at work."""
    runner.instance.add_run_tags(str(jobs_of(runner, source)[-1].dagster_run_id), {STOP_TAG: value})


def stopped_run(
    runner: Runner, source: SourceAsset, how: Callable[[], None], *, stage: str, share: float, **options: Any
) -> RunOutcome:
    """A run during which `how` is done once, when that share of a stage is done."""
    left = [how]

    def listen(name: str, done: float) -> None:
        if left and name == stage and done >= share:
            left.pop()()

    return runner.run(source, overrides=SETTINGS, until=UNTIL, listener=listen, **options)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The chunks that stages compute from now on."""
    done: list[tuple[str, int]] = []

    def counting(stage: Stage) -> Stage:
        make = stage.worker
        assert make is not None

        def made(*arguments: Any) -> Any:
            worker = make(*arguments)
            inner = worker.run_chunk

            def run_chunk(chunk: Any) -> Any:
                done.append((stage.name, chunk.chunk_id))
                return inner(chunk)

            worker.run_chunk = run_chunk
            return worker

        return Stage(stage.name, stage.module, stage.identity, made)

    for name in ("filter_scenes", "detect_edges"):
        monkeypatch.setitem(STAGES, name, counting(STAGES[name]))
    return done


def test_a_paused_job_stops_at_the_next_chunk_and_resumes_there_as_a_retry(
    runner: Runner, source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    stopped = stopped_run(runner, source, lambda: ask(runner, source, PAUSED), stage="detect_edges", share=2.5 / CHUNKS)
    assert not stopped.succeeded
    assert (stopped.job.status, stopped.job.error_message) == (PAUSED, "paused by request")
    assert f"touchline resume {stopped.job.id}" in stopped.error
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == [0, 1, 2]
    # The stage beside it did not go on either, unless it came first.
    assert "detect_edges" not in rows_of(runner, stopped.job)
    resumed = runner.resume(now(runner, stopped.job))
    assert resumed.succeeded, resumed.error
    assert (resumed.job.run_type, resumed.job.status) == (RunType.RETRY, DetectJobStatus.COMPLETED)
    assert (resumed.job.parent_job_id, resumed.job.config_overrides) == (stopped.job.id, stopped.job.config_overrides)
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == list(range(CHUNKS))
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == list(range(CHUNKS))
    assert now(runner, stopped.job).status is PAUSED
    with pytest.raises(BadInputError, match=f"continued already, by job {resumed.job.id}, which is completed"):
        runner.resume(now(runner, stopped.job))


def test_a_request_between_two_stages_is_seen_before_the_next_one_begins(
    runner: Runner, source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    # The last thing a stage says is that all of it is done; its checkpoint is written after that.
    left: list[int] = []

    def listen(name: str, done: float) -> None:
        if name == "filter_scenes" and done == 1.0:
            left.append(1)
            # Said once at the last chunk, where the stage looks itself, and once at its end.
            if len(left) == 2:
                ask(runner, source, PAUSED)

    stopped = runner.run(source, overrides=SETTINGS, until=UNTIL, listener=listen)
    assert len(left) == 2
    assert stopped.job.status is PAUSED
    assert set(rows_of(runner, stopped.job)) == {"extract_frames", "filter_scenes"}
    assert not [chunk for stage, chunk in computed if stage == "detect_edges"]


@pytest.mark.parametrize("status", [PAUSED, CANCELLED])
def test_a_run_tag_asks_for_the_same_and_is_not_inherited(
    runner: Runner, source: SourceAsset, status: DetectJobStatus
) -> None:
    stopped = stopped_run(runner, source, lambda: tag(runner, source, str(status)), stage="filter_scenes", share=0.1)
    assert (stopped.job.status, stopped.job.error_message) == (status, f"{status} by request"), stopped.error
    run = runner.instance.get_run_by_id(stopped.run_id)
    assert run is not None
    assert run.tags[STOP_TAG] == ""
    ended = dg.DagsterRunStatus.FAILURE if status is PAUSED else dg.DagsterRunStatus.CANCELED
    assert run.status is ended


def the_job() -> dg.JobDefinition:
    return build_defs().resolve_job_def(JOB)


def test_a_tag_that_a_run_inherits_unanswered_does_not_stop_it(runner: Runner, source: SourceAsset) -> None:
    ended = runner.run(source, until="extract_frames")
    runner.instance.add_run_tags(ended.run_id, {STOP_TAG: "paused"})
    with dg.execute_job(
        dg.reconstructable(the_job),
        instance=runner.instance,
        # As Dagster's UI does: a re-execution begins with its parent's tags.
        tags={"dagster/partition": source.partition_key, STOP_TAG: "paused"},
        reexecution_options=dg.ReexecutionOptions(ended.run_id, ["extract_frames"]),
    ) as again:
        assert again.success
    run = runner.instance.get_run_by_id(again.run_id)
    assert run is not None and run.tags[STOP_TAG] == ""


def test_a_tag_on_a_run_that_has_not_begun_pauses_it_before_any_work(runner: Runner, source: SourceAsset) -> None:
    stopped = runner.run(source, until="extract_frames", tags={STOP_TAG: "paused"})
    assert stopped.job.status is PAUSED
    assert not rows_of(runner, stopped.job)


def test_a_tag_that_says_something_else_changes_nothing(runner: Runner, source: SourceAsset) -> None:
    assert runner.run(source, until="extract_frames", tags={STOP_TAG: "please"}).succeeded


def test_a_run_that_dagster_cancels_stops_at_the_next_chunk_though_the_interrupt_was_lost(
    runner: Runner, source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    def cancelling() -> None:
        run = runner.instance.get_run_by_id(str(jobs_of(runner, source)[-1].dagster_run_id))
        assert run is not None
        runner.instance.report_run_canceling(run)

    with pytest.raises(KeyboardInterrupt):
        stopped_run(runner, source, cancelling, stage="filter_scenes", share=1.5 / CHUNKS)
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == [0, 1]
    [job] = jobs_of(runner, source)
    # That the cancellation is final is said by the sensor that follows cancelled runs.
    assert (job.status, (job.error_message or "").startswith("interrupted")) == (DetectJobStatus.FAILED, True)


def test_a_cancelled_job_is_final_and_what_it_left_half_done_is_not_taken_up(
    runner: Runner, source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    stopped = stopped_run(
        runner, source, lambda: ask(runner, source, CANCELLED), stage="detect_edges", share=2.5 / CHUNKS
    )
    assert stopped.job.status is CANCELLED
    assert stopped.error == f"job {stopped.job.id} was cancelled; what is finished is kept"
    with pytest.raises(BadInputError, match="is cancelled; expected paused or failed"):
        runner.resume(now(runner, stopped.job))
    again = runner.run(source, overrides=SETTINGS, until=UNTIL)
    assert again.succeeded, again.error
    assert again.continued is None
    assert again.job.run_type is RunType.REPLAY  # not all nodes were selected
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == [0, 1, 2, *range(CHUNKS)]
    # What it had finished is taken over.
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == list(range(CHUNKS))
    assert rows_of(runner, again.job)["filter_scenes"].reused_from == rows_of(runner, stopped.job)["filter_scenes"].id


def test_a_job_whose_run_dagster_has_forgotten_is_resumed_from_what_it_says_itself(
    runner: Runner, source: SourceAsset
) -> None:
    stopped = stopped_run(runner, source, lambda: ask(runner, source, PAUSED), stage="filter_scenes", share=0.1)
    known = request_of(runner.instance, runner.connection, now(runner, stopped.job))
    runner.instance.delete_run(stopped.run_id)
    forgotten = request_of(runner.instance, runner.connection, now(runner, stopped.job))
    # The job does not say where the run was to end.
    assert set(known.stages) < set(forgotten.stages)
    assert forgotten.config["ops"]["extract_frames"]["config"] == {"chunk_s": 1.0}
    assert forgotten.config["resources"]["run_settings"]["config"]["profile"] == stopped.job.profile_name


def test_two_that_go_on_with_one_attempt_leave_its_journal_alone(runner: Runner, source: SourceAsset) -> None:
    checkpoints = runner.connection.checkpoints
    stopped = stopped_run(
        runner, source, lambda: ask(runner, source, PAUSED), stage="filter_scenes", share=2.5 / CHUNKS
    )
    print_ = rows_of(runner, stopped_again(runner, stopped))["filter_scenes"].fingerprint
    left = checkpoints.journal(stopped.job.id, "filter_scenes", print_)
    assert left.finished == (0, 1, 2)
    # Another that goes on now still finds all of it.
    second = checkpoints.journal(uuid.uuid4(), "filter_scenes", print_)
    second.take_over(left)
    assert (second.finished, second.state) == (left.finished, left.state)
    assert list(second.documents()) == list(left.documents())
    second.clear()
    assert checkpoints.journal(stopped.job.id, "filter_scenes", print_).finished == (0, 1, 2)
    with pytest.raises(ValueError, match="expected to be empty"):
        left.take_over(left)


def stopped_again(runner: Runner, stopped: RunOutcome) -> DetectJob:
    resumed = runner.resume(now(runner, stopped.job))
    assert resumed.succeeded, resumed.error
    return resumed.job


# From the command line


def command(runner: Runner, *arguments: object, code: int = 0) -> str:
    done = process(runner, *arguments)
    out, error = done.communicate(timeout=240)
    assert done.returncode == code, f"{arguments}\n{out}\n{error}"
    return out if code == 0 else error


def process(runner: Runner, *arguments: object) -> subprocess.Popen[str]:
    """`touchline` on the servers of this test run."""
    line = [sys.executable, "-m", "touchline_cli.app", *map(str, arguments)]
    return subprocess.Popen(
        line, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def test_the_commands_pause_resume_and_cancel_a_job(runner: Runner, source: SourceAsset, tmp_path: Path) -> None:
    stopped = stopped_run(
        runner,
        source,
        lambda: ask(runner, source, PAUSED),
        stage="filter_scenes",
        share=0.1,
        tags={"dagster/priority": "3"},
    )
    assert stopped.job.priority == 3
    row = json.loads(command(runner, "resume", stopped.job.id, "--json"))
    assert (row["status"], row["continued_job"]) == ("completed", str(stopped.job.id))
    resumed = jobs_of(runner, source)[-1]
    assert (str(resumed.id), resumed.priority) == (row["job_id"], 3)
    assert "is completed already" in command(runner, "pause", row["job_id"], code=2)
    assert "continued already" in command(runner, "resume", stopped.job.id, code=2)
    # The first attempt is history, but nobody has said that it is over.
    told = json.loads(command(runner, "cancel", stopped.job.id, "--json"))
    assert (told["status"], now(runner, stopped.job).status) == ("cancelled", CANCELLED)


def test_a_job_of_another_process_is_paused_while_it_works_and_then_resumed_with_its_report(
    runner: Runner, video: Path, tmp_path: Path
) -> None:
    settings = ["--set", "extract_frames.chunk_s=1", "--set", "extract_frames.sample_fps=25"]
    working = process(runner, "run", video, *settings, "--json")
    with runner.connection.database.session() as session:
        source = repository.register_source(session, str(video.resolve()), checksum="", duration=None)
    job = _at_work(runner, source, working)
    command(runner, "pause", job.id)
    out, error = working.communicate(timeout=240)
    assert working.returncode == 1, f"{out}\n{error}"
    assert f"touchline resume {job.id}" in error
    assert now(runner, job).status is PAUSED
    row = json.loads(command(runner, "resume", job.id, "--report", tmp_path / "out", "--json"))
    assert row["status"] == "completed"
    assert (tmp_path / "out" / video.stem / "report.json").exists()
    assert jobs_of(runner, source)[-1].run_type is RunType.RETRY


def _at_work(runner: Runner, source: SourceAsset, process: subprocess.Popen[str]) -> DetectJob:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        jobs = jobs_of(runner, source)
        if jobs and jobs[0].status is DetectJobStatus.RUNNING and jobs[0].progress > 0:
            return jobs[0]
        time.sleep(0.02)
    raise AssertionError("no job came to work")


# Two at once


def test_two_runs_of_one_source_at_once_both_finish_and_never_mix(runner: Runner, video: Path, tmp_path: Path) -> None:
    settings = ["--set", "extract_frames.chunk_s=1", "--fresh", "--json"]
    both = [process(runner, "run", video, *settings, "--report", tmp_path / name) for name in ("a", "b")]
    for one in both:
        out, error = one.communicate(timeout=240)
        assert one.returncode == 0, f"{out}\n{error}"
    jobs = jobs_of(runner, runner.register(video))
    assert [job.status for job in jobs] == [DetectJobStatus.COMPLETED] * 2
    first, second = jobs
    assert first.started_at is not None and first.completed_at is not None and second.started_at is not None
    assert second.started_at < first.completed_at, "they ran one after another"
    for job in jobs:
        rows = rows_of(runner, job)
        own = {row.id for row in rows.values()}
        assert len(rows) == 8
        assert all(set(row.input_checkpoint_ids) <= own for row in rows.values())
        assert all(str(job.id) in row.stage_output_key for row in rows.values())
        assert all(str(job.id) in key for key in rows["extract_frames"].frames_manifest.values())
    a, b = (json.loads((tmp_path / name / video.stem / "report.json").read_text()) for name in ("a", "b"))
    for report in (a, b):
        report.pop("job_id")
        report["stages"] = {name: {**stage, "wall_s": 0} for name, stage in report["stages"].items()}
    assert a == b


def test_a_second_run_is_refused_while_the_first_is_at_work(runner: Runner, source: SourceAsset, video: Path) -> None:
    refused: list[str] = []
    outcome = stopped_run(
        runner,
        source,
        lambda: refused.append(command(runner, "run", video, code=2)),
        stage="filter_scenes",
        share=0.1,
    )
    assert outcome.succeeded, outcome.error
    assert f"job {outcome.job.id} is at work" in " ".join(refused[0].split())


def test_of_two_that_start_at_the_same_moment_one_is_refused(
    runner: Runner, source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[BadInputError] = []

    def second() -> None:
        # It has looked before the first one began.
        monkeypatch.setattr(runner, "_unfinished", lambda _: None)
        with pytest.raises(BadInputError) as error:
            runner.run(source, overrides=SETTINGS, until=UNTIL)
        refused.append(error.value)

    outcome = stopped_run(runner, source, second, stage="filter_scenes", share=0.1)
    assert outcome.succeeded, outcome.error
    assert f"job {outcome.job.id} is at work" in str(refused[0])
    assert len(jobs_of(runner, source)) == 1


def test_a_job_at_work_is_seen_behind_a_newer_one_that_is_over(runner: Runner, source: SourceAsset) -> None:
    def others() -> None:
        assert runner.run(source, until="extract_frames", fresh=True).succeeded
        with pytest.raises(BadInputError, match="is at work"):
            runner.run(source, until="extract_frames")

    outcome = stopped_run(runner, source, others, stage="filter_scenes", share=0.1)
    assert outcome.succeeded, outcome.error


@pytest.mark.parametrize("verb", [PAUSED, CANCELLED])
def test_a_continuation_that_waits_in_the_queue_is_stopped_with_its_job(
    runner: Runner, source: SourceAsset, verb: DetectJobStatus
) -> None:
    stopped = stopped_run(runner, source, lambda: ask(runner, source, PAUSED), stage="filter_scenes", share=0.1)
    tags = {CONTINUES_TAG: str(stopped.job.id), "dagster/partition": source.partition_key}
    waiting = create_run_for_test(runner.instance, JOB, status=dg.DagsterRunStatus.NOT_STARTED, tags=tags)
    _ask(runner, str(stopped.job.id), verb)
    assert now(runner, stopped.job).status is verb
    run = runner.instance.get_run_by_id(waiting.run_id)
    assert run is not None and run.tags[STOP_TAG] == str(verb)
    # Once it has begun, it is the one to name.
    with runner.connection.database.session() as session:
        later = repository.create_job(session, source, dagster_run_id=waiting.run_id)
    with pytest.raises(BadInputError, match=f"was continued by job {later.id}, which is pending; name that one"):
        _ask(runner, str(stopped.job.id), CANCELLED)


def test_a_queued_run_tells_its_priority_to_the_job(runner: Runner, source: SourceAsset) -> None:
    outcome = runner.run(source, until="extract_frames", tags={"dagster/priority": "-7"})
    assert outcome.job.priority == -7
    run = runner.instance.get_run_by_id(outcome.run_id)
    assert run is not None and run.status is dg.DagsterRunStatus.SUCCESS
