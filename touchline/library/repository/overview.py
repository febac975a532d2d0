"""Queries over all sources: what failed, and the inputs of the newest checkpoints.

Belongs here: queries that are fast with ten thousand sources. `touchline/fingerprint.py` decides what is stale.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, SourceState, StageCheckpoint

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class CheckpointInputs:
    """The inputs of the newest checkpoint of a source and stage.

    `upstream`: stage and fingerprint of its input checkpoints, by stage name. `checksum`, `content_mark` and `size`
    [bytes] are the current ones of the source.
    """

    partition_key: str
    video_path: str
    checksum: str
    content_mark: str
    size: int | None
    stage: str
    profile_name: str
    fingerprint: str
    config_snapshot: dict[str, Any]
    config_overrides: dict[str, Any]
    stats: dict[str, Any]
    upstream: tuple[tuple[str, str], ...]


def failed_sources(session: Session) -> list[DetectJob]:
    """The newest job of every source whose newest job failed, by partition key."""
    newest = _first_of(DetectJob, DetectJob.source_asset_id)
    query = sa.select(DetectJob).where(DetectJob.id.in_(newest), DetectJob.status == DetectJobStatus.FAILED)
    return list(session.scalars(query.order_by(DetectJob.partition_key)))


def newest_jobs(session: Session) -> dict[uuid.UUID, DetectJob]:
    """The newest job of every source that has one, by the source's id."""
    newest = _first_of(DetectJob, DetectJob.source_asset_id)
    return {job.source_asset_id: job for job in session.scalars(sa.select(DetectJob).where(DetectJob.id.in_(newest)))}


def source_keys(session: Session) -> tuple[set[str], set[str]]:
    """Partition keys of all sources, and of the accepted ones."""
    rows = session.execute(sa.select(SourceAsset.partition_key, SourceAsset.state)).all()
    return {key for key, _ in rows}, {key for key, state in rows if state is SourceState.ACCEPTED}


def newest_checkpoints(session: Session) -> Iterator[CheckpointInputs]:
    """The inputs of the newest checkpoint of every source and stage, streamed, by partition key."""
    row = StageCheckpoint
    columns = (
        row.id,
        row.source_asset_id,
        row.stage,
        row.stage_index,
        row.profile_name,
        row.fingerprint,
        row.config_snapshot,
        row.config_overrides,
        row.stats,
        row.input_checkpoint_ids,
    )
    made = sa.select(*columns).where(row.id.in_(_first_of(row, row.source_asset_id, row.stage))).subquery()
    inner = aliased(StageCheckpoint)
    pairs = sa.func.jsonb_object_agg(inner.stage, inner.fingerprint, type_=JSONB)
    upstream = sa.select(pairs).where(inner.id == sa.any_(made.c.input_checkpoint_ids)).scalar_subquery()
    query = (
        sa.select(
            made,
            SourceAsset.partition_key,
            SourceAsset.video_path,
            SourceAsset.checksum,
            SourceAsset.content_mark,
            SourceAsset.size,
            upstream.label("upstream"),
        )
        .join(SourceAsset, SourceAsset.id == made.c.source_asset_id)
        .order_by(SourceAsset.partition_key, made.c.stage_index)
        .execution_options(yield_per=_PAGE)
    )
    for found in session.execute(query):
        yield CheckpointInputs(
            partition_key=found.partition_key,
            video_path=found.video_path,
            checksum=found.checksum,
            content_mark=found.content_mark,
            size=found.size,
            stage=found.stage,
            profile_name=found.profile_name,
            fingerprint=found.fingerprint,
            config_snapshot=found.config_snapshot,
            config_overrides=found.config_overrides,
            stats=found.stats,
            upstream=tuple(sorted((found.upstream or {}).items())),
        )


def _first_of(
    table: type[DetectJob] | type[StageCheckpoint], *group: InstrumentedAttribute[Any]
) -> sa.Select[tuple[uuid.UUID]]:
    """The id of the newest row of each group."""
    order = sa.func.row_number().over(partition_by=group, order_by=(table.created_at.desc(), table.id))
    numbered = sa.select(table.id, order.label("rank")).subquery()
    return sa.select(numbered.c.id).where(numbered.c.rank == 1)
