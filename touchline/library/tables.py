"""The tables as SQLAlchemy 2 models: sources, jobs, checkpoints, brands, uploads and run leases.

Belongs here: columns, types and their meaning. Queries are in `touchline/library/repository/`, connections in
`resources/database.py`, migrations in `migrations/`.

JSON columns are not mutable types: assign a new value, SQLAlchemy does not track changes inside one.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlalchemy.types import TypeDecorator

from touchline.library.intake import UploadState

DEFAULT_PROFILE: Final = "soccer_broadcast"
"""Name of the profile of a source that was registered without one."""


class DetectJobStatus(StrEnum):
    """Status of a job. Completed and cancelled are final; a new job can continue a failed or paused one."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunType(StrEnum):
    """Kind of a job: all stages (initial), from one stage on (replay), or continuing an unfinished job (retry)."""

    INITIAL = "initial"
    REPLAY = "replay"
    RETRY = "retry"


class BrandSource(StrEnum):
    """How a brand was first identified."""

    OCR = "ocr"
    VLM = "local_vlm"
    CLOUD = "cloud_llm"
    MANUAL = "manual"


class SourceState(StrEnum):
    """Whether a source can be processed."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that accepts aware times only and returns them in UTC, whatever the session's time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raises ValueError for a naive time, which the server would read in its own time zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"expected a time with a time zone, got {value!r}; use datetime.now(UTC)")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The same instant in UTC."""
        return None if value is None else value.astimezone(UTC)


class IntKeyed(TypeDecorator[dict[int, str]]):
    """JSONB object whose keys are integers in Python. JSON has text keys only."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: dict[int, str] | None, dialect: Dialect) -> dict[str, str] | None:
        """The keys as decimal text."""
        return None if value is None else {str(int(key)): item for key, item in value.items()}

    def process_result_value(self, value: dict[str, str] | None, dialect: Dialect) -> dict[int, str] | None:
        """The keys as integers, in ascending order."""
        return None if value is None else {key: value[str(key)] for key in sorted(map(int, value))}


def _enum(kind: type[StrEnum], name: str) -> sa.Enum:
    """A text column of the enum's values, with a CHECK constraint."""
    return sa.Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """Base of all models: dataclasses with keyword-only constructors, compared by identity."""

    # Server defaults are fetched at the flush, so that rows are complete after their session.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy reads it from the class

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: sa.Text(),
        uuid.UUID: sa.Uuid(),
        datetime: UtcDateTime(),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
        list[int]: JSONB(),
        list[str]: JSONB(),
        dict[int, str]: IntKeyed(),
        float: sa.Double(),
    }


def _created() -> Mapped[datetime]:
    """Time of the insert, by the database's clock."""
    return mapped_column(init=False, server_default=sa.func.clock_timestamp())


def _updated() -> Mapped[datetime]:
    """Time of the last update, by the database's clock."""
    return mapped_column(init=False, server_default=sa.func.clock_timestamp(), onupdate=sa.func.clock_timestamp())


class SourceAsset(Base, kw_only=True, eq=False):
    """A video or image of the library. A path is the same source on every machine."""

    __tablename__ = "source_assets"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    partition_key: Mapped[str] = mapped_column(unique=True)
    video_path: Mapped[str]
    checksum: Mapped[str] = mapped_column(default="")
    """Of a file, `touchline.library.naming.checksum`; of an object, `etag:` and its etag; empty if unknown."""
    content_mark: Mapped[str] = mapped_column(default="")
    """`naming.content_mark` of the file with this checksum; empty for objects and if unknown. The file is hashed again
    only if its mark differs."""
    duration: Mapped[float | None] = mapped_column(default=None)
    """Seconds."""
    fps: Mapped[float | None] = mapped_column(default=None)
    """Average frames per second; None for an image."""
    size: Mapped[int | None] = mapped_column(sa.BigInteger, default=None)
    """Bytes."""
    width: Mapped[int | None] = mapped_column(default=None)
    height: Mapped[int | None] = mapped_column(default=None)
    profile_name: Mapped[str] = mapped_column(default=DEFAULT_PROFILE)
    state: Mapped[SourceState] = mapped_column(_enum(SourceState, "state"), default=SourceState.ACCEPTED)
    rejection_reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()


