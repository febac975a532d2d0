"""`touchline pause`, `resume` and `cancel` as commands, and two runs of one source at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from detection_assets.definitions import JOB
from detection_assets.jobs.job_of_run import CONTINUES_TAG, STOP_TAG
from detection_assets.local.runner import Runner
from tests.support.commands import done
from tests.support.controlled import CANCELLED, PAUSED, SETTINGS, UNTIL, ask, jobs_of, now, rows_of, stopped_run
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset
from touchline_cli.control import _ask

pytestmark = pytest.mark.slow


# From the command line


def command(*arguments: object, code: int = 0) -> str:
    """What a command of `touchline` prints, or complains of."""
    told = done(*arguments, code=code)
    return told.stdout if code == 0 else told.stderr


def process(*arguments: object) -> subprocess.Popen[str]:
    """`touchline` on the servers of this test run."""
    line = [sys.executable, "-m", "touchline_cli.app", *map(str, arguments)]
    return subprocess.Popen(
        line, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def test_the_commands_pause_resume_and_cancel_a_job(runner: Runner, own_source: SourceAsset, tmp_path: Path) -> None:
    stopped = stopped_run(
        runner,
        own_source,
        lambda: ask(runner, own_source, PAUSED),
        stage="filter_scenes",
        share=0.1,
        tags={"dagster/priority": "3"},
    )
    assert stopped.job.priority == 3
    # That run ends before its report.
    told = command("resume", str(stopped.job.id)[:8], "--report", tmp_path / "out", code=2)
    assert "brand_report does not run" in told
    row = json.loads(command("resume", stopped.job.id, "--json"))
    assert (row["status"], row["continued_job"]) == ("completed", str(stopped.job.id))
    resumed = jobs_of(runner, own_source)[-1]
    assert (str(resumed.id), resumed.priority) == (row["job_id"], 3)
    assert "is completed already" in command("pause", row["job_id"], code=2)
    assert "continued already" in command("resume", stopped.job.id, code=2)
    # The first attempt is history, but nobody has said that it is over.
    told = json.loads(command("cancel", stopped.job.id, "--json"))
    assert (told["status"], now(runner, stopped.job).status) == ("cancelled", CANCELLED)


def test_a_job_of_another_process_is_paused_while_it_works_and_then_resumed_with_its_report(
    runner: Runner, own_video: Path, tmp_path: Path
) -> None:
    settings = ["--set", "extract_frames.chunk_s=1", "--set", "extract_frames.sample_fps=4"]
    working = process("run", own_video, *settings, "--json")
    with runner.connection.database.session() as session:
        source = repository.register_source(session, str(own_video.resolve()), checksum="", duration=None)
    job = _at_work(runner, source, working)
    command("pause", job.id)
    out, error = working.communicate(timeout=240)
    assert working.returncode == 3, f"{out}\n{error}"
    assert f"-m touchline_cli resume {job.id}" in error
    assert "Error" not in error
    assert now(runner, job).status is PAUSED
    row = json.loads(command("resume", job.id, "--report", tmp_path / "out", "--json"))
    assert row["status"] == "completed"
    assert (tmp_path / "out" / own_video.stem / "report.json").exists()
    assert jobs_of(runner, source)[-1].run_type is RunType.RETRY


def _at_work(runner: Runner, own_source: SourceAsset, process: subprocess.Popen[str]) -> DetectJob:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        jobs = jobs_of(runner, own_source)
        if jobs and jobs[0].status is DetectJobStatus.RUNNING and jobs[0].progress > 0:
            return jobs[0]
        time.sleep(0.02)
    raise AssertionError("no job came to work")


# Two at once


def test_two_runs_of_one_source_at_once_both_finish_and_never_mix(
    runner: Runner, own_video: Path, tmp_path: Path
) -> None:
    settings = ["--set", "extract_frames.chunk_s=1", "--fresh", "--json"]
    both = [process("run", own_video, *settings, "--report", tmp_path / name) for name in ("a", "b")]
    for one in both:
        out, error = one.communicate(timeout=240)
        assert one.returncode == 0, f"{out}\n{error}"
    jobs = jobs_of(runner, runner.register(own_video))
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
    a, b = (json.loads((tmp_path / name / own_video.stem / "report.json").read_text()) for name in ("a", "b"))
    for report in (a, b):
        report.pop("job_id")
        report["stages"] = {name: {**stage, "wall_s": 0} for name, stage in report["stages"].items()}
    assert a == b


def test_a_second_run_is_refused_while_the_first_is_at_work(
    runner: Runner, own_source: SourceAsset, own_video: Path
) -> None:
    refused: list[str] = []
    outcome = stopped_run(
        runner,
        own_source,
        lambda: refused.append(command("run", own_video, code=2)),
        stage="filter_scenes",
        share=0.1,
    )
    assert outcome.succeeded, outcome.error
    assert f"job {outcome.job.id} is running on it" in " ".join(refused[0].split())


def test_of_two_that_start_at_the_same_moment_one_is_refused(
    runner: Runner, own_source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[BadInputError] = []

    def second() -> None:
        # It has looked before the first one began.
        monkeypatch.setattr(runner, "_unfinished", lambda _: None)
        with pytest.raises(BadInputError) as error:
            runner.run(own_source, overrides=SETTINGS, until=UNTIL)
        refused.append(error.value)

    outcome = stopped_run(runner, own_source, second, stage="filter_scenes", share=0.1)
    assert outcome.succeeded, outcome.error
    assert f"job {outcome.job.id} is running on it" in str(refused[0])
    assert len(jobs_of(runner, own_source)) == 1


def test_a_job_at_work_is_seen_behind_a_newer_one_that_is_over(runner: Runner, own_source: SourceAsset) -> None:
    def others() -> None:
        assert runner.run(own_source, until="extract_frames", fresh=True).succeeded
        with pytest.raises(BadInputError, match="is running on it"):
            runner.run(own_source, until="extract_frames")

    outcome = stopped_run(runner, own_source, others, stage="filter_scenes", share=0.1)
    assert outcome.succeeded, outcome.error


@pytest.mark.parametrize("verb", [PAUSED, CANCELLED])
def test_a_continuation_that_waits_in_the_queue_is_stopped_with_its_job(
    runner: Runner, own_source: SourceAsset, verb: DetectJobStatus
) -> None:
    stopped = stopped_run(runner, own_source, lambda: ask(runner, own_source, PAUSED), stage="filter_scenes", share=0.1)
    tags = {CONTINUES_TAG: str(stopped.job.id), "dagster/partition": own_source.partition_key}
    waiting = create_run_for_test(runner.instance, JOB, status=dg.DagsterRunStatus.NOT_STARTED, tags=tags)
    _ask(runner, str(stopped.job.id), verb)
    assert now(runner, stopped.job).status is verb
    run = runner.instance.get_run_by_id(waiting.run_id)
    assert run is not None and run.tags[STOP_TAG] == str(verb)
    # Once it has begun, it is the one to name.
    with runner.connection.database.session() as session:
        later = repository.create_job(session, own_source, dagster_run_id=waiting.run_id)
    with pytest.raises(BadInputError, match=f"was continued by job {later.id}, which is pending; name that one"):
        _ask(runner, str(stopped.job.id), CANCELLED)


def test_a_queued_run_tells_its_priority_to_the_job(runner: Runner, own_source: SourceAsset) -> None:
    outcome = runner.run(own_source, until="extract_frames", tags={"dagster/priority": "-7"})
    assert outcome.job.priority == -7
    run = runner.instance.get_run_by_id(outcome.run_id)
    assert run is not None and run.status is dg.DagsterRunStatus.SUCCESS
