"""Delete the rows of a retired source in two steps, so that no row names a deleted blob in between.

Belongs here: the rows of one source. Blobs, partition and the order of the steps are in
`detection_assets/upkeep/retire_source.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from touchline.errors import TouchlineError
from touchline.library.repository.known_brands import delete_sightings
from touchline.library.repository.retention_facts import named_keys
from touchline.library.repository.upload_ledger import forget_uploads
from touchline.library.tables import (
    DetectJob,
    DetectJobStatus,
    SourceAsset,
    SourceBrandSighting,
    SourceState,
    StageCheckpoint,
)

FORGETTING = "being forgotten; `touchline forget` again finishes it"
"""Value of `SourceAsset.rejection_reason` between the two steps of `touchline forget`."""


@dataclass(frozen=True, slots=True)
class SourceInventory:
    """The rows of a source: the ids of its jobs and of its running jobs, and numbers of checkpoints and sightings."""

    jobs: tuple[uuid.UUID, ...]
    running: tuple[uuid.UUID, ...]
    checkpoints: int
    sightings: int


def source_inventory(session: Session, source_asset_id: uuid.UUID) -> SourceInventory:
    """Counts the rows of a source. Locks its row: no job can be created for it until the transaction ends."""
    session.execute(sa.select(SourceAsset.id).where(SourceAsset.id == source_asset_id).with_for_update())
    query = sa.select(DetectJob.id, DetectJob.status).where(DetectJob.source_asset_id == source_asset_id)
    jobs = session.execute(query.order_by(DetectJob.created_at)).all()
    counts = [
        session.scalar(sa.select(sa.func.count()).select_from(table).where(table.source_asset_id == source_asset_id))
        for table in (StageCheckpoint, SourceBrandSighting)
    ]
    running = tuple(identity for identity, status in jobs if status is DetectJobStatus.RUNNING)
    return SourceInventory(tuple(identity for identity, _ in jobs), running, counts[0] or 0, counts[1] or 0)


def named_by_others(session: Session, source_asset_id: uuid.UUID, prefixes: Sequence[str]) -> set[str]:
    """The object keys under `prefixes` that checkpoints or reports of other sources name. Reads every manifest."""
    if not prefixes:
        return set()
    patterns = sa.cast([f"{prefix}%" for prefix in prefixes], ARRAY(sa.Text()))
    other = StageCheckpoint.source_asset_id != source_asset_id
    return named_keys(session, other, lambda key: key.like(sa.any_(patterns)))


def delete_findings(session: Session, source_asset_id: uuid.UUID) -> None:
    """First step: deletes checkpoints and sightings, and marks the source with FORGETTING.

    The source and its jobs are kept, to find the blobs by. The totals of the brands are updated.
    """
    row = StageCheckpoint
    ours = sa.select(row.id).where(row.source_asset_id == source_asset_id)
    # A row of another source that reuses a checkpoint of this one keeps the blob.
    others = sa.update(row).where(row.source_asset_id != source_asset_id, row.reused_from.in_(ours))
    session.execute(others.values(reused_from=None).execution_options(synchronize_session=False))
    deleted = sa.delete(row).where(row.source_asset_id == source_asset_id)
    session.execute(deleted.execution_options(synchronize_session=False))
    delete_sightings(session, source_asset_id)
    jobs = sa.update(DetectJob).where(DetectJob.source_asset_id == source_asset_id)
    session.execute(jobs.values(report_prefix="").execution_options(synchronize_session=False))
    source = sa.update(SourceAsset).where(SourceAsset.id == source_asset_id)
    marked = source.values(state=SourceState.REJECTED, rejection_reason=FORGETTING)
    session.execute(marked.execution_options(synchronize_session=False))
    key = session.scalar(sa.select(SourceAsset.partition_key).where(SourceAsset.id == source_asset_id))
    forget_uploads(session, key or "")


def delete_source(session: Session, source_asset_id: uuid.UUID, jobs: Sequence[uuid.UUID]) -> None:
    """Second step, after the blobs were deleted: deletes `jobs` and the source.

    Raises TouchlineError if a job was created in the meantime: it may have blobs.
    """
    found = source_inventory(session, source_asset_id)
    if set(found.jobs) - set(jobs) or found.checkpoints:
        raise TouchlineError(
            f"source {source_asset_id}: a job began while the source was being forgotten; cancel it, then run "
            "`touchline forget` again"
        )
    for statement in (
        sa.delete(DetectJob).where(DetectJob.source_asset_id == source_asset_id),
        sa.delete(SourceAsset).where(SourceAsset.id == source_asset_id),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
