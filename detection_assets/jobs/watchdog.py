"""Ending what hangs, from outside: the job, its run and its process, so that the job can be continued.

Belongs here: what is done with jobs that show no progress, and with those of a process that was killed. How long is
too long is in `touchline/watch.py`; the process is killed in `process_liveness.py`.

A process that hangs can say nothing of itself: it may be stopped, or every thread of it wait for Python's lock.
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
from detection_assets.jobs.lifecycle import goes_on
from detection_assets.jobs.process_liveness import Process, kill_process, works_here
from detection_assets.jobs.reconcile import NEVER_BEGAN, end_run, not_begun, reconcile
from resources.connection import Connection
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.watch import Bounds, Watch, stood_still

LOOK_S: Final = 10.0
"""Seconds between two looks."""
RECENT: Final = 200
"""Newest runs among which that of a process is looked for."""
START_S: Final = 45.0
"""Seconds for which a run that nobody does may still be about to begin, once the server that launched it is gone."""


@dataclass(frozen=True)
class Ended:
    """A job that was ended from outside: what it became, and why."""

    job_id: UUID
    partition_key: str
    status: DetectJobStatus
    message: str

    def __str__(self) -> str:
        """One sentence for whoever watches."""
        return f"{self.partition_key}: job {self.job_id} is {self.status}: {self.message}"


class Watchdog:
    """Looks again and again at all jobs that say they run, and ends those of this machine that stand still too long.

    `clock`: seconds that never go back, by which that is measured.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        connection: Connection,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instance, self._connection, self._bounds = instance, connection, bounds
        self._watch, self._starts = Watch(4 * LOOK_S, clock), Watch(4 * LOOK_S, clock)

    def look(self) -> list[Ended]:
        """Ends the jobs that have stood still beyond their stage's bound since the first look at them.

        A job on another machine is left alone: from here nobody can tell whether it hangs or cannot be heard. What died
        without a word is corrected before, so that a machine needs no daemon for that.
        """
        self._bury()
        with self._connection.database.session() as session:
            jobs = [job for job in repository.jobs_at_work(session) if job.status is DetectJobStatus.RUNNING]
        self._watch.keep({job.id for job in jobs})
        ended = []
        for job in jobs:
            stood = self._watch.look(job.id, _sign(job))
            if stood > self._bounds.of(job.current_stage):
                ended += self._end(job, stood)
        return ended

    def _bury(self) -> None:
        reconcile(self._instance, self._connection)
        waiting = not_begun(self._instance, self._connection)
        self._starts.keep({run.run_id for run in waiting})
        for run in waiting:
            if self._starts.look(run.run_id, None) > START_S:
                end_run(self._instance, run.run_id, NEVER_BEGAN)

    def _end(self, job: DetectJob, stood: float) -> list[Ended]:
        run = self._instance.get_run_by_id(job.dagster_run_id) if job.dagster_run_id else None
        if run is None or not works_here(run.tags, run.run_id):
            return []
        message = hung(job.id, stood, job.current_stage)
        with self._connection.database.session() as session:
            status = lifecycle.end_if(
                session,
                job.id,
                lambda row: _sign(row) == _sign(job),
                lambda: kill_process(run.tags, run.run_id),
                message,
            )
        if status is None:
            return []
        _end_run(self._instance, run, status, message)
        return [Ended(job.id, job.partition_key, status, message)]


def end_with_process(instance: DagsterInstance, connection: Connection, process: Process, why: str) -> str:
    """Ends the run that a dead process of this machine was doing last, and its job; `why` begins their message.

    Returns what its job says, which others may have said before us; nothing where it had none.
    """
    recent = runs_where(instance, dg.RunsFilter(), RECENT)
    last = next((run for run in recent if works_here(run.tags, run.run_id, process)), None)
    if last is None:
        return ""
    with connection.database.session() as session:
        job = repository.job_of_run(session, last.run_id)
    status = DetectJobStatus.FAILED
    if job is not None:
        message = f"{why}; {goes_on(job.id)}"
        with connection.database.session() as session:
            status = lifecycle.end_if(session, job.id, lambda _: True, lambda: True, message) or status
    _end_run(instance, last, status, why)
    if job is None:
        return ""
    with connection.database.session() as session:
        return repository.get_job(session, job.id).error_message or ""


def hung(job_id: UUID, stood: float, stage: str | None) -> str:
    """What a job says that was ended because it stood still for so long [s]."""
    return f"{stood_still(stood, stage)}, so it was ended from outside; {goes_on(job_id)}"


def _end_run(instance: DagsterInstance, run: dg.DagsterRun, status: DetectJobStatus, message: str) -> None:
    now = instance.get_run_by_id(run.run_id)
    if now is not None and not now.is_finished:
        if status is DetectJobStatus.CANCELLED or now.status is dg.DagsterRunStatus.CANCELING:
            cancel_run(instance, now, message)
        else:
            fail_run(instance, now, message)


def _sign(job: DetectJob) -> tuple[object, ...]:
    return job.progress_at, job.current_stage, job.progress
