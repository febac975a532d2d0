"""Select the upstream checkpoint that a run reads.

Belongs here: what a Dagster run names by its config, its tags and the run it re-executes. The order of preference is in
`touchline/library/repository/checkpoints.py`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import dagster as dg
from sqlalchemy.orm import Session

from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.repository import Found
from touchline.library.tables import SourceAsset, StageCheckpoint

FROM_JOB_TAG: Final = "touchline/from_job"
"""Run tag with the id of the job whose checkpoints a run reads; used where its config names none."""


def choose(
    session: Session, instance: dg.DagsterInstance, run: dg.DagsterRun, source: SourceAsset, stage: str, from_job: str
) -> tuple[StageCheckpoint, str]:
    """The checkpoint of `stage` that `run` reads, and the reason in a few words.

    In this order: of this run; of the job named by the run's config (`from_job`) or tag; of a run that this one
    re-executes, directly or not; the newest of the source. Raises CheckpointError if there is none, BadInputError if
    the named job is unknown or belongs to another source.
    """
    named, how = from_job, "the run's config"
    if not named:
        named, how = run.tags.get(FROM_JOB_TAG, ""), f"the run tag {FROM_JOB_TAG}"
    job = repository.job_of_run(session, run.run_id, source.id)
    parent = None if named else _re_executed(session, instance, run, source, stage)
    identity = _job_id(session, named, how) if named else parent
    own = job.id if job else None
    row, found = repository.resolve_checkpoint(session, source.id, stage, job_id=own, from_job=identity)
    if found is Found.OWN:
        why = f"reused in this run from checkpoint {row.reused_from}" if row.reused_from else "made in this run"
    elif found is Found.NAMED:
        why = f"of job {identity}, named by {how}" if named else f"of job {identity}, which this run resumes"
    else:
        why = f"the newest of this source{f': job {identity}, named by {how}, has none of {stage}' if named else ''}"
    return row, why


def _re_executed(
    session: Session, instance: dg.DagsterInstance, run: dg.DagsterRun, source: SourceAsset, stage: str
) -> UUID | None:
    """The job of the nearest re-executed run that has a checkpoint of `stage`."""
    parent_id = run.parent_run_id
    while parent_id is not None:
        job = repository.job_of_run(session, parent_id, source.id)
        if job is not None and repository.lineage_checkpoint(session, job.id, stage) is not None:
            return job.id
        parent = instance.get_run_by_id(parent_id)
        parent_id = parent.parent_run_id if parent else None
    return None


def _job_id(session: Session, text: str, how: str) -> UUID:
    try:
        return repository.get_job(session, text).id
    except BadInputError as error:
        raise BadInputError(f"{how} names {text!r} as the job to read: {error}") from error