class DetectJob(Base, kw_only=True, eq=False):
    """One invocation of the pipeline on one source."""

    __tablename__ = "detect_jobs"
    __table_args__ = (sa.Index(None, "source_asset_id", "created_at"), sa.Index(None, "status"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid.uuid4)
    source_asset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(SourceAsset.id))
    video_path: Mapped[str]
    profile_name: Mapped[str] = mapped_column(default=DEFAULT_PROFILE)
    parent_job_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("detect_jobs.id"), default=None)
    """The first job of the source; None for that job itself."""
    run_type: Mapped[RunType] = mapped_column(_enum(RunType, "run_type"), default=RunType.INITIAL)
    replay_from_stage: Mapped[str | None] = mapped_column(default=None)
    config_overrides: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    """Settings that differ from the profile."""
    status: Mapped[DetectJobStatus] = mapped_column(_enum(DetectJobStatus, "status"), default=DetectJobStatus.PENDING)
    current_stage: Mapped[str | None] = mapped_column(default=None)
    progress: Mapped[float] = mapped_column(default=0.0)
    """Completed share of the job, 0 to 1."""
    progress_at: Mapped[datetime | None] = mapped_column(default=None)
    """Time of the last progress, by the database's clock; updated several times a minute while the job runs."""
    error_message: Mapped[str | None] = mapped_column(default=None)
    total_detections: Mapped[int] = mapped_column(default=0)
    brands_found: Mapped[int] = mapped_column(default=0)
    cloud_llm_calls: Mapped[int] = mapped_column(default=0)
    estimated_cost_usd: Mapped[float] = mapped_column(default=0.0)
    celery_task_id: Mapped[str | None] = mapped_column(default=None)
    priority: Mapped[int] = mapped_column(default=0)
    dagster_run_id: Mapped[str | None] = mapped_column(default=None, index=True)
    partition_key: Mapped[str] = mapped_column(default="")
    report_prefix: Mapped[str] = mapped_column(default="")
    """Prefix of the report's objects; empty if there is no report."""
    report_files: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    """`size` [bytes] and `sha256` (hex) of each file of the report, by name; empty in rows of earlier versions."""
    stop_requested: Mapped[DetectJobStatus | None] = mapped_column(
        _enum(DetectJobStatus, "stop_requested"), default=None
    )
    """Requested status of a running job, paused or cancelled. The job checks it between chunks."""
    created_at: Mapped[datetime] = _created()
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    completed_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the job was completed, failed or cancelled."""
    updated_at: Mapped[datetime] = _updated()


FRAMES: Final = "frames"
"""Name of the deferred group of columns that list frames: several MB for a match, loaded on request."""


class StageCheckpoint(Base, kw_only=True, eq=False):
    """The output of one finished stage. Immutable; frames and documents are in the object store."""

    __tablename__ = "stage_checkpoints"
    __table_args__ = (
        sa.Index(None, "job_id", "stage"),
        sa.Index(None, "source_asset_id", "stage", "created_at"),
        sa.Index(None, "source_asset_id", "stage", "fingerprint"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid.uuid4)
    job_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(DetectJob.id))
    stage: Mapped[str]
    stage_index: Mapped[int]
    """Index of the stage in the pipeline, 0 to 7."""
    frames_prefix: Mapped[str] = mapped_column(default="")
    """`checkpoints/{job_id}/frames/`; empty for stages other than `extract_frames`."""
    frames_manifest: Mapped[dict[int, str]] = mapped_column(
        default_factory=dict, repr=False, deferred=True, deferred_group=FRAMES
    )
    """Object key of each frame, by sequence; empty for stages other than `extract_frames`."""
    frames_meta: Mapped[list[dict[str, Any]]] = mapped_column(
        default_factory=list, repr=False, deferred=True, deferred_group=FRAMES
    )
    """`sequence`, `chunk_id`, `timestamp` [s] and `hash` (SHA-256 of the JPEG) of each frame; empty for stages other
    than `extract_frames`."""
    filtered_frame_sequences: Mapped[list[int]] = mapped_column(default_factory=list, repr=False)
    """Sequences of the frames that `filter_scenes` kept; empty for other stages."""
    stage_output_key: Mapped[str] = mapped_column(default="")
    stats: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    config_snapshot: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    config_overrides: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    video_path: Mapped[str] = mapped_column(default="")
    profile_name: Mapped[str] = mapped_column(default="")
    is_scenario: Mapped[bool] = mapped_column(default=False)
    scenario_label: Mapped[str] = mapped_column(default="")
    source_asset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(SourceAsset.id))
    stage_output_sha256: Mapped[str] = mapped_column(default="")
    """SHA-256 of the stored blob, hex; checked when it is read."""
    stage_output_size: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Size of the stored blob [bytes]; checked when it is read."""
    fingerprint: Mapped[str] = mapped_column(default="")
    """Hash of stage, code version, settings, inputs and models. Equal fingerprints mean equal outputs."""
    item_count: Mapped[int] = mapped_column(default=0)
    """Number of documents in the blob."""
    input_checkpoint_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(sa.Uuid()), default_factory=list)
    """Ids of the checkpoints it was computed from."""
    reused_from: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("stage_checkpoints.id"), default=None)
    """The checkpoint whose blob this row reuses; None if it was computed."""
    wall_s: Mapped[float] = mapped_column(default=0.0)
    """Duration of the computation [s]."""
    created_at: Mapped[datetime] = _created()


