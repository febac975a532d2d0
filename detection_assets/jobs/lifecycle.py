"""The one place that gives a job its status: it begins, is stopped, fails, and ends as its Dagster run ends.

Belongs here: every change of a job's status, and what the job is told with it. Which change is legal is decided in
`touchline/library/job_lifecycle.py`; who looks for runs that ended without an error is
`detection_assets/jobs/reconcile.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy.orm import Session

from detection_assets.dagster_internals.failures import Failure, failure_of
from detection_assets.dagster_internals.storage import when_over
from resources.connection import Connection
from resources.leases import release_lease
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.library.job_lifecycle import ACTIVE
from touchline.library.tables import DetectJob, DetectJobStatus

INTERRUPTED: Final = "interrupted"
"""How the message of a job begins that was ended from outside, not by a fault."""
AGAIN: Final = "run the same again to continue"

Change = tuple[UUID, DetectJobStatus]
"""A job and the status that it got."""


def begin(session: Session, job: DetectJob) -> DetectJob:
    """A job that waits runs; any other is returned as it is.

    After a failed stage Dagster still runs the stages beside it: what they do is kept, but the job has failed.
    """
    return repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)


def ask(session: Session, job_id: UUID, status: DetectJobStatus) -> DetectJob:
    """Asks a job to become `paused` or `cancelled`; raises as `repository.request_stop`."""
    return repository.request_stop(session, job_id, status)


def stop(session: Session, job_id: UUID, asked: DetectJobStatus) -> DetectJobStatus:
    """The job's work ends here because somebody asked for it. Returns its status, which may be another."""
    return repository.set_job_status(session, job_id, asked, error_message=f"{asked} by request").status


def fail(
    connection: Connection, job: DetectJob, message: str, error: BaseException, *, interrupted: bool = False
) -> None:
    """Tells the job what ended it, if the database is there to be told; else a note is put on `error`.

    One that was `interrupted` after somebody had asked it to stop is what it was asked to be. A job that could not be
    told still says that it runs; the next run of the source corrects it.
    """
    try:
        # No patience: the database may be what failed, and was waited for already.
        with connection.database.session(patience_s=0) as session:
            asked = repository.stop_requested(session, job.id) if interrupted else None
            status, told = (asked, f"{asked} by request") if asked else (DetectJobStatus.FAILED, message)
            repository.set_job_status(session, job.id, status, error_message=told)
    except ServiceError as gone:
        error.add_note(f"the end of job {job.id} could not be recorded: {gone}")


def fail_if_still(
    session: Session, job_id: UUID, still: Callable[[DetectJob], bool], end: Callable[[], bool], message: str
) -> DetectJobStatus | None:
    """Ends a running job from outside, as `repository.fail_if_still`."""
    return repository.fail_if_still(session, job_id, still, end, message)


def follow_at_end(instance: DagsterInstance, connection: Connection, run_id: str) -> None:
    """Has the jobs of a run follow it, and its lease end, as soon as this process tells Dagster that the run is over.

    What fails here is left to those who look from outside: the run itself is over.
    """

    def ended() -> None:
        try:
            run = instance.get_run_by_id(run_id)
            if run is not None:
                follow(instance, connection, run)
        finally:
            release_lease(run_id)

    when_over(instance, run_id, ended)


def follow(
    instance: DagsterInstance, connection: Connection, run: dg.DagsterRun, jobs: Iterable[DetectJob] | None = None
) -> list[Change]:
    """Gives the jobs of a run that has ended the status that follows; returns those that were changed.

    A run that succeeded completes its jobs; one that failed fails those that wait for its result. A cancelled one
    cancels those that it interrupted, too: that is what was asked for. Paused and final jobs stay as they are.
    """
    if jobs is None:
        with connection.database.session() as session:
            jobs = repository.jobs_of_run(session, run.run_id)
    if run.status is DagsterRunStatus.CANCELED:
        among = ACTIVE | {DetectJobStatus.FAILED}
        settled = [_settle(connection, [job], DetectJobStatus.CANCELLED, _cancelled(job), among) for job in jobs]
        return [change for changes in settled for change in changes]
    if run.status is DagsterRunStatus.FAILURE:
        waiting = [job for job in jobs if job.status in ACTIVE]
        if not waiting:
            return []
        failure = failure_of(instance, run.run_id)
        told = told_of(failure)
        words = {job.id: _with_remedy(job, told) if failure.from_outside else told for job in waiting}
        return [c for job in waiting for c in _settle(connection, [job], DetectJobStatus.FAILED, words[job.id])]
    if run.status is DagsterRunStatus.SUCCESS:
        return _settle(connection, jobs, DetectJobStatus.COMPLETED, None)
    return []


def lose(connection: Connection, job: DetectJob) -> list[Change]:
    """Fails a job whose run Dagster does not know any more."""
    why = f"its Dagster run {job.dagster_run_id} is not known to Dagster any more; {AGAIN}"
    return _settle(connection, [job], DetectJobStatus.FAILED, why)


def told_of(failure: Failure) -> str:
    """What a job says of a run's failure: "interrupted" where it was ended from outside by an interruption."""
    return INTERRUPTED if failure.interrupted else failure.message or "the run failed without a message"


def interrupted(job_id: UUID) -> str:
    """What a job says whose run was ended from outside."""
    return f"{INTERRUPTED}; {goes_on(job_id)}"


def goes_on(job_id: UUID) -> str:
    """How to continue a job."""
    return f"what is finished is kept: `touchline resume {job_id}`, or the same command again, resumes it"


def _with_remedy(job: DetectJob, message: str) -> str:
    """What ended the job's run from outside, and how to continue the job."""
    fault = message.removesuffix(f"; {AGAIN}").rstrip(".")
    return message if "run the same again" in fault else f"{fault}; {goes_on(job.id)}"


def _cancelled(job: DetectJob) -> str:
    fault = job.error_message or INTERRUPTED
    # The interruption can come where the job does not look, between two steps.
    by = "by request" if job.stop_requested is DetectJobStatus.CANCELLED else "in Dagster"
    return f"cancelled {by}" + ("" if fault.startswith(INTERRUPTED) else f", after: {fault}")


def _settle(
    connection: Connection,
    jobs: Iterable[DetectJob],
    status: DetectJobStatus,
    message: str | None,
    among: frozenset[DetectJobStatus] = ACTIVE,
) -> list[Change]:
    changed = []
    for job in jobs:
        with connection.database.session() as session:
            if repository.set_status_if_among(session, job.id, status, among=among, error_message=message):
                changed.append((job.id, status))
    return changed
