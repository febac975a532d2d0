"""Uploads whose run ended before its work was done, for no fault of theirs: asked for again, a few times.

Belongs here: what became of the run of an upload. How often and how soon it is asked for again is in
`touchline/library/intake.py`; the new run is asked for by the sensor `registered_uploads`, as the
first was.

A server, the daemon, the webserver or the machine can die between the ledger's word that a run was asked for and the
job that tells of it. Nobody else would miss such an upload.
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
from touchline.library.tables import DetectJob, DetectJobStatus, Upload

AT_ONCE: Final = 1000
"""Uploads whose ended runs are looked for in one question."""
AT_LEAST: Final = 50
"""Uploads of which all runs are looked for, those that wait the longest."""
FINISHED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def recover_uploads(instance: DagsterInstance, connection: Connection) -> list[str]:
    """Follows the runs of uploads; tells, for each that ended too early, what it was and what follows.

    Safe to repeat, and from several processes at once: a row is changed only while it is as it was read.
    """
    with connection.database.session() as session:
        followed = repository.running_uploads(session, limit=AT_ONCE)
    if not followed:
        return []
    keys = [upload.run_key for upload in followed]
    ended = _runs_of(instance, keys, FINISHED)
    # What has neither ended nor waits nor works was deleted. A long queue is not read whole for that.
    asked = [*ended, *[key for key in keys if key not in ended][:AT_LEAST]]
    known = _runs_of(instance, asked)
    told, over = [], []
    for upload in followed:
        theirs = known.get(upload.run_key, [])
        if upload.run_key not in asked or any(not run.is_finished for run in theirs):
            continue
        reason = _lost(instance, connection, theirs)
        if reason is None:
            over.append(upload.run_key)
        elif said := _ask_again(connection, upload, reason, final=_cancelled(theirs)):
            told.append(said)
    if over:
        with connection.database.session() as session:
            repository.close_uploads(session, over)
    return told


def _runs_of(
    instance: DagsterInstance, keys: Sequence[str], statuses: Sequence[DagsterRunStatus] | None = None
) -> dict[str, list[dg.DagsterRun]]:
    """The runs that were made for run keys, newest first; keys without any are left out."""
    found: dict[str, list[dg.DagsterRun]] = {}
    if keys:
        for run in runs_where(instance, dg.RunsFilter(tags={RUN_KEY_TAG: list(keys)}, statuses=statuses)):
            found.setdefault(run.tags[RUN_KEY_TAG], []).append(run)
    return found


def _lost(instance: DagsterInstance, connection: Connection, runs: Sequence[dg.DagsterRun]) -> str | None:
    """Why the work that these finished runs (newest first) should do was not done; nothing if that is all right.

    It is where the work was done, where the job tells of a fault of its own, and where somebody has seen to it.
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
        return f"its run ended before it began: {lifecycle.told_of(failure_of(instance, run.run_id))}"
    if job.status is not DetectJobStatus.FAILED or not failure_of(instance, run.run_id).from_outside:
        return None
    return None if continuations(instance, connection, job) else _of_job(job)


def _of_job(job: DetectJob) -> str:
    return f"job {job.id} failed: {job.error_message}"


def _cancelled(runs: Sequence[dg.DagsterRun]) -> bool:
    """What somebody cancelled is not asked for again: that was wanted."""
    return bool(runs) and runs[0].status is DagsterRunStatus.CANCELED


def _ask_again(connection: Connection, upload: Upload, reason: str, *, final: bool) -> str:
    """Writes into the ledger what follows; says it, or nothing if somebody else did."""
    path = upload.location + upload.key
    with connection.database.session() as session:
        if not final and upload.tries <= len(PAUSES):
            pause = timedelta(seconds=PAUSES[upload.tries - 1])
            run_key = next_run_key(upload.run_key, upload.tries + 1)
            done = repository.request_retry(session, upload, reason, run_key, pause)
            return f"{path}: {reason}; asked for again" if done else ""
        reason = f"{reason}. `touchline replay {upload.partition_key} --from extract_frames` asks for it again"
        return f"{path}: {reason}" if repository.fail_upload(session, upload, reason) else ""
