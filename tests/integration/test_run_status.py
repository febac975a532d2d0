"""Jobs stay true when their runs end without a word: killed, cancelled or forgotten by Dagster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from detection_assets.dagster_internals.tags import PROCESS_TAG
from detection_assets.jobs.process_liveness import OLD_PROCESS_TAG, dead_process, process_tag
from detection_assets.jobs.reconcile import reconcile
from detection_assets.local.runner import Runner
from detection_assets.sensors.run_status import SENSORS
from resources.embedded.processes import ended, wait_until, zombie
from resources.storage import Storage
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset
from touchline.synthetic import Truth

Status = dg.DagsterRunStatus


@pytest.fixture
def source(runner: Runner) -> SourceAsset:
    with runner.connection.database.session() as session:
        return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)


@pytest.fixture
def dead() -> Iterator[dict[str, object]]:
    """The mark of a process that has been killed and not even been waited for."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = json.loads(process_tag("", child.pid))
    child.kill()
    assert wait_until(lambda: zombie(child.pid), 60)
    yield mark
    child.wait()


def run_of(runner: Runner, status: Status, mark: dict[str, object] | None = None) -> dg.DagsterRun:
    run_id = str(uuid.uuid4())
    tags = {PROCESS_TAG: json.dumps({**mark, "run": run_id})} if mark else {}
    return create_run_for_test(runner.instance, "detect_brands", run_id=run_id, status=status, tags=tags)


def job_of(
    runner: Runner, source: SourceAsset, run_id: str, status: DetectJobStatus = DetectJobStatus.RUNNING
) -> DetectJob:
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source, dagster_run_id=run_id)
        return repository.set_job_status(session, job.id, status)


def now(runner: Runner, job: DetectJob) -> DetectJob:
    with runner.connection.database.session() as session:
        return repository.get_job(session, job.id)


def status_of(runner: Runner, run: dg.DagsterRun) -> Status:
    found = runner.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


# Whose process is dead


def test_a_living_process_and_one_that_cannot_be_looked_at_are_not_dead(dead: dict[str, object]) -> None:
    assert dead_process({PROCESS_TAG: json.dumps({**dead, "run": "r"})}, "r")
    assert dead_process({OLD_PROCESS_TAG: json.dumps({**dead, "run": "r"})}, "r")
    assert dead_process({PROCESS_TAG: process_tag("r")}, "r") is None
    elsewhere = json.dumps({**dead, "run": "r", "host": "another/1"})
    assert dead_process({PROCESS_TAG: elsewhere}, "r") is None
    for nonsense in ("", "x", "[]", "{}", '{"run": "r"}'):
        assert dead_process({PROCESS_TAG: nonsense}, "r") is None
    assert dead_process({}, "r") is None


def test_a_mark_that_was_copied_from_another_run_says_nothing(dead: dict[str, object]) -> None:
    assert dead_process({PROCESS_TAG: json.dumps({**dead, "run": "first"})}, "its re-execution") is None


def test_a_process_id_that_was_given_out_again_is_another_process() -> None:
    mine = json.loads(process_tag("r"))
    boot, _, start = mine["identity"].rpartition("/")
    assert dead_process({PROCESS_TAG: json.dumps({**mine, "identity": f"{boot}/{int(start) - 100}"})}, "r")


def test_a_step_of_the_clock_makes_no_process_another(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = process_tag("r")
    booted, started = psutil.boot_time(), psutil.Process().create_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600)
    stepped = psutil.Process(os.getpid()).create_time()
    assert stepped - started == pytest.approx(3600, abs=1), "the step is seen by whoever asks the clock"
    assert dead_process({PROCESS_TAG: mark}, "r") is None


def test_a_mark_of_an_older_version_is_understood(dead: dict[str, object]) -> None:
    here = {"run": "r", "host": dead["host"], "pid": os.getpid()}
    started = psutil.Process().create_time()
    assert dead_process({OLD_PROCESS_TAG: json.dumps({**here, "started": started})}, "r") is None
    assert dead_process({OLD_PROCESS_TAG: json.dumps({**here, "started": started - 3600})}, "r")
    assert dead_process({OLD_PROCESS_TAG: json.dumps({**here, "pid": dead["pid"], "started": started})}, "r")


