"""The one module that sets a job's status: it begins, is stopped, fails, and ends as its Dagster run ends.

Belongs here: every change of a job's status, and the error message recorded with it. The legal changes are in
`touchline/library/job_lifecycle.py`. `detection_assets/jobs/reconcile.py` finds runs that ended without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy.orm import Session

from detection_assets.dagster_internals.failures import Failure, failure_of
from detection_assets.dagster_internals.storage import on_run_end
from resources.connection import Connection
from resources.leases import release_lease
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.library.job_lifecycle import ACTIVE
from touchline.library.tables import DetectJob, DetectJobStatus

INTERRUPTED: Final = "interrupted"
"""Start of the error message of a job that was interrupted and has no error of its own."""
AGAIN: Final = "run the same again to continue"
"""The remedy at the end of a run's failure message."""

Change = tuple[UUID, DetectJobStatus]
"""A job's id and its new status."""


def begin(session: Session, job: DetectJob) -> DetectJob:
    """Sets a pending job to running; any other job is returned unchanged.

    After a failed stage, Dagster still executes stages that do not depend on it. Their results are stored; the job
    stays failed.
    """
    return repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)


def ask(session: Session, job_id: UUID, status: DetectJobStatus) -> DetectJob:
    """Requests that a job becomes `paused` or `cancelled`. Raises like `repository.request_stop`."""
    return repository.request_stop(session, job_id, status)


def stop(session: Session, job_id: UUID, asked: DetectJobStatus) -> DetectJobStatus:
    """Sets the job to the requested status. Returns its status, which differs if it had ended before."""
    return repository.set_job_status(session, job_id, asked, error_message=f"{asked} by request").status


def fail(
    connection: Connection, job: DetectJob, message: str, error: BaseException, *, interrupted: bool = False
) -> None:
    """Sets a job to failed with `message`. If the database cannot be reached, a note is added to `error` instead.

    A job that was `interrupted` after a stop request gets the requested status. A job whose end could not be recorded
    stays running until the next run of its source corrects it.
    """
    try:
        # No retries: the database may be what failed, after all its retries.
        with connection.database.session(patience_s=0) as session:
            asked = repository.stop_requested(session, job.id) if interrupted else None
            status, text = (asked, f"{asked} by request") if asked else (DetectJobStatus.FAILED, message)
            repository.set_job_status(session, job.id, status, error_message=text)
    except ServiceError as unreachable:
        error.add_note(f"the end of job {job.id} could not be recorded: {unreachable}")


def fail_if_still(
    session: Session, job_id: UUID, still: Callable[[DetectJob], bool], end: Callable[[], bool], message: str
) -> DetectJobStatus | None:
    """Ends a running job of another process, like `repository.fail_if_still`."""
    return repository.fail_if_still(session, job_id, still, end, message)


def follow_at_end(instance: DagsterInstance, connection: Connection, run_id: str) -> None:
    """Calls `follow` and ends the lease of a run as soon as this process has reported the run's end to Dagster.

    An error here is logged and left to `reconcile.py`, because the run has ended.
    """

    def ended() -> None:
        try:
            run = instance.get_run_by_id(run_id)
            if run is not None:
                follow(instance, connection, run)
        finally:
            release_lease(run_id)

    on_run_end(instance, run_id, ended)


def follow(
    instance: DagsterInstance, connection: Connection, run: dg.DagsterRun, jobs: Iterable[DetectJob] | None = None
) -> list[Change]:
    """Sets the status of the jobs of a run that has ended. Returns the changes.

    A successful run completes its jobs; a failed run fails its active jobs. A cancelled run also cancels jobs that its
    interruption has set to failed. Paused jobs and jobs with a final status stay unchanged.
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
        text = failure_text(failure)
        messages = {job.id: _with_remedy(job, text) if failure.external else text for job in waiting}
        return [c for job in waiting for c in _settle(connection, [job], DetectJobStatus.FAILED, messages[job.id])]
    if run.status is DagsterRunStatus.SUCCESS:
        return _settle(connection, jobs, DetectJobStatus.COMPLETED, None)
    return []


def fail_without_run(connection: Connection, job: DetectJob) -> list[Change]:
    """Fails a job whose run was deleted in Dagster."""
    why = f"its Dagster run {job.dagster_run_id} is not known to Dagster any more; {AGAIN}"
    return _settle(connection, [job], DetectJobStatus.FAILED, why)


def failure_text(failure: Failure) -> str:
    """The error message for a run's failure; "interrupted" if the run was interrupted."""
    return INTERRUPTED if failure.interrupted else failure.message or "the run failed without a message"


def interrupted(job_id: UUID) -> str:
    """The error message of a job whose run was interrupted."""
    return f"{INTERRUPTED}; {how_to_resume(job_id)}"


def how_to_resume(job_id: UUID) -> str:
    """The remedy at the end of a job's error message: how to continue the job."""
    return f"what is finished is kept: `touchline resume {job_id}`, or the same command again, resumes it"


def _with_remedy(job: DetectJob, message: str) -> str:
    """A failure's message with the remedy for this job."""
    fault = message.removesuffix(f"; {AGAIN}").rstrip(".")
    return message if "run the same again" in fault else f"{fault}; {how_to_resume(job.id)}"


def _cancelled(job: DetectJob) -> str:
    fault = job.error_message or INTERRUPTED
    # The interruption can come between two steps, where the job does not check for requests.
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
