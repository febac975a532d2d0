"""What hangs is ended from outside by whoever watches the machine: real processes that hang in three ways."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from detection_assets.dagster_internals.tags import PROCESS_TAG
from detection_assets.jobs import watchdog
from detection_assets.jobs.process_liveness import kill_tree, process_tag
from detection_assets.jobs.watchdog import Ended, Watchdog, end_with_process
from detection_assets.local.runner import Runner
from resources.embedded.processes import identity
from tests.integration.test_cli import at_work
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset
from touchline.watch import Bounds
from touchline_cli.parts import start

HANGS = {
    "sleeps": "print(flush=True); import time; time.sleep(600)",
    "is stopped": "print(flush=True); import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "holds the lock": "print(flush=True); import ctypes; ctypes.PyDLL(None).sleep(600)",
}
SHORT = Bounds(usual_s=0.5, by_stage={})


@pytest.fixture(params=HANGS)
def hanging(request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    """A process that hangs, not waited for by anybody."""
    child = subprocess.Popen([sys.executable, "-c", HANGS[request.param]], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.fixture
def source(runner: Runner) -> SourceAsset:
    with runner.connection.database.session() as session:
        return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)


def job_of(runner: Runner, source: SourceAsset, process: psutil.Process, host: str = "") -> DetectJob:
    """A job at work in `run_ocr` whose run says that this process does it."""
    run_id = str(uuid.uuid4())
    mark = json.loads(process_tag(run_id, process.pid))
    tags = {PROCESS_TAG: json.dumps(mark | ({"host": host} if host else {}))}
    create_run_for_test(runner.instance, "detect_brands", run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=tags)
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source, dagster_run_id=run_id)
        repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)
        repository.set_progress(session, job.id, "run_ocr", 0.5)
        return job


def now(runner: Runner, job: DetectJob) -> DetectJob:
    with runner.connection.database.session() as session:
        return repository.get_job(session, job.id)


def watched(runner: Runner, until: Callable[[list[Ended]], bool]) -> None:
    """Looks until something is so, as `touchline serve` does."""
    dog = Watchdog(runner.instance, runner.connection, SHORT)
    deadline = time.monotonic() + 120
    while not until(dog.check()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run_status(runner: Runner, job: DetectJob) -> dg.DagsterRunStatus:
    run = runner.instance.get_run_by_id(str(job.dagster_run_id))
    assert run is not None
    return run.status


def test_a_job_that_hangs_is_ended_with_its_process_and_says_how_to_go_on(
    runner: Runner, source: SourceAsset, hanging: psutil.Process
) -> None:
    job = job_of(runner, source, hanging)
    watched(runner, lambda ended: job.id in {one.job_id for one in ended})
    failed = now(runner, job)
    assert failed.status is DetectJobStatus.FAILED
    assert "no progress for" in str(failed.error_message)
    assert "in run_ocr" in str(failed.error_message)
    assert f"touchline resume {job.id}" in str(failed.error_message)
    assert run_status(runner, job) is dg.DagsterRunStatus.FAILURE
    assert not at_work([hanging])


@pytest.mark.parametrize("asked", [DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED])
def test_a_hung_job_that_was_asked_to_stop_becomes_what_it_was_asked_to_be(
    runner: Runner, source: SourceAsset, asked: DetectJobStatus
) -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGS["sleeps"]], stdout=subprocess.DEVNULL)
    job = job_of(runner, source, psutil.Process(child.pid))
    with runner.connection.database.session() as session:
        repository.request_stop(session, job.id, asked)
    watched(runner, lambda ended: job.id in {one.job_id for one in ended})
    assert now(runner, job).status is asked
    wanted = dg.DagsterRunStatus.CANCELED if asked is DetectJobStatus.CANCELLED else dg.DagsterRunStatus.FAILURE
    assert run_status(runner, job) is wanted
    assert child.wait(120) == -signal.SIGKILL


def test_one_that_gets_on_is_left_alone_and_so_is_one_on_another_machine(runner: Runner, source: SourceAsset) -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGS["sleeps"]], stdout=subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    slow, far = job_of(runner, source, process), job_of(runner, source, process, host="another/1")
    # By a clock of its own: this machine may take longer than the bound between two looks.
    clock = [0.0]
    dog = Watchdog(runner.instance, runner.connection, SHORT, lambda: clock[0])
    for _ in range(5):
        assert not {slow.id, far.id} & {one.job_id for one in dog.check()}
        clock[0] += 0.8 * SHORT.usual_s
        with runner.connection.database.session() as session:
            repository.report_progress(session, slow.id, "run_ocr", 0.5)
    assert [now(runner, job).status for job in (slow, far)] == [DetectJobStatus.RUNNING] * 2
    assert child.poll() is None
    with runner.connection.database.session() as session:
        for job in (slow, far):
            repository.set_job_status(session, job.id, DetectJobStatus.FAILED)
    child.kill()
    child.wait()


def test_jobs_are_told_of_a_process_that_is_dead(runner: Runner, source: SourceAsset) -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGS["sleeps"]], stdout=subprocess.DEVNULL)
    process = (child.pid, identity(child.pid) or "")
    job = job_of(runner, source, psutil.Process(child.pid))
    child.kill()
    child.wait()
    said = end_with_process(runner.instance, runner.connection, process, "it was killed")
    assert said == now(runner, job).error_message
    assert said.startswith("it was killed; what is finished is kept")
    # Somebody else may have told it before; that is what is said then.
    assert end_with_process(runner.instance, runner.connection, process, "it ended") == said


def test_what_a_process_began_is_killed_with_it_but_not_a_server_of_its_own_session() -> None:
    line = "import subprocess as s, sys, time; w = [sys.executable, '-c', 'import time; time.sleep(600)']; "
    line += "print(s.Popen(w).pid, s.Popen(w, start_new_session=True).pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        mine, server = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
        assert kill_tree(parent.pid)
        assert not at_work([mine])
        assert server.is_running()
        server.kill()


def test_the_time_without_progress_is_told_of_running_jobs_alone(
    runner: Runner, source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source)
        assert repository.seconds_without_progress(session, [job]) == {}
        job = repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)
        assert 0 <= repository.seconds_without_progress(session, [job])[job.id] < 60
        job = repository.set_job_status(session, job.id, DetectJobStatus.FAILED)
        assert repository.seconds_without_progress(session, [job]) == {}


def test_what_serve_starts_has_no_terminal_to_read_or_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told.py").write_text(
        "import os, pathlib\n"
        f'pathlib.Path({str(tmp_path / "streams")!r}).write_text(f\'{{os.path.realpath("/dev/fd/0")}} '
        "{os.getsid(0) == os.getpid()}')\n",
        "utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert start(["told"]).wait(60) == 0
    assert (tmp_path / "streams").read_text() == "/dev/null True"
    assert watchdog.CHECK_S < 60