# Reconciling


def test_a_run_of_a_dead_process_is_ended_with_its_job(
    runner: Runner, source: SourceAsset, dead: dict[str, object]
) -> None:
    run = run_of(runner, Status.STARTED, dead)
    job = job_of(runner, source, run.run_id)
    found = reconcile(runner.instance, runner.connection)
    assert run.run_id in found.runs
    assert (job.id, DetectJobStatus.FAILED) in found.jobs
    assert status_of(runner, run) is Status.FAILURE
    assert now(runner, job).status is DetectJobStatus.FAILED
    assert f"process {dead['pid']}" in (now(runner, job).error_message or "")
    again = reconcile(runner.instance, runner.connection)
    assert run.run_id not in again.runs and job.id not in dict(again.jobs)


def test_a_run_that_died_while_it_was_being_cancelled_is_cancelled(
    runner: Runner, source: SourceAsset, dead: dict[str, object]
) -> None:
    run = run_of(runner, Status.CANCELING, dead)
    job = job_of(runner, source, run.run_id)
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, run) is Status.CANCELED
    assert now(runner, job).status is DetectJobStatus.CANCELLED


def test_a_run_of_a_living_process_is_left_alone(runner: Runner, source: SourceAsset) -> None:
    run = run_of(runner, Status.STARTED, json.loads(process_tag("")))
    waiting = run_of(runner, Status.NOT_STARTED)
    jobs = [job_of(runner, source, run.run_id), job_of(runner, source, waiting.run_id, DetectJobStatus.PENDING)]
    reconcile(runner.instance, runner.connection)
    assert (status_of(runner, run), status_of(runner, waiting)) == (Status.STARTED, Status.NOT_STARTED)
    assert [now(runner, job).status for job in jobs] == [DetectJobStatus.RUNNING, DetectJobStatus.PENDING]
    # Not left behind for other tests.
    runner.instance.report_run_failed(run)
    runner.instance.report_run_failed(waiting)


@pytest.mark.parametrize(
    ("run_status", "before", "after"),
    [
        (Status.FAILURE, DetectJobStatus.RUNNING, DetectJobStatus.FAILED),
        (Status.FAILURE, DetectJobStatus.PENDING, DetectJobStatus.FAILED),
        (Status.CANCELED, DetectJobStatus.RUNNING, DetectJobStatus.CANCELLED),
        (Status.SUCCESS, DetectJobStatus.RUNNING, DetectJobStatus.COMPLETED),
        (Status.FAILURE, DetectJobStatus.PAUSED, DetectJobStatus.PAUSED),
        (Status.FAILURE, DetectJobStatus.COMPLETED, DetectJobStatus.COMPLETED),
        (Status.SUCCESS, DetectJobStatus.FAILED, DetectJobStatus.FAILED),
    ],
)
def test_a_job_whose_run_is_over_follows_it(
    runner: Runner, source: SourceAsset, run_status: Status, before: DetectJobStatus, after: DetectJobStatus
) -> None:
    job = job_of(runner, source, run_of(runner, run_status).run_id, before)
    reconcile(runner.instance, runner.connection)
    assert now(runner, job).status is after


def test_a_job_whose_run_dagster_does_not_know_has_failed(runner: Runner, source: SourceAsset) -> None:
    job = job_of(runner, source, str(uuid.uuid4()))
    reconcile(runner.instance, runner.connection)
    assert now(runner, job).status is DetectJobStatus.FAILED
    assert "not known to Dagster any more" in (now(runner, job).error_message or "")


# Sensors


def tick(runner: Runner, name: str, cursor: str | None = None) -> str | None:
    """One look of a sensor as the daemon takes it; returns the cursor for the next."""
    sensor = next(sensor for sensor in SENSORS if sensor.name == name)
    with dg.build_sensor_context(runner.instance, cursor=cursor, resources={"storage": Storage()}) as context:
        done = sensor.evaluate_tick(context)
        errors = [r.error for r in done.dagster_run_reactions or () if r.error]
        assert not errors, errors
        return done.cursor


