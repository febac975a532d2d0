"""The tables: jobs, checkpoints, sources, uploads, known brands and their sightings, as SQLAlchemy 2 models.

Belongs here: columns, their types and what they mean. Queries are in `touchline/library/repository/`, connections in
`resources/database.py`, changes to tables that exist already in `migrations/`.

JSON columns are plain values: assign a new one to change it, a change inside it is not noticed.
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


class DetectJobStatus(StrEnum):
    """Where a job stands. Completed and cancelled are final; failed and paused jobs can be taken up again."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunType(StrEnum):
    """Why a job exists: all nodes (initial), from a stage on (replay), or after one that did not finish (retry)."""

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
    """Whether a source can be worked on."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that takes only aware times and gives them back in UTC, whatever the session's time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses naive times: they would be read in the server's zone. Raises ValueError."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"expected a time with a time zone, got {value!r}; use datetime.now(UTC)")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The same instant in UTC."""
        return None if value is None else value.astimezone(UTC)


class IntKeyed(TypeDecorator[dict[int, str]]):
    """JSONB object whose keys are integers in Python (JSON knows text keys only)."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: dict[int, str] | None, dialect: Dialect) -> dict[str, str] | None:
        """Integers to their decimal text."""
        return None if value is None else {str(int(key)): item for key, item in value.items()}

    def process_result_value(self, value: dict[str, str] | None, dialect: Dialect) -> dict[int, str] | None:
        """Back to integers, rising."""
        return None if value is None else {key: value[str(key)] for key in sorted(map(int, value))}


def _enum(kind: type[StrEnum], name: str) -> sa.Enum:
    """A text column that holds the enum's values, checked by the database too."""
    return sa.Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """Base of all models: keyword-only constructors with the defaults written below; equal means identical."""

    # What the database sets is read back at once, so that rows stay whole after their session.
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
    """The time of the insert by the database's clock, one for all machines."""
    return mapped_column(init=False, server_default=sa.func.clock_timestamp())


def _updated() -> Mapped[datetime]:
    """The time of the last change, by the same clock."""
    return mapped_column(init=False, server_default=sa.func.clock_timestamp(), onupdate=sa.func.clock_timestamp())


class SourceAsset(Base, kw_only=True, eq=False):
    """A video or image of the library. The same path is the same source on every machine."""

    __tablename__ = "source_assets"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    partition_key: Mapped[str] = mapped_column(unique=True)
    video_path: Mapped[str]
    checksum: Mapped[str] = mapped_column(default="")
    """Of a file, as `touchline.library.naming.checksum` makes it; of an object, `etag:` and its etag; empty while
    unknown."""
    duration: Mapped[float | None] = mapped_column(default=None)
    """Seconds."""
    fps: Mapped[float | None] = mapped_column(default=None)
    """Frames per second, average; nothing for an image."""
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
    """One invocation of the pipeline on one source. All jobs of a source are linked by `parent_job_id`."""

    __tablename__ = "detect_jobs"
    __table_args__ = (sa.Index(None, "source_asset_id", "created_at"), sa.Index(None, "status"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid.uuid4)
    source_asset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(SourceAsset.id))
    video_path: Mapped[str]
    profile_name: Mapped[str] = mapped_column(default=DEFAULT_PROFILE)
    parent_job_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("detect_jobs.id"), default=None)
    """The first job of this source's line; nothing for that job itself."""
    run_type: Mapped[RunType] = mapped_column(_enum(RunType, "run_type"), default=RunType.INITIAL)
    replay_from_stage: Mapped[str | None] = mapped_column(default=None)
    config_overrides: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    """What differs from the profile."""
    status: Mapped[DetectJobStatus] = mapped_column(_enum(DetectJobStatus, "status"), default=DetectJobStatus.PENDING)
    current_stage: Mapped[str | None] = mapped_column(default=None)
    progress: Mapped[float] = mapped_column(default=0.0)
    """Share of the whole job that is done, 0 to 1."""
    progress_at: Mapped[datetime | None] = mapped_column(default=None)
    """When it last showed that it gets on, by the database's clock; several times a minute while it works."""
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
    """Where the report's files lie in the object store; empty while there is no report."""
    report_files: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    """By name of each file of the report its `size` [bytes] and `sha256` (hex); empty in rows of earlier versions."""
    stop_requested: Mapped[DetectJobStatus | None] = mapped_column(
        _enum(DetectJobStatus, "stop_requested"), default=None
    )
    """Paused or cancelled: what somebody asked of a running job. Looked at between chunks."""
    created_at: Mapped[datetime] = _created()
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    completed_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the job ended, in whichever way: completed, failed or cancelled."""
    updated_at: Mapped[datetime] = _updated()


FRAMES: Final = "frames"
"""The columns that grow with the video: several MB for a match, so they are loaded only where they are asked for."""


class StageCheckpoint(Base, kw_only=True, eq=False):
    """What one finished stage left behind. Immutable; images and documents lie in the object store."""

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
    """Position of the stage among the nodes, 0 to 7."""
    frames_prefix: Mapped[str] = mapped_column(default="")
    """`checkpoints/{job_id}/frames/`, on the row of `extract_frames` alone, as the next two."""
    frames_manifest: Mapped[dict[int, str]] = mapped_column(
        default_factory=dict, repr=False, deferred=True, deferred_group=FRAMES
    )
    """Sequence to object key."""
    frames_meta: Mapped[list[dict[str, Any]]] = mapped_column(
        default_factory=list, repr=False, deferred=True, deferred_group=FRAMES
    )
    """sequence, chunk_id, timestamp (seconds), hash (SHA-256 of the JPEG) of each frame."""
    filtered_frame_sequences: Mapped[list[int]] = mapped_column(default_factory=list, repr=False)
    """The frames that `filter_scenes` kept, on its row alone."""
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
    """Of the stored blob, hex; checked at reading, as the size is."""
    stage_output_size: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Bytes."""
    fingerprint: Mapped[str] = mapped_column(default="")
    """Of stage, code version, settings, inputs and models: the same fingerprint, the same output."""
    item_count: Mapped[int] = mapped_column(default=0)
    """Documents in the blob."""
    input_checkpoint_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(sa.Uuid()), default_factory=list)
    """The checkpoints this one was computed from."""
    reused_from: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("stage_checkpoints.id"), default=None)
    """The checkpoint whose blob this row names, where nothing was computed anew."""
    wall_s: Mapped[float] = mapped_column(default=0.0)
    """Seconds of work."""
    created_at: Mapped[datetime] = _created()


