"""Jobs: one for each invocation of the pipeline on a source, with its status and progress.

Belongs here: rows of `detect_jobs`. The legal status changes are in `touchline/library/job_lifecycle.py`;
`detection_assets/jobs/lifecycle.py` decides when a Dagster run makes them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

import sqlalchemy as sa
from sqlalchemy.orm import Session

from touchline.errors import BadInputError
from touchline.library.job_lifecycle import ACTIVE, FINAL, OVER, may_become
from touchline.library.repository.json_values import plain_json, plain_text
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset

SHORT_ID: Final = 8
"""Length of the short form of a job's id, and minimum length of an id that a user gives [characters]."""
_WHOLE: Final = 32
"""Digits of an id without its hyphens."""
_DIGITS: Final = re.compile(r"[0-9a-f]+")
_SHOWN: Final = 5


class JobTotals(TypedDict, total=False):
    """Totals of a finished job."""

    total_detections: int
    brands_found: int
    cloud_llm_calls: int
    estimated_cost_usd: float


def create_job(
    session: Session,
    source: SourceAsset,
    *,
    profile_name: str | None = None,
    run_type: RunType = RunType.INITIAL,
    replay_from_stage: str | None = None,
    config_overrides: Mapping[str, Any] | None = None,
    dagster_run_id: str | None = None,
    priority: int = 0,
    job_id: uuid.UUID | None = None,
) -> DetectJob:
    """Creates a pending job for a source, with the source's first job as its parent."""
    # The row lock serializes concurrent calls: one job alone is the first.
    session.execute(sa.select(SourceAsset.id).where(SourceAsset.id == source.id).with_for_update())
    line = sa.select(DetectJob.id).where(DetectJob.source_asset_id == source.id, DetectJob.parent_job_id.is_(None))
    job = DetectJob(
        id=job_id or uuid.uuid4(),
        source_asset_id=source.id,
        video_path=source.video_path,
        profile_name=profile_name or source.profile_name,
        parent_job_id=session.scalar(line.order_by(DetectJob.created_at).limit(1)),
        run_type=run_type,
        replay_from_stage=replay_from_stage,
        config_overrides=plain_json(config_overrides or {}),
        dagster_run_id=dagster_run_id,
        priority=priority,
        partition_key=source.partition_key,
    )
    session.add(job)
    session.flush()
    return job


def get_job(session: Session, job_id: uuid.UUID | str) -> DetectJob:
    """The job with that id, or with that unique prefix of SHORT_ID characters or more.

    Raises BadInputError if no job or several jobs match, or if the text is no id.
    """
    if isinstance(job_id, str) and len(job_id) < _WHOLE:
        return _beginning_with(session, job_id)
    try:
        identity = job_id if isinstance(job_id, uuid.UUID) else uuid.UUID(job_id)
    except ValueError as error:
        raise BadInputError(f"expected the id of a job, got {job_id!r}; `touchline jobs` lists them") from error
    job = session.get(DetectJob, identity)
    if job is None:
        raise BadInputError(f"no job {identity} is known; `touchline jobs` lists them")
    return job


def _beginning_with(session: Session, text: str) -> DetectJob:
    digits = text.lower().replace("-", "")
    if len(digits) < SHORT_ID or not _DIGITS.fullmatch(digits):
        raise BadInputError(
            f"expected the id of a job, or its first {SHORT_ID} characters or more, got {text!r}; `touchline jobs` "
            "lists them"
        )
    written = sa.func.replace(sa.cast(DetectJob.id, sa.Text), "-", "")
    query = sa.select(DetectJob).where(written.startswith(digits))
    found = list(session.scalars(query.order_by(DetectJob.id).limit(_SHOWN + 1)))
    if not found:
        raise BadInputError(f"no job {text} is known; `touchline jobs` lists them")
    if len(found) > 1:
        names = ", ".join(f"{job.id} ({job.partition_key})" for job in found[:_SHOWN])
        raise BadInputError(f"{text} is the beginning of {names}{' and others' if len(found) > _SHOWN else ''}")
    return found[0]


