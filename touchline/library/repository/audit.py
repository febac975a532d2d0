"""Queries of `touchline doctor --verify`: small answers about one source.

Belongs here: queries. `resources/audit.py` compares the answers with the object store.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from touchline.library.tables import DetectJob, StageCheckpoint


def checkpoint_ids(session: Session, source_asset_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """The ids of a source's checkpoints, oldest first."""
    query = sa.select(StageCheckpoint.id).where(StageCheckpoint.source_asset_id == source_asset_id)
    return session.scalars(query.order_by(StageCheckpoint.created_at, StageCheckpoint.id)).all()


def unknown_checkpoints(session: Session, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """The subset of `ids` that are not ids of checkpoints."""
    known = set(session.scalars(sa.select(StageCheckpoint.id).where(StageCheckpoint.id.in_(ids))))
    return [identity for identity in ids if identity not in known]


def reported_jobs(session: Session, source_asset_id: uuid.UUID) -> list[tuple[uuid.UUID, str, dict[str, Any]]]:
    """Id, report prefix and report files of a source's jobs that have a report, oldest first."""
    query = sa.select(DetectJob.id, DetectJob.report_prefix, DetectJob.report_files)
    query = query.where(DetectJob.source_asset_id == source_asset_id, DetectJob.report_prefix != "")
    rows = session.execute(query.order_by(DetectJob.created_at, DetectJob.id)).all()
    return [(identity, prefix, files) for identity, prefix, files in rows]
