"""Bringing jobs in line with their Dagster runs, and runs in line with their processes.

Belongs here: what is corrected after something died. What becomes of a job's status
is in `jobs/lifecycle.py`; which process does a run, in `liveness.py`; when this is called, in `sensors/run_status.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from detection_assets.jobs import lifecycle
from detection_assets.liveness import dead_process
from resources.storage import Connection
from touchline import repository
from touchline.schema import DetectJobStatus

AT_WORK: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
BATCH: Final = 500
"""Runs asked for at a time."""


@dataclass(frozen=True)
class Reconciled:
    """What was corrected: Dagster runs that were ended, and jobs with the status they got."""

    runs: tuple[str, ...]
    jobs: tuple[tuple[UUID, DetectJobStatus], ...]

    def __str__(self) -> str:
        """One sentence for logs."""
        if not self.runs and not self.jobs:
            return "every job agrees with its run"
        jobs = ", ".join(f"{job} is {status}" for job, status in self.jobs) or "none"
        return f"ended {len(self.runs)} run(s) of dead processes; jobs corrected: {jobs}"


def reconcile(instance: DagsterInstance, connection: Connection) -> Reconciled:
    """Ends the runs whose process is dead, then corrects every job that says it is at work and whose run is not.

    Runs of living processes are left alone, and so are those of machines we cannot look at. Safe at any time, from
    any number of processes at once; a second call finds nothing to do.
    """
    ended = _end_dead_runs(instance)
    with connection.database.session() as session:
        jobs = repository.jobs_at_work(session)
    corrected: list[tuple[UUID, DetectJobStatus]] = []
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        ids = sorted({job.dagster_run_id or "" for job in batch})
        runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))}
        for job in batch:
            run = runs.get(job.dagster_run_id or "")
            if run is None:
                corrected += lifecycle.lose(connection, job)
            elif run.is_finished:
                corrected += lifecycle.follow(instance, connection, run, [job])
    return Reconciled(tuple(ended), tuple(corrected))


def _end_dead_runs(instance: DagsterInstance) -> list[str]:
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(AT_WORK))):
        process = dead_process(run.tags, run.run_id)
        if process is None:
            continue
        # Whoever launched the run may have noticed in the meantime.
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:
            continue
        if now.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(now, f"{process} ended before it could confirm the cancellation")
        else:
            instance.report_run_failed(now, f"{process} ended without a word; {lifecycle.AGAIN}")
        ended.append(run.run_id)
    return ended
