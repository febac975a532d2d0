"""Runs whose process is gone are ended; all others are left alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from detection_assets.dead_runs import PROCESS_TAG, WHY, bury_dead_runs, this_process
from detection_assets.runner import Runner
from touchline import repository
from touchline.schema import DetectJob, DetectJobStatus

POOL = "pool-of-this-test"


@pytest.fixture
def instance(runner: Runner) -> Iterator[dg.DagsterInstance]:
    """The instance, with no run of this test left at work."""
    yield runner.instance
    for run in runner.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"test": "dead"})):
        runner.instance.report_run_canceled(run)
        runner.instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    runner.instance.event_log_storage.delete_concurrency_limit(POOL)


def at_work(runner: Runner, mark: str | None) -> tuple[dg.DagsterRun, DetectJob]:
    """A run that says it works and holds a place in a pool, with its job."""
    tags = {"test": "dead"} | ({PROCESS_TAG: mark} if mark is not None else {})
    run = create_run_for_test(runner.instance, status=dg.DagsterRunStatus.STARTED, tags=tags)
    runner.instance.event_log_storage.set_concurrency_slots(POOL, 2)
    runner.instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "run_ocr")
    with runner.connection.database.session() as session:
        source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
        job = repository.create_job(session, source, dagster_run_id=run.run_id)
        return run, repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)


def holders(instance: dg.DagsterInstance) -> set[str]:
    info = instance.event_log_storage.get_concurrency_info(POOL)
    return {slot.run_id for slot in (*info.claimed_slots, *info.pending_steps)}


def mark_of_the_dead() -> str:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return f"{socket.gethostname()}/{done.pid}/{psutil.Process(os.getpid()).create_time():.0f}"


def test_a_run_whose_process_is_gone_is_ended_and_gives_back_its_place(
    runner: Runner, instance: dg.DagsterInstance
) -> None:
    run, job = at_work(runner, mark_of_the_dead())
    assert run.run_id in holders(instance)
    assert run.run_id in bury_dead_runs(instance, runner.connection.database)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert run.run_id not in holders(instance)
    with runner.connection.database.session() as session:
        told = repository.get_job(session, job.id)
    assert (told.status, told.error_message) == (DetectJobStatus.FAILED, WHY)
    assert run.run_id not in bury_dead_runs(instance, runner.connection.database)


@pytest.mark.parametrize("whose", ["this process", "another host", "the launcher"])
def test_a_run_that_may_live_is_left_alone(runner: Runner, instance: dg.DagsterInstance, whose: str) -> None:
    mark = {"this process": this_process(), "another host": f"elsewhere-{uuid.uuid4().hex}/1/1"}.get(whose)
    run, job = at_work(runner, mark)
    assert run.run_id not in bury_dead_runs(instance, runner.connection.database)
    assert run.run_id in holders(instance)
    with runner.connection.database.session() as session:
        assert repository.get_job(session, job.id).status is DetectJobStatus.RUNNING


def test_a_pid_that_another_process_has_now_is_no_sign_of_life(runner: Runner, instance: dg.DagsterInstance) -> None:
    run, _ = at_work(runner, f"{socket.gethostname()}/{os.getpid()}/1000")
    assert run.run_id in bury_dead_runs(instance, runner.connection.database)
