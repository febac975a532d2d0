"""Bringing jobs in line with their Dagster runs, and runs in line with their processes.

Belongs here: what is corrected after something died. What a run says of its job while it lives is in
`bookkeeping.py`; which process does a run, in `liveness.py`; when this is called, in `sensors/run_status.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus
from dagster_shared.error import SerializableErrorInfo

from detection_assets.bookkeeping import INTERRUPTED
from detection_assets.liveness import dead_process
from resources.storage import Connection
from touchline import repository
from touchline.errors import without_class
from touchline.schema import DetectJob, DetectJobStatus

AT_WORK: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
AGAIN: Final = "run the same again to continue"
ACTIVE: Final = frozenset({DetectJobStatus.PENDING, DetectJobStatus.RUNNING})
FROM_OUTSIDE: Final = "This run has been marked as failed from outside"
"""How Dagster's message begins where it has nothing to say."""
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
                why = f"its Dagster run {job.dagster_run_id} is not known to Dagster any more; {AGAIN}"
                corrected += _settle(connection, [job], DetectJobStatus.FAILED, why, ACTIVE)
            elif run.is_finished:
                corrected += follow(instance, connection, run, [job])
    return Reconciled(tuple(ended), tuple(corrected))


def follow(
    instance: DagsterInstance, connection: Connection, run: dg.DagsterRun, jobs: Iterable[DetectJob] | None = None
) -> list[tuple[UUID, DetectJobStatus]]:
    """Gives the jobs of a run that has ended the status that follows; returns those that were changed.

    A failed run fails the jobs that still say they are at work. A cancelled one cancels those that it interrupted,
    too: that is what was asked for. Paused and final jobs stay as they are.
    """
    if jobs is None:
        with connection.database.session() as session:
            jobs = repository.jobs_of_run(session, run.run_id)
    if run.status is DagsterRunStatus.CANCELED:
        among = ACTIVE | {DetectJobStatus.FAILED}
        settled = [_settle(connection, [job], DetectJobStatus.CANCELLED, _cancelled(job), among) for job in jobs]
        return [change for changes in settled for change in changes]
    if run.status is DagsterRunStatus.FAILURE:
        return _settle(connection, jobs, DetectJobStatus.FAILED, failure(instance, run.run_id), ACTIVE)
    if run.status is DagsterRunStatus.SUCCESS:
        return _settle(connection, jobs, DetectJobStatus.COMPLETED, None, ACTIVE)
    return []


def failure(instance: DagsterInstance, run_id: str) -> str:
    """Why a run failed: the message of the first step that did, the cause before its wrappings; else the run's own."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.ENGINE_EVENT}
    own = noted = ""
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.dagster_event
        if event is not None and event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            return message_of(error.cause or error)
        message = (event.message if event is not None else None) or ""
        if event is not None and event.is_engine_event:
            noted = message or noted
        else:
            own = message or own
    # Of a worker that died Dagster says how in an event of its own, and then only that the run has ended.
    return noted if noted and own.startswith(FROM_OUTSIDE) else own or "the run failed without a message"


def message_of(error: SerializableErrorInfo) -> str:
    """What Dagster kept of an exception, in words: one that is raised on purpose without the name of its class."""
    return without_class(str(error.message))


def _cancelled(job: DetectJob) -> str:
    fault = job.error_message or INTERRUPTED
    return "cancelled in Dagster" + ("" if fault.startswith(INTERRUPTED) else f", after: {fault}")


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
            instance.report_run_failed(now, f"{process} ended without a word; {AGAIN}")
        ended.append(run.run_id)
    return ended


def _settle(
    connection: Connection,
    jobs: Iterable[DetectJob],
    status: DetectJobStatus,
    message: str | None,
    among: frozenset[DetectJobStatus],
) -> list[tuple[UUID, DetectJobStatus]]:
    changed = []
    for job in jobs:
        with connection.database.session() as session:
            if repository.settle_job(session, job.id, status, among=among, error_message=message):
                changed.append((job.id, status))
    return changed
