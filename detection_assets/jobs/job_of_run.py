"""The DetectJob of a run: created before work starts, and kept correct however the run ends.

Belongs here: the job's fields that follow from the run (run type, first stage, what it retries), and stopping on
request. `jobs/lifecycle.py` sets the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg
from sqlalchemy.orm import Session

from detection_assets.dagster_internals.runs import begin_cancel, tag_run
from detection_assets.dagster_internals.storage import keep_connections
from detection_assets.dagster_internals.tags import PRIORITY_TAG, PROCESS_TAG
from detection_assets.jobs import lifecycle
from detection_assets.jobs.process_liveness import marked, process_tag
from resources.leases import LeaseLostError, acquire_lease, release_lease
from resources.storage import Connection
from touchline.causes import causes
from touchline.errors import BadInputError, JobStoppedError, in_words
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset
from touchline.nodes import NODE_INDEX, NODE_NAMES, REPORT

CONTINUES_TAG: Final = "touchline/continues_job"
"""Tag of a run, set by the CLI: the id of the job that this run continues."""
ALONE_TAG: Final = "touchline/alone"
"""Tag of a run, set by the CLI: the run is refused while another job of its source is running."""
STOP_TAG: Final = "touchline/stop"
"""Tag of a queued or running run, set by anybody: "paused" or "cancelled", the status of its jobs at the next chunk."""
STOPPED: Final = (DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED)
"""The statuses that can be requested."""


def selected_stages(run: dg.DagsterRun) -> list[str]:
    """The stages of a run, in order; all of them if nothing was selected.

    A run selects assets. A re-execution from failure, or of single steps, keeps that selection and adds step keys.
    """
    names: list[str] = [*NODE_NAMES, REPORT]
    if run.asset_selection:
        names = [name for name in names if dg.AssetKey(name) in run.asset_selection]
    if run.step_keys_to_execute:
        names = [name for name in names if name in run.step_keys_to_execute]
    return names


def open_job(
    context: dg.AssetExecutionContext,
    connection: Connection,
    source: SourceAsset,
    profile: str,
    overrides: Mapping[str, Any],
) -> DetectJob:
    """The running job of this run and partition. The first stage of the run creates it.

    Raises JobStoppedError if it was paused or cancelled, LeaseLostError if another process executes the run, and
    BadInputError if the run has ALONE_TAG and another job of its source is running.
    """
    keep_connections(context.instance)
    run = context.run
    claim_run(context, connection)

    def opened(session: Session) -> DetectJob:
        job = repository.job_of_run(session, run.run_id, source.id)
        if job is None:
            if not marked(run.tags, run.run_id):
                tag_run(context.instance, run.run_id, {PROCESS_TAG: process_tag(run.run_id)})
            stages = selected_stages(run)
            nodes = [stage for stage in stages if stage in NODE_INDEX]
            whole = len(nodes) == len(NODE_NAMES)
            first = whole or not repository.list_jobs(session, source.id, limit=1)
            kind = RunType.INITIAL if first else RunType.REPLAY
            if _retries(context, connection, source):
                kind = RunType.RETRY
            job = repository.create_job(
                session,
                repository.get_source(session, source.partition_key),
                profile_name=profile,
                run_type=kind,
                replay_from_stage=None if whole or kind is RunType.INITIAL else stages[0],
                config_overrides=overrides,
                dagster_run_id=run.run_id,
                priority=_priority(run),
            )
            if run.parent_run_id is None and {ALONE_TAG, CONTINUES_TAG} & run.tags.keys():
                # Checked again under the lock of the source: two commands that start together both passed the check.
                refuse_concurrent(session, source)
            _drop_inherited_stop(context)
        return lifecycle.begin(session, job)

    job = connection.database.transact(opened)
    with record_failure(connection, job):
        stop_if_asked(context, connection, job)
    return job


def claim_run(context: dg.AssetExecutionContext | dg.OpExecutionContext, connection: Connection) -> None:
    """Takes the lease of a run for this process, or confirms it. The lease ends with the run.

    Raises LeaseLostError if another process holds it, or if the run ended before it began.
    """
    run_id = context.run.run_id
    if not acquire_lease(connection.database, run_id):
        return
    now = context.instance.get_run_by_id(run_id)
    if now is None or now.is_finished:
        release_lease(run_id)
        raise LeaseLostError(f"Dagster run {run_id} ended before this process could begin it; nothing was done")
    lifecycle.follow_at_end(context.instance, connection, run_id)


def refuse_concurrent(session: Session, source: SourceAsset) -> None:
    """Raises BadInputError if a job of a source is running."""
    for job in repository.list_jobs(session, source.id, statuses=[DetectJobStatus.RUNNING], limit=1):
        raise BadInputError(
            f"{source.video_path}: job {job.id} is running on it (Dagster run {job.dagster_run_id}); wait for it or "
            "cancel it, or run with --fresh alongside it"
        )


@contextmanager
def record_failure(connection: Connection, job: DetectJob) -> Iterator[None]:
    """Records an error that ends the work in the job, then raises it again."""
    try:
        yield
    except JobStoppedError:
        raise
    except Exception as error:
        if not _interrupted(error):
            lifecycle.fail(connection, job, in_words(error), error)
            raise
        # A library that was being loaded replaced the interruption by an error of its own.
        lifecycle.fail(connection, job, lifecycle.interrupted(job.id), error, interrupted=True)
        raise dg.DagsterExecutionInterruptedError from error
    except BaseException as error:
        # Ctrl-C, or Dagster terminates the run: the job can be resumed, unless it was cancelled.
        lifecycle.fail(connection, job, lifecycle.interrupted(job.id), error, interrupted=True)
        raise


def _interrupted(error: BaseException) -> bool:
    """Whether an interruption is among the causes or contexts of an error.

    A library can fail while it cleans up after an interruption; its error then hides the interruption.
    """
    return any(isinstance(one, KeyboardInterrupt | dg.DagsterExecutionInterruptedError) for one in causes(error))


def stop_if_asked(context: dg.AssetExecutionContext, connection: Connection, job: DetectJob) -> None:
    """Stops a job that somebody paused or cancelled. Called between stages and between chunks.

    Raises JobStoppedError for a paused job: its run fails and can be re-executed. Raises
    DagsterExecutionInterruptedError for a cancelled job, whose run is cancelled as well, and for a run that Dagster is
    cancelling: Dagster interrupts it once, and Python can swallow that exception.
    """
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status is dg.DagsterRunStatus.CANCELING:
        raise dg.DagsterExecutionInterruptedError
    tagged = _stop_tag(context, run)

    def stopped(session: Session) -> DetectJobStatus:
        asked = tagged or repository.stop_requested(session, job.id)
        if asked is None:
            return repository.get_job(session, job.id).status
        return lifecycle.stop(session, job.id, asked)

    found = connection.database.transact(stopped)
    if tagged:
        # A re-execution inherits its parent's tags and must not stop for the same request.
        tag_run(context.instance, context.run.run_id, {STOP_TAG: ""})
    if found is DetectJobStatus.PAUSED:
        raise JobStoppedError(
            f"job {job.id} was paused; `touchline resume {job.id}` resumes it, and what is finished is kept"
        )
    if found is DetectJobStatus.CANCELLED:
        if run is not None:
            begin_cancel(context.instance, run, f"Job {job.id} was cancelled.")
        raise dg.DagsterExecutionInterruptedError


def _stop_tag(context: dg.AssetExecutionContext, run: dg.DagsterRun | None) -> DetectJobStatus | None:
    """The status that the run's current tag requests, if any."""
    value = run.tags.get(STOP_TAG, "") if run else ""
    if value and value not in STOPPED:
        context.log.warning(f"tag {STOP_TAG}: expected {' or '.join(STOPPED)}, got {value!r}; the run continues")
    return DetectJobStatus(value) if value in STOPPED else None


def _drop_inherited_stop(context: dg.AssetExecutionContext) -> None:
    """Clears a stop tag that a re-execution inherited from a run that ended before it could stop."""
    run = context.run
    parent = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    if parent is not None and run.tags.get(STOP_TAG) and run.tags.get(STOP_TAG) == parent.tags.get(STOP_TAG):
        tag_run(context.instance, run.run_id, {STOP_TAG: ""})


def _retries(context: dg.AssetExecutionContext, connection: Connection, source: SourceAsset) -> bool:
    """Whether this run continues a run that did not finish."""
    run = context.run
    if run.parent_run_id is None:
        # A re-execution inherits this tag from its parent.
        return CONTINUES_TAG in run.tags
    with connection.database.session() as session:
        job = repository.job_of_run(session, run.parent_run_id, source.id)
    if job is not None:
        return job.status is not DetectJobStatus.COMPLETED
    parent = context.instance.get_run_by_id(run.parent_run_id)
    return parent is not None and parent.status is not dg.DagsterRunStatus.SUCCESS


def _priority(run: dg.DagsterRun) -> int:
    """The run's priority. As in Dagster's queue, a tag that is not a number counts as 0."""
    try:
        return int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0
