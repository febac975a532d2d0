"""Requests another run for uploads whose run ended early through no fault of theirs.

Belongs here: checking the runs of uploads. `touchline/library/intake.py` limits the number of retries and their pauses;
the sensor `registered_uploads` requests the new run.

A server, the daemon or the machine can die after a run was requested and before the run has a job. Nothing else would
notice such an upload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from detection_assets.dagster_internals.failures import failure_of
from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.jobs import lifecycle
from detection_assets.jobs.resume import continuations
from resources.connection import Connection
from touchline.library import repository
from touchline.library.intake import PAUSES, next_run_key
from touchline.library.tables import DetectJobStatus, Upload

AT_ONCE: Final = 1000
"""Most uploads whose ended runs are queried in one call."""
AT_LEAST: Final = 50
"""Number of uploads, those waiting longest first, of which runs in all statuses are queried."""
FINISHED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
"""Statuses of runs that have ended."""


def recover_uploads(instance: DagsterInstance, connection: Connection) -> list[str]:
    """Checks the runs of uploads and records retries. Returns one sentence for each run that ended early.

    It is safe to call this repeatedly and from several processes: a row is changed only if it is still as it was read.
    """
    with connection.database.session() as session:
        followed = repository.running_uploads(session, limit=AT_ONCE)
    if not followed:
        return []
    keys = [upload.run_key for upload in followed]
    ended = _runs_of(instance, keys, FINISHED)
    # A run that is neither ended nor unfinished was deleted. A long queue is not read completely to find such runs.
    asked = [*ended, *[key for key in keys if key not in ended][:AT_LEAST]]
    known = _runs_of(instance, asked)
    lost, done = [], []
    for upload in followed:
        theirs = known.get(upload.run_key, [])
        if upload.run_key not in asked or any(not run.is_finished for run in theirs):
            continue
        reason = _lost(instance, connection, theirs)
        if reason is None:
            done.append(upload.run_key)
        elif sentence := _record_retry(connection, upload, reason, final=_cancelled(theirs)):
            lost.append(sentence)
    if done:
        with connection.database.session() as session:
            repository.close_uploads(session, done)
    return lost


def _runs_of(
    instance: DagsterInstance, keys: Sequence[str], statuses: Sequence[DagsterRunStatus] | None = None
) -> dict[str, list[dg.DagsterRun]]:
    """The runs of run keys, newest first; keys without runs are left out."""
    found: dict[str, list[dg.DagsterRun]] = {}
    if keys:
        for run in runs_where(instance, dg.RunsFilter(tags={RUN_KEY_TAG: list(keys)}, statuses=statuses)):
            found.setdefault(run.tags[RUN_KEY_TAG], []).append(run)
    return found


def _lost(instance: DagsterInstance, connection: Connection, runs: Sequence[dg.DagsterRun]) -> str | None:
    """Why an upload needs another run after these finished runs (newest first); None if it needs none.

    It needs none if its job succeeded, failed by a fault of the video, was cancelled, or was continued by hand.
    """
    if not runs:
        return "Dagster does not know its run any more"
    run = runs[0]
    with connection.database.session() as session:
        job = repository.job_of_run(session, run.run_id)
    if run.status is DagsterRunStatus.SUCCESS:
        return None
    if run.status is DagsterRunStatus.CANCELED:
        return "its run was cancelled in Dagster before it began" if job is None else None
    if job is None:
        return f"its run ended before it began: {lifecycle.failure_text(failure_of(instance, run.run_id))}"
    if job.status is not DetectJobStatus.FAILED or not failure_of(instance, run.run_id).external:
        return None
    return None if continuations(instance, connection, job) else f"job {job.id} failed: {job.error_message}"


def _cancelled(runs: Sequence[dg.DagsterRun]) -> bool:
    """Whether the newest run was cancelled; it is then not requested again."""
    return bool(runs) and runs[0].status is DagsterRunStatus.CANCELED


def _record_retry(connection: Connection, upload: Upload, reason: str, *, final: bool) -> str:
    """Records that the upload needs another run, or that it has failed. Returns a sentence; "" if another process
    recorded it first.
    """
    path = upload.location + upload.key
    with connection.database.session() as session:
        if not final and upload.tries <= len(PAUSES):
            pause = timedelta(seconds=PAUSES[upload.tries - 1])
            run_key = next_run_key(upload.run_key, upload.tries + 1)
            done = repository.request_retry(session, upload, reason, run_key, pause)
            return f"{path}: {reason}; another run is requested" if done else ""
        reason = f"{reason}. `touchline replay {upload.partition_key} --from extract_frames` runs it again"
        return f"{path}: {reason}" if repository.fail_upload(session, upload, reason) else ""
