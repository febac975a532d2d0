"""The DetectJob of a run: created before work starts, true whatever happens to the run.

Belongs here: what Dagster's run says about the job (kind of run, where it begins, what it retries).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg
from sqlalchemy.orm import Session

from detection_assets.instance import keep_connections
from detection_assets.liveness import PROCESS_TAG, marked, process_tag
from resources.storage import Connection
from touchline import repository
from touchline.errors import JobStoppedError, ServiceError
from touchline.nodes import NODE_INDEX, NODE_NAMES, REPORT
from touchline.schema import DetectJob, DetectJobStatus, RunType, SourceAsset

PRIORITY_TAG: Final = "dagster/priority"
CONTINUES_TAG: Final = "touchline/continues_job"
"""Set by the CLI: this run goes on with that job."""
INTERRUPTED: Final = "interrupted"
"""How the message of a job begins that was ended from outside, not by a fault."""


def selected_stages(context: dg.AssetExecutionContext) -> list[str]:
    """The stages of this run, in order; all of them where nothing was selected.

    A run selects assets; a re-execution from failure, or of single steps, keeps that selection and names steps.
    """
    run = context.run
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
    """The job of this run and partition, running; made by the first stage of the run."""
    keep_connections(context.instance)
    run = context.run

    def opened(session: Session) -> DetectJob:
        job = repository.job_of_run(session, run.run_id, source.id)
        if job is None:
            if not marked(run.tags, run.run_id):
                context.instance.add_run_tags(run.run_id, {PROCESS_TAG: process_tag(run.run_id)})
            stages = selected_stages(context)
            nodes = [stage for stage in stages if stage in NODE_INDEX]
            whole = len(nodes) == len(NODE_NAMES)
            kind = RunType.INITIAL if whole else RunType.REPLAY
            if _retries(context, connection, source):
                kind = RunType.RETRY
            job = repository.create_job(
                session,
                repository.get_source(session, source.partition_key),
                profile_name=profile,
                run_type=kind,
                replay_from_stage=None if whole else stages[0],
                config_overrides=overrides,
                dagster_run_id=run.run_id,
                priority=_priority(run),
            )
        # After a failed stage Dagster still runs the stages beside it: what they do is kept, but the job has failed.
        if job.status is DetectJobStatus.FAILED:
            return job
        return repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)

    return connection.database.transact(opened)


@contextmanager
def truthful(connection: Connection, job: DetectJob) -> Iterator[None]:
    """Whatever ends the work early is written to the job before it travels on."""
    try:
        yield
    except JobStoppedError:
        raise
    except Exception as error:
        fail_job(connection, job, f"{type(error).__name__}: {error}", error)
        raise
    except BaseException as error:
        # Ctrl-C, or Dagster ending the run: the job can be taken up again.
        fail_job(connection, job, f"{INTERRUPTED} ({type(error).__name__}); run the same again to continue", error)
        raise


def stop_if_asked(connection: Connection, job: DetectJob) -> None:
    """Between chunks: paused or cancelled by somebody? Raises JobStoppedError."""
    with connection.database.session() as session:
        asked = repository.stop_requested(session, job.id)
        if asked is None:
            return
        repository.set_job_status(session, job.id, asked, error_message=f"{asked} by request")
    raise JobStoppedError(f"job {job.id} was {asked} between two chunks; what is finished is kept")


def _retries(context: dg.AssetExecutionContext, connection: Connection, source: SourceAsset) -> bool:
    """Whether this run goes on with one that did not finish."""
    run = context.run
    if run.parent_run_id is None:
        # A re-execution inherits the tags of its parent, this one too.
        return CONTINUES_TAG in run.tags
    with connection.database.session() as session:
        job = repository.job_of_run(session, run.parent_run_id, source.id)
    if job is not None:
        return job.status is not DetectJobStatus.COMPLETED
    parent = context.instance.get_run_by_id(run.parent_run_id)
    return parent is not None and parent.status is not dg.DagsterRunStatus.SUCCESS


def _priority(run: dg.DagsterRun) -> int:
    """The run's priority; as in Dagster's own queue, a tag that is no number counts as 0."""
    try:
        return int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0


def fail_job(connection: Connection, job: DetectJob, message: str, error: BaseException) -> None:
    """Tells the job what ended it, if the database is there to be told; else a note is put on `error`.

    A job that could not be told still says that it runs; the next run of the source corrects it.
    """
    try:
        # No patience: the database may be what failed, and was waited for already.
        with connection.database.session(patience_s=0) as session:
            repository.set_job_status(session, job.id, DetectJobStatus.FAILED, error_message=message)
    except ServiceError as gone:
        error.add_note(f"job {job.id} could not be told: {gone}")
