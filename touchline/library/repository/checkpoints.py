"""Checkpoint rows, and the rule that selects the one a run reads.

Belongs here: rows of `stage_checkpoints`. `resources/checkpoints.py` stores the blobs.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Sequence
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session, undefer_group

from touchline.errors import BadInputError, CheckpointError
from touchline.library.tables import FRAMES, DetectJob, StageCheckpoint
from touchline.nodes import NODE_INDEX


class Found(StrEnum):
    """How a checkpoint was selected: of the run's own job, of the job it names, or the newest of its source."""

    OWN = "own"
    NAMED = "named"
    NEWEST = "newest"


_NEWEST = (StageCheckpoint.created_at.desc(), StageCheckpoint.id)


def add_checkpoint(session: Session, checkpoint: StageCheckpoint) -> StageCheckpoint:
    """Adds a row for a blob that is stored already. Raises BadInputError for an unknown stage or a wrong index."""
    if NODE_INDEX.get(checkpoint.stage) != checkpoint.stage_index:
        raise BadInputError(f"expected a stage of {', '.join(NODE_INDEX)} with its index, got {checkpoint.stage!r}")
    session.add(checkpoint)
    session.flush()
    return checkpoint


def lock_checkpoint(session: Session, job_id: uuid.UUID, stage: str) -> None:
    """Takes the advisory lock under which the checkpoint of a job and stage is added, until the transaction ends."""
    digest = hashlib.sha256(f"touchline checkpoint {job_id} {stage}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def get_checkpoint(session: Session, checkpoint_id: uuid.UUID, *, frames: bool = False) -> StageCheckpoint:
    """The row with that id; `frames` loads the columns that list its frames. Raises CheckpointError if unknown."""
    row = session.get(StageCheckpoint, checkpoint_id, options=[undefer_group(FRAMES)] if frames else [])
    if row is None:
        raise CheckpointError(f"no checkpoint {checkpoint_id} is known")
    return row


def job_checkpoint(
    session: Session, job_id: uuid.UUID, stage: str, *, fingerprint: str | None = None
) -> StageCheckpoint | None:
    """The newest row of a job and stage (and fingerprint, if given), or None."""
    query = sa.select(StageCheckpoint).where(StageCheckpoint.job_id == job_id, StageCheckpoint.stage == stage)
    if fingerprint is not None:
        query = query.where(StageCheckpoint.fingerprint == fingerprint)
    return session.scalar(query.order_by(*_NEWEST).limit(1))


def find_by_fingerprint(
    session: Session, source_asset_id: uuid.UUID, stage: str, fingerprint: str
) -> StageCheckpoint | None:
    """The newest row of a source and stage with this fingerprint, or None.

    The columns that list its frames are loaded, because reuse copies them.
    """
    query = sa.select(StageCheckpoint).where(
        StageCheckpoint.source_asset_id == source_asset_id,
        StageCheckpoint.stage == stage,
        StageCheckpoint.fingerprint == fingerprint,
    )
    return session.scalar(query.options(undefer_group(FRAMES)).order_by(*_NEWEST).limit(1))


def resolve_checkpoint(
    session: Session,
    source_asset_id: uuid.UUID,
    stage: str,
    *,
    job_id: uuid.UUID | None,
    from_job: uuid.UUID | None = None,
) -> tuple[StageCheckpoint, Found]:
    """The checkpoint of `stage` that a run reads, and how it was selected.

    In this order: that of its own job, of the named job (`from_job`), the newest of the source. A named job that was a
    replay has no rows before its first stage; the rows it was computed from are used instead. Raises CheckpointError
    if there is none, BadInputError if the named job is unknown or belongs to another source.
    """
    if job_id is not None:
        own = job_checkpoint(session, job_id, stage)
        if own is not None:
            return own, Found.OWN
    if from_job is not None:
        job = session.get(DetectJob, from_job)
        if job is None or job.source_asset_id != source_asset_id:
            raise BadInputError(f"job {from_job} is {'unknown' if job is None else 'one of another source'}")
        named = lineage_checkpoint(session, from_job, stage)
        if named is not None:
            return named, Found.NAMED
    newest = session.scalar(
        sa.select(StageCheckpoint)
        .where(StageCheckpoint.source_asset_id == source_asset_id, StageCheckpoint.stage == stage)
        .order_by(*_NEWEST)
        .limit(1)
    )
    if newest is None:
        raise CheckpointError(f"no checkpoint of {stage} for source {source_asset_id}; materialize {stage} first")
    return newest, Found.NEWEST


def lineage_checkpoint(session: Session, job_id: uuid.UUID, stage: str) -> StageCheckpoint | None:
    """The row of `stage` of a job: its own, else the one that its rows were computed from, else None."""
    return job_checkpoint(session, job_id, stage) or _ancestor(session, job_id, stage)


def _ancestor(session: Session, job_id: uuid.UUID, stage: str) -> StageCheckpoint | None:
    """The newest row of `stage` among the direct and indirect inputs of a job's rows."""
    rows = sa.select(StageCheckpoint.id, StageCheckpoint.input_checkpoint_ids)
    lineage = rows.where(StageCheckpoint.job_id == job_id).cte("lineage", recursive=True)
    lineage = lineage.union(rows.join(lineage, StageCheckpoint.id == sa.any_(lineage.c.input_checkpoint_ids)))
    query = sa.select(StageCheckpoint).join(lineage, StageCheckpoint.id == lineage.c.id)
    query = query.where(StageCheckpoint.stage == stage)
    return session.scalar(query.order_by(*_NEWEST).limit(1))


def sources_with_checkpoints(session: Session, stages: Collection[str]) -> set[uuid.UUID]:
    """The ids of the sources that have a checkpoint of every one of these stages."""
    query = (
        sa.select(StageCheckpoint.source_asset_id)
        .where(StageCheckpoint.stage.in_(stages))
        .group_by(StageCheckpoint.source_asset_id)
        .having(sa.func.count(sa.distinct(StageCheckpoint.stage)) == len(set(stages)))
    )
    return set(session.scalars(query))


def list_checkpoints(
    session: Session, *, source_asset_id: uuid.UUID | None = None, job_id: uuid.UUID | None = None
) -> Sequence[StageCheckpoint]:
    """Rows of a source or a job (or all), newest first, with the columns that list their frames."""
    query = sa.select(StageCheckpoint).options(undefer_group(FRAMES)).order_by(*_NEWEST)
    if source_asset_id is not None:
        query = query.where(StageCheckpoint.source_asset_id == source_asset_id)
    if job_id is not None:
        query = query.where(StageCheckpoint.job_id == job_id)
    return session.scalars(query).all()