class KnownBrand(Base, kw_only=True, eq=False):
    """A detected or registered brand of the whole library. Its id is derived from its name."""

    __tablename__ = "known_brands"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    canonical_name: Mapped[str]
    aliases: Mapped[list[str]] = mapped_column(default_factory=list)
    first_source: Mapped[BrandSource] = mapped_column(_enum(BrandSource, "first_source"), default=BrandSource.OCR)
    total_occurrences: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Sum of `SourceBrandSighting.occurrences` over all sources."""
    confirmed: Mapped[bool] = mapped_column(default=False)
    """Whether a user confirmed the brand."""
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()


class SourceBrandSighting(Base, kw_only=True, eq=False):
    """A brand as last detected in one source; one row for each pair."""

    __tablename__ = "source_brand_sightings"
    __table_args__ = (sa.UniqueConstraint("source_asset_id", "brand_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid.uuid4)
    source_asset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(SourceAsset.id))
    brand_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(KnownBrand.id), index=True)
    brand_name: Mapped[str]
    first_seen_timestamp: Mapped[float] = mapped_column(default=0.0)
    """Seconds from the start of the video."""
    last_seen_timestamp: Mapped[float] = mapped_column(default=0.0)
    """Seconds from the start of the video."""
    occurrences: Mapped[int] = mapped_column(default=0)
    detection_source: Mapped[BrandSource] = mapped_column(
        _enum(BrandSource, "detection_source"), default=BrandSource.OCR
    )
    avg_confidence: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime] = _created()


class Upload(Base, kw_only=True, eq=False):
    """One content of one upload: the ledger of the sensor `new_uploads`. Rows are never deleted."""

    __tablename__ = "uploads"
    __table_args__ = (
        sa.Index(None, "partition_key"),
        # Partial indexes over few rows: versions whose run is requested, and whose run has not ended.
        sa.Index("ix_uploads_requested", "run_key", postgresql_where=sa.text("state = 'requested'")),
        sa.Index("ix_uploads_followed", "last_seen", postgresql_where=sa.text("state = 'started' AND over_at IS NULL")),
    )

    location: Mapped[str] = mapped_column(primary_key=True)
    """`s3://bucket/uploads/` or the path of a folder, with a slash at the end."""
    key: Mapped[str] = mapped_column(primary_key=True)
    """Name relative to the location, including folders."""
    version: Mapped[int] = mapped_column(primary_key=True)
    """Number of this content of the upload, from 1 on."""
    etag: Mapped[str]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    """Bytes."""
    modified: Mapped[datetime]
    """Time of the last modification, by the clock of the location."""
    first_seen: Mapped[datetime]
    """When this content was first listed."""
    last_seen: Mapped[datetime]
    """When this row last changed. A scan that finds no change writes nothing."""
    gone_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a scan found that it was removed."""
    state: Mapped[UploadState] = mapped_column(_enum(UploadState, "state"), default=UploadState.WAITING)
    reason: Mapped[str] = mapped_column(default="")
    """Why it is refused or unchanged, why the last probe had no result, or why the last run ended."""
    checksum: Mapped[str] = mapped_column(default="")
    """Checksum of the content, as `SourceAsset.checksum`."""
    looks: Mapped[int] = mapped_column(default=0)
    """Number of probes of this content that were begun."""
    partition_key: Mapped[str] = mapped_column(default="")
    run_key: Mapped[str] = mapped_column(default="")
    """Dagster run key of its run; while it waits, of its ingest run."""
    tries: Mapped[int] = mapped_column(default=0)
    """Number of requested runs; while it waits, of ingest runs that ended too early."""
    ask_at: Mapped[datetime | None] = mapped_column(default=None)
    """Earliest time of the next run request."""
    over_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the end of its run was recorded; no retry follows."""


class RunLease(Base, kw_only=True, eq=False):
    """The process that executes a Dagster run. A run has at most one lease."""

    __tablename__ = "run_leases"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    """Random id of the claim. Every write of the process is conditional on it."""
    host: Mapped[str]
    """Host name and process namespace of the process (`resources/holders.py`)."""
    process: Mapped[dict[str, Any]]
    """`pid` of the process, and its `identity`, which tells it from other processes with this pid."""
    version: Mapped[str] = mapped_column(default="")
    """Version of Touchline that the process runs."""
    claimed_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """Time of the last renewal, by the database's clock."""
    doubted_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the lease was found not to be renewed for too long, by the database's clock; cleared by a renewal."""