def test_the_sensor_fails_the_job_of_a_run_that_failed_with_the_runs_message(
    runner: Runner, source: SourceAsset
) -> None:
    cursor = tick(runner, "job_follows_failed_run")
    run = run_of(runner, Status.STARTED)
    job = job_of(runner, source, run.run_id)
    runner.instance.report_run_failed(run, "the worker ended with exit code -9")
    assert now(runner, job).status is DetectJobStatus.RUNNING
    tick(runner, "job_follows_failed_run", cursor)
    assert now(runner, job).status is DetectJobStatus.FAILED
    remedy = f"what is finished is kept: `touchline resume {job.id}`, or the same command again, resumes it"
    assert now(runner, job).error_message == f"the worker ended with exit code -9; {remedy}"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (False, "interrupted; run the same again", "cancelled in Dagster"),
        (False, "the lights went out", "cancelled in Dagster, after: the lights went out"),
        (True, "interrupted; run the same again", "cancelled by request"),
    ],
)
def test_the_sensor_cancels_the_job_that_a_cancellation_interrupted(
    runner: Runner, source: SourceAsset, asked: bool, error: str, message: str
) -> None:
    cursor = tick(runner, "job_follows_cancelled_run")
    run = run_of(runner, Status.CANCELING)
    job = job_of(runner, source, run.run_id)
    with runner.connection.database.session() as session:
        if asked:
            repository.request_stop(session, job.id, DetectJobStatus.CANCELLED)
        repository.set_job_status(session, job.id, DetectJobStatus.FAILED, error_message=error)
    runner.instance.report_run_canceled(run)
    tick(runner, "job_follows_cancelled_run", cursor)
    assert now(runner, job).status is DetectJobStatus.CANCELLED
    assert now(runner, job).error_message == message


def test_the_periodic_sensor_reconciles(runner: Runner, source: SourceAsset, dead: dict[str, object]) -> None:
    run = run_of(runner, Status.STARTED, dead)
    job = job_of(runner, source, run.run_id)
    tick(runner, "reconcile_jobs")
    assert status_of(runner, run) is Status.FAILURE
    assert now(runner, job).status is DetectJobStatus.FAILED


# The real thing


@pytest.mark.slow
def test_kill_minus_9_on_touchline_run_is_told_by_run_and_job_and_the_next_run_goes_on(
    runner: Runner, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    video = tmp_path / "killed.mp4"
    video.write_bytes(clip[0].read_bytes())
    source = runner.register(video)
    command = [sys.executable, "-m", "touchline_cli.app", "run", str(video)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    job = None
    deadline = time.monotonic() + 240
    while job is None or job.status is not DetectJobStatus.RUNNING or not job.progress:
        assert child.poll() is None and time.monotonic() < deadline, job
        time.sleep(0.02)
        with runner.connection.database.session() as session:
            job = next(iter(repository.list_jobs(session, source.id)), None)
    run = runner.instance.get_run_by_id(job.dagster_run_id or "")
    assert run is not None
    reconcile(runner.instance, runner.connection)
    assert (status_of(runner, run), now(runner, job).status) == (Status.STARTED, DetectJobStatus.RUNNING)

    # The command and the process that does its work: neither sees the other go.
    both = [psutil.Process(child.pid), *psutil.Process(child.pid).children()]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in both:
            process.send_signal(number)
    child.wait()
    assert wait_until(lambda: all(ended(process.pid) for process in both[1:]), 60)
    assert status_of(runner, run) is Status.STARTED, "Dagster by itself does not notice"
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, run) is Status.FAILURE
    killed = now(runner, job)
    assert killed.status is DetectJobStatus.FAILED
    assert any(f"process {process.pid} on" in (killed.error_message or "") for process in both)
    assert killed.completed_at is not None

    again = runner.run(source, until="filter_scenes")
    assert again.succeeded, again.error
    assert again.job.run_type is RunType.RETRY
    assert again.continued is not None and again.continued.id == killed.id
