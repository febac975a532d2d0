"""Ends hanging jobs together with their run and process, so that they can be continued.

Belongs here: ending jobs without progress, and jobs of a killed process. The time limits are in `touchline/watch.py`;
`process_liveness.py` kills the process.

A hanging process cannot report that it hangs: it may be stopped, or all its threads may wait for Python's lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance

from detection_assets.dagster_internals.runs import cancel_run, fail_run, runs_where
from detection_assets.jobs import lifecycle
from detection_assets.jobs.lifecycle import how_to_resume
from detection_assets.jobs.process_liveness import Process, kill_process, runs_on_this_machine
from detection_assets.jobs.reconcile import NEVER_STARTED, end_run, reconcile, unstarted_runs
from resources.connection import Connection
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.watch import Bounds, Watch, stood_still

CHECK_S: Final = 10.0
"""Interval between two checks [s]."""
RECENT: Final = 200
"""Number of newest runs that are searched for the run of a process."""
START_S: Final = 45.0
"""Time that a run without a process may take to start after the server that launched it is gone [s]."""


@dataclass(frozen=True)
class Ended:
    """A job that the watchdog ended: its new status, and why."""

    job_id: UUID
    partition_key: str
    status: DetectJobStatus
    message: str

    def __str__(self) -> str:
        """A summary in one sentence, for logs."""
        return f"{self.partition_key}: job {self.job_id} is {self.status}: {self.message}"


class Watchdog:
    """Checks all running jobs, and ends those of this machine that make no progress for too long.

    `clock` is a monotonic clock [seconds].
    """

    def __init__(
        self,
        instance: DagsterInstance,
        connection: Connection,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instance, self._connection, self._bounds = instance, connection, bounds
        self._watch, self._starts = Watch(4 * CHECK_S, clock), Watch(4 * CHECK_S, clock)

    def check(self) -> list[Ended]:
        """Ends the jobs without progress for longer than their stage's limit since they were first checked.

        Jobs on other machines are left alone: a hang cannot be told from a lost connection. Runs and jobs of dead
        processes are corrected first, so that a machine without a daemon needs no other correction.
        """
        self._reconcile()
        with self._connection.database.session() as session:
            jobs = [job for job in repository.active_jobs(session) if job.status is DetectJobStatus.RUNNING]
        self._watch.keep({job.id for job in jobs})
        ended = []
        for job in jobs:
            stood = self._watch.look(job.id, _progress(job))
            if stood > self._bounds.of(job.current_stage):
                ended += self._end(job, stood)
        return ended

    def _reconcile(self) -> None:
        reconcile(self._instance, self._connection)
        waiting = unstarted_runs(self._instance, self._connection)
        self._starts.keep({run.run_id for run in waiting})
        for run in waiting:
            if self._starts.look(run.run_id, None) > START_S:
                end_run(self._instance, run.run_id, NEVER_STARTED)

    def _end(self, job: DetectJob, stood: float) -> list[Ended]:
        run = self._instance.get_run_by_id(job.dagster_run_id) if job.dagster_run_id else None
        if run is None or not runs_on_this_machine(run.tags, run.run_id):
            return []
        message = hang_message(job.id, stood, job.current_stage)
        with self._connection.database.session() as session:
            status = lifecycle.fail_if_still(
                session,
                job.id,
                lambda row: _progress(row) == _progress(job),
                lambda: kill_process(run.tags, run.run_id),
                message,
            )
        if status is None:
            return []
        _end_run(self._instance, run, status, message)
        return [Ended(job.id, job.partition_key, status, message)]


def end_with_process(instance: DagsterInstance, connection: Connection, process: Process, why: str) -> str:
    """Ends the last run of a dead process of this machine, and its job. Their messages start with `why`.

    Returns the job's error message, which another process may have written first; "" without a run or a job.
    """
    recent = runs_where(instance, dg.RunsFilter(), RECENT)
    last = next((run for run in recent if runs_on_this_machine(run.tags, run.run_id, process)), None)
    if last is None:
        return ""
    with connection.database.session() as session:
        job = repository.job_of_run(session, last.run_id)
    status = DetectJobStatus.FAILED
    if job is not None:
        message = f"{why}; {how_to_resume(job.id)}"
        with connection.database.session() as session:
            status = lifecycle.fail_if_still(session, job.id, lambda _: True, lambda: True, message) or status
    _end_run(instance, last, status, why)
    if job is None:
        return ""
    with connection.database.session() as session:
        return repository.get_job(session, job.id).error_message or ""


def hang_message(job_id: UUID, stood: float, stage: str | None) -> str:
    """The error message of a job that was ended after `stood` seconds without progress."""
    return f"{stood_still(stood, stage)}, so its process was killed; {how_to_resume(job_id)}"


def _end_run(instance: DagsterInstance, run: dg.DagsterRun, status: DetectJobStatus, message: str) -> None:
    now = instance.get_run_by_id(run.run_id)
    if now is not None and not now.is_finished:
        if status is DetectJobStatus.CANCELLED or now.status is dg.DagsterRunStatus.CANCELING:
            cancel_run(instance, now, message)
        else:
            fail_run(instance, now, message)


def _progress(job: DetectJob) -> tuple[object, ...]:
    return job.progress_at, job.current_stage, job.progress
