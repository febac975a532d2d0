"""Queries of the garbage collection: the facts that decide which objects are needed.

Belongs here: queries. The rule is in `touchline/library/retention.py`.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from touchline.library.job_lifecycle import ACTIVE
from touchline.library.repository.checkpoints import lock_checkpoint
from touchline.library.retention import ADOPTABLE
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, StageCheckpoint
from touchline.nodes import NODE_NAMES

PAGE = 1000
"""Maximum number of ids in one query."""


@dataclass(frozen=True)
class ForeignReferences:
    """References to objects under the prefix of a job of another source, or of no known job.

    `sources`: the sources whose rows name such objects, by folder (the job's id as text). `reports`: the prefixes of
    reports of other jobs, by folder.
    """

    sources: dict[str, set[uuid.UUID]] = field(default_factory=dict)
    reports: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """State of a job and its source.

    `active`: the source has a pending or running job. `adoptable`: the jobs of the source from whose journals a later
    attempt may resume. `finished`: stage and fingerprint of every checkpoint of the source.
    """

    status: DetectJobStatus
    partition_key: str
    report_prefix: str
    active: bool
    adoptable: dict[uuid.UUID, DetectJobStatus]
    finished: frozenset[tuple[str, str]]
    source_asset_id: uuid.UUID


def known_jobs(session: Session, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """The subset of `ids` that are ids of jobs."""
    found: set[uuid.UUID] = set()
    for start in range(0, len(ids), PAGE):
        found.update(session.scalars(sa.select(DetectJob.id).where(DetectJob.id.in_(ids[start : start + PAGE]))))
    return found


def lock_commits(session: Session, job_id: uuid.UUID) -> None:
    """Takes the locks under which the checkpoints of a job are committed, until the transaction ends."""
    for stage in NODE_NAMES:
        lock_checkpoint(session, job_id, stage)


def foreign_references(session: Session) -> ForeignReferences:
    """All references across jobs. The server reads every manifest; the answer is small."""
    row = StageCheckpoint
    frame = sa.func.jsonb_each_text(row.frames_manifest).table_valued("key", "value").lateral()
    keys = sa.union_all(
        sa.select(row.source_asset_id.label("source"), row.stage_output_key.label("key")),
        sa.select(row.source_asset_id, frame.c.value).select_from(row).join(frame, sa.true()),
    ).subquery()
    folders = sa.select(keys.c.source, sa.func.split_part(keys.c.key, "/", 2).label("folder")).distinct().subquery()
    query = sa.select(folders.c.folder, folders.c.source)
    query = query.outerjoin(DetectJob, sa.cast(DetectJob.id, sa.Text()) == folders.c.folder)
    sources: dict[str, set[uuid.UUID]] = defaultdict(set)
    for folder, source in session.execute(query.where(DetectJob.source_asset_id.is_distinct_from(folders.c.source))):
        sources[folder].add(source)
    reports: dict[str, tuple[str, ...]] = {}
    own = sa.func.concat("reports/", sa.cast(DetectJob.id, sa.Text()), "/")
    prefixes = sa.select(DetectJob.report_prefix).where(DetectJob.report_prefix != "", DetectJob.report_prefix != own)
    for prefix in session.scalars(prefixes):
        folder = prefix.split("/")[1] if "/" in prefix else ""
        reports[folder] = (*reports.get(folder, ()), prefix)
    return ForeignReferences(dict(sources), reports)


def job_state(session: Session, job_id: uuid.UUID) -> JobState | None:
    """The state of a job; None if it is unknown."""
    query = sa.select(DetectJob.status, DetectJob.source_asset_id, DetectJob.report_prefix, SourceAsset.partition_key)
    query = query.join(SourceAsset, SourceAsset.id == DetectJob.source_asset_id).where(DetectJob.id == job_id)
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    status, source, prefix, partition_key = found
    others = sa.select(DetectJob.id, DetectJob.status).where(
        DetectJob.source_asset_id == source, DetectJob.status.in_(ACTIVE | ADOPTABLE)
    )
    unfinished = dict(session.execute(others).all())
    done = sa.select(StageCheckpoint.stage, StageCheckpoint.fingerprint).distinct()
    finished = session.execute(done.where(StageCheckpoint.source_asset_id == source))
    return JobState(
        status=status,
        partition_key=partition_key,
        report_prefix=prefix,
        active=any(state in ACTIVE for state in unfinished.values()),
        adoptable={identity: state for identity, state in unfinished.items() if state in ADOPTABLE},
        finished=frozenset((stage, fingerprint) for stage, fingerprint in finished),
        source_asset_id=source,
    )


def named_under(session: Session, prefix: str, sources: Collection[uuid.UUID]) -> set[str]:
    """The object keys with this prefix that checkpoints of these sources name."""
    return named_keys(
        session, StageCheckpoint.source_asset_id.in_(sources), lambda key: key.startswith(prefix, autoescape=True)
    )


def named_keys(
    session: Session, rows: sa.ColumnElement[bool], keys: Callable[[sa.ColumnElement[str]], sa.ColumnElement[bool]]
) -> set[str]:
    """The keys of outputs and frames that checkpoints name, of `rows` and with `keys`. Reads their manifests."""
    row = StageCheckpoint
    frame = sa.func.jsonb_each_text(row.frames_manifest).table_valued("key", "value").lateral()
    frames = sa.select(frame.c.value).select_from(row).join(frame, sa.true()).distinct()
    outputs = sa.select(row.stage_output_key).where(rows, keys(sa.type_coerce(row.stage_output_key, sa.Text())))
    return {*session.scalars(outputs), *session.scalars(frames.where(rows, keys(frame.c.value)))}