class KnownBrand(Base, kw_only=True, eq=False):
    """A brand discovered or registered. Global; its id follows from its name."""

    __tablename__ = "known_brands"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    canonical_name: Mapped[str]
    aliases: Mapped[list[str]] = mapped_column(default_factory=list)
    first_source: Mapped[BrandSource] = mapped_column(_enum(BrandSource, "first_source"), default=BrandSource.OCR)
    total_occurrences: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Sum of the sightings' occurrences over all sources."""
    confirmed: Mapped[bool] = mapped_column(default=False)
    """Confirmed by a person."""
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()


class SourceBrandSighting(Base, kw_only=True, eq=False):
    """A brand as last seen in one source; one row for each pair."""

    __tablename__ = "source_brand_sightings"
    __table_args__ = (sa.UniqueConstraint("source_asset_id", "brand_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid.uuid4)
    source_asset_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(SourceAsset.id))
    brand_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(KnownBrand.id), index=True)
    brand_name: Mapped[str]
    first_seen_timestamp: Mapped[float] = mapped_column(default=0.0)
    """Seconds from the start of the video, as the next."""
    last_seen_timestamp: Mapped[float] = mapped_column(default=0.0)
    occurrences: Mapped[int] = mapped_column(default=0)
    detection_source: Mapped[BrandSource] = mapped_column(
        _enum(BrandSource, "detection_source"), default=BrandSource.OCR
    )
    avg_confidence: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime] = _created()


class Upload(Base, kw_only=True, eq=False):
    """One content that an upload has had: the ledger of the sensors of uploads. Rows are never deleted."""

    __tablename__ = "uploads"
    __table_args__ = (
        sa.Index(None, "partition_key"),
        # Few rows at any time: those whose run has to be looked for.
        sa.Index("ix_uploads_requested", "run_key", postgresql_where=sa.text("state = 'requested'")),
        # And those whose run may not have ended yet.
        sa.Index("ix_uploads_followed", "last_seen", postgresql_where=sa.text("state = 'started' AND over_at IS NULL")),
    )

    location: Mapped[str] = mapped_column(primary_key=True)
    """Where it lies: `s3://bucket/uploads/`, or a folder, with a slash at its end."""
    key: Mapped[str] = mapped_column(primary_key=True)
    """Its name there, folders included."""
    version: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, 3...: each content that was, in order of its coming."""
    etag: Mapped[str]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    """Bytes."""
    modified: Mapped[datetime]
    """By the clock of the place where it lies."""
    first_seen: Mapped[datetime]
    """When it was first seen with this content."""
    last_seen: Mapped[datetime]
    """When this row last changed: nothing is written for uploads that stay as they are."""
    gone_at: Mapped[datetime | None] = mapped_column(default=None)
    """When it was first seen to be there no more."""
    state: Mapped[UploadState] = mapped_column(_enum(UploadState, "state"), default=UploadState.WAITING)
    reason: Mapped[str] = mapped_column(default="")
    """Why it is refused or unchanged, what hindered the last attempt to look into it, or what ended its last run."""
    checksum: Mapped[str] = mapped_column(default="")
    """As in `source_assets`."""
    looks: Mapped[int] = mapped_column(default=0)
    """How often it was begun to look into this content."""
    partition_key: Mapped[str] = mapped_column(default="")
    run_key: Mapped[str] = mapped_column(default="")
    """Under which Dagster knows its run; while it waits, the run that looks into it."""
    tries: Mapped[int] = mapped_column(default=0)
    """How many runs were asked for so far; while it waits, how many that were to look into it ended too early."""
    ask_at: Mapped[datetime | None] = mapped_column(default=None)
    """Not before this is a run asked for again."""
    over_at: Mapped[datetime | None] = mapped_column(default=None)
    """When its run was known to have ended, and nothing more to be asked for."""


class RunLease(Base, kw_only=True, eq=False):
    """Which process does a Dagster run: there is none without, and two never do the same."""

    __tablename__ = "run_leases"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    """A random name, another for each claim: what the holder writes is conditional on it."""
    host: Mapped[str]
    """The machine, as its processes see it."""
    process: Mapped[dict[str, Any]]
    """The process on that machine: its number, and what tells it from others of that number."""
    version: Mapped[str] = mapped_column(default="")
    """Of Touchline, there."""
    claimed_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """When it was heard of last. This and the others are times of the database's clock."""
    doubted_at: Mapped[datetime | None] = mapped_column(default=None)
    """When somebody first found that it had not been heard of for too long; cleared by its next beat."""