def job_of_run(session: Session, dagster_run_id: str, source_asset_id: uuid.UUID | None = None) -> DetectJob | None:
    """The newest job of a Dagster run (of one source, if given), or None."""
    query = sa.select(DetectJob).where(DetectJob.dagster_run_id == dagster_run_id)
    if source_asset_id is not None:
        query = query.where(DetectJob.source_asset_id == source_asset_id)
    return session.scalar(query.order_by(DetectJob.created_at.desc()).limit(1))


def reported_job(session: Session, source_asset_id: uuid.UUID) -> DetectJob | None:
    """The newest job of a source that has a report, or None."""
    query = sa.select(DetectJob).where(DetectJob.source_asset_id == source_asset_id, DetectJob.report_prefix != "")
    return session.scalar(query.order_by(DetectJob.created_at.desc(), DetectJob.id).limit(1))


def jobs_of_run(session: Session, dagster_run_id: str) -> list[DetectJob]:
    """The jobs of a Dagster run, oldest first: one for each of its partitions."""
    query = sa.select(DetectJob).where(DetectJob.dagster_run_id == dagster_run_id)
    return list(session.scalars(query.order_by(DetectJob.created_at, DetectJob.id)))


def active_jobs(session: Session) -> list[DetectJob]:
    """Pending and running jobs of Dagster runs, oldest first. Their runs may have ended without updating them."""
    query = sa.select(DetectJob).where(DetectJob.status.in_(ACTIVE), DetectJob.dagster_run_id.is_not(None))
    return list(session.scalars(query.order_by(DetectJob.created_at, DetectJob.id)))


def set_job_status(
    session: Session, job_id: uuid.UUID, status: DetectJobStatus, *, error_message: str | None = None
) -> DetectJob:
    """Sets a job's status and its time stamps, and returns the job.

    An illegal change (`touchline/library/job_lifecycle.py`) is ignored: check the returned status.
    """
    job = _locked(session, job_id)
    if not may_become(job.status, status):
        return job
    now = datetime.now(UTC)
    job.status = status
    job.error_message = None if error_message is None else plain_text(error_message)
    if status is DetectJobStatus.RUNNING:
        job.started_at = job.started_at or now
        job.progress_at = session.scalar(sa.select(sa.func.clock_timestamp()))
    if status is DetectJobStatus.COMPLETED:
        job.current_stage, job.progress = None, 1.0
    job.completed_at = now if status in OVER else None
    session.flush()
    return job


def set_status_if_among(
    session: Session,
    job_id: uuid.UUID,
    status: DetectJobStatus,
    *,
    among: Collection[DetectJobStatus],
    error_message: str | None = None,
) -> bool:
    """Sets a job's status if it still has one of `among`. Returns whether it did.

    For callers outside the job's process: a status that the process has set meanwhile is kept.
    """
    job = _locked(session, job_id)
    if job.status not in among or not may_become(job.status, status):
        return False
    set_job_status(session, job_id, status, error_message=error_message)
    return True


def set_progress(session: Session, job_id: uuid.UUID, stage: str | None, progress: float) -> None:
    """Stores the current stage and the progress (0 to 1) of a job whose status is not final."""
    session.execute(
        sa.update(DetectJob)
        .where(DetectJob.id == job_id, DetectJob.status.not_in(FINAL))
        .values(
            current_stage=stage,
            progress=min(1.0, max(0.0, float(progress))),
            progress_at=sa.func.clock_timestamp(),
        )
    )


def report_progress(session: Session, job_id: uuid.UUID, stage: str, progress: float) -> None:
    """As `set_progress`, within a chunk: for a running job only, and the progress never decreases."""
    session.execute(
        sa.update(DetectJob)
        .where(DetectJob.id == job_id, DetectJob.status == DetectJobStatus.RUNNING)
        .values(
            current_stage=stage,
            progress=sa.func.greatest(DetectJob.progress, min(1.0, max(0.0, float(progress)))),
            progress_at=sa.func.clock_timestamp(),
        )
    )


def seconds_without_progress(session: Session, jobs: Collection[DetectJob]) -> dict[uuid.UUID, float]:
    """Seconds since the last progress of each running job in `jobs`, by the database's clock."""
    now = session.scalar(sa.select(sa.func.clock_timestamp()))
    assert now is not None
    return {
        job.id: max(0.0, (now - job.progress_at).total_seconds())
        for job in jobs
        if job.status is DetectJobStatus.RUNNING and job.progress_at is not None
    }


def fail_if_still(
    session: Session, job_id: uuid.UUID, still: Callable[[DetectJob], bool], end: Callable[[], bool], message: str
) -> DetectJobStatus | None:
    """Fails a running job if `still(row)` is true and `end()`, which ends its process, returns true.

    The row is locked meanwhile, so the process cannot update it in between. A job with a stop request gets the
    requested status instead. Returns the new status, or None if nothing was changed.
    """
    job = _locked(session, job_id)
    if job.status is not DetectJobStatus.RUNNING or not still(job) or not end():
        return None
    asked = job.stop_requested
    reason = f"{asked} by request; {message}" if asked else message
    return set_job_status(session, job_id, asked or DetectJobStatus.FAILED, error_message=reason).status


def record_totals(
    session: Session,
    job_id: uuid.UUID,
    totals: JobTotals,
    *,
    report_prefix: str = "",
    report_files: Mapping[str, Any] | None = None,
) -> DetectJob:
    """Stores the totals and the report prefix of a job. The status is not changed.

    `report_files` has the size [bytes] and SHA-256 of each file of the report, by name.
    """
    job = _locked(session, job_id)
    job.total_detections = int(totals.get("total_detections", job.total_detections))
    job.brands_found = int(totals.get("brands_found", job.brands_found))
    job.cloud_llm_calls = int(totals.get("cloud_llm_calls", job.cloud_llm_calls))
    job.estimated_cost_usd = float(totals.get("estimated_cost_usd", job.estimated_cost_usd))
    job.report_prefix = report_prefix or job.report_prefix
    if report_files is not None:
        job.report_files = dict(report_files)
    session.flush()
    return job


def request_stop(session: Session, job_id: uuid.UUID, status: DetectJobStatus) -> DetectJob:
    """Requests that a running job stops after its chunk as `paused` or `cancelled`. Any other job is set at once.

    Raises BadInputError for another status, and if the change is illegal.
    """
    if status not in (DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED):
        raise BadInputError(f"expected paused or cancelled, got {status}")
    job = _locked(session, job_id)
    if job.status in FINAL or (job.status is not status and not may_become(job.status, status)):
        raise BadInputError(f"job {job_id} is {job.status} already and cannot be {status}")
    if job.status is not DetectJobStatus.RUNNING:
        return set_job_status(session, job_id, status, error_message=job.error_message)
    job.stop_requested = status
    session.flush()
    return job


def stop_requested(session: Session, job_id: uuid.UUID) -> DetectJobStatus | None:
    """The requested status of a job: paused, cancelled or None. Cheap enough for every chunk."""
    return session.scalar(sa.select(DetectJob.stop_requested).where(DetectJob.id == job_id))


def list_jobs(
    session: Session,
    source_asset_id: uuid.UUID | None = None,
    *,
    statuses: Collection[DetectJobStatus] = (),
    limit: int = 100,
) -> list[DetectJob]:
    """Jobs, newest first, optionally of one source and with one of some statuses."""
    query = sa.select(DetectJob).order_by(DetectJob.created_at.desc(), DetectJob.id).limit(limit)
    if source_asset_id is not None:
        query = query.where(DetectJob.source_asset_id == source_asset_id)
    if statuses:
        query = query.where(DetectJob.status.in_(statuses))
    return list(session.scalars(query))


def _locked(session: Session, job_id: uuid.UUID) -> DetectJob:
    job = session.get(DetectJob, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise BadInputError(f"no job {job_id} is known; `touchline jobs` lists them")
    return job
