"""The first tables: sources, jobs, checkpoints, known brands and their sightings."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("clock_timestamp()")


def _one_of(name: str, *values: str) -> sa.Enum:
    """A text column with a CHECK constraint on its values."""
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    op.create_table(
        "known_brands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("canonical_name", sa.Text(), nullable=False),
        sa.Column("aliases", JSONB(), nullable=False),
        sa.Column("first_source", _one_of("first_source", "ocr", "local_vlm", "cloud_llm", "manual"), nullable=False),
        sa.Column("total_occurrences", sa.BigInteger(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_brands")),
    )
    op.create_table(
        "source_assets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("video_path", sa.Text(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("fps", sa.Double(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("profile_name", sa.Text(), nullable=False),
        sa.Column("state", _one_of("state", "accepted", "rejected"), nullable=False),
        sa.Column("rejection_reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_assets")),
        sa.UniqueConstraint("partition_key", name=op.f("uq_source_assets_partition_key")),
    )
    op.create_table(
        "detect_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_asset_id", sa.Uuid(), nullable=False),
        sa.Column("video_path", sa.Text(), nullable=False),
        sa.Column("profile_name", sa.Text(), nullable=False),
        sa.Column("parent_job_id", sa.Uuid(), nullable=True),
        sa.Column("run_type", _one_of("run_type", "initial", "replay", "retry"), nullable=False),
        sa.Column("replay_from_stage", sa.Text(), nullable=True),
        sa.Column("config_overrides", JSONB(), nullable=False),
        sa.Column(
            "status",
            _one_of("status", "pending", "running", "paused", "completed", "failed", "cancelled"),
            nullable=False,
        ),
        sa.Column("current_stage", sa.Text(), nullable=True),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("total_detections", sa.Integer(), nullable=False),
        sa.Column("brands_found", sa.Integer(), nullable=False),
        sa.Column("cloud_llm_calls", sa.Integer(), nullable=False),
        sa.Column("estimated_cost_usd", sa.Double(), nullable=False),
        sa.Column("celery_task_id", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=True),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("report_prefix", sa.Text(), nullable=False),
        sa.Column(
            "stop_requested",
            _one_of("stop_requested", "pending", "running", "paused", "completed", "failed", "cancelled"),
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["parent_job_id"], ["detect_jobs.id"], name=op.f("fk_detect_jobs_parent_job_id")),
        sa.ForeignKeyConstraint(["source_asset_id"], ["source_assets.id"], name=op.f("fk_detect_jobs_source_asset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_detect_jobs")),
    )
    op.create_index(op.f("ix_detect_jobs_dagster_run_id"), "detect_jobs", ["dagster_run_id"], unique=False)
    op.create_index(
        op.f("ix_detect_jobs_source_asset_id_created_at"),
        "detect_jobs",
        ["source_asset_id", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_detect_jobs_status"), "detect_jobs", ["status"], unique=False)
    op.create_table(
        "source_brand_sightings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_asset_id", sa.Uuid(), nullable=False),
        sa.Column("brand_id", sa.Uuid(), nullable=False),
        sa.Column("brand_name", sa.Text(), nullable=False),
        sa.Column("first_seen_timestamp", sa.Double(), nullable=False),
        sa.Column("last_seen_timestamp", sa.Double(), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column(
            "detection_source", _one_of("detection_source", "ocr", "local_vlm", "cloud_llm", "manual"), nullable=False
        ),
        sa.Column("avg_confidence", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["brand_id"], ["known_brands.id"], name=op.f("fk_source_brand_sightings_brand_id")),
        sa.ForeignKeyConstraint(
            ["source_asset_id"], ["source_assets.id"], name=op.f("fk_source_brand_sightings_source_asset_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_brand_sightings")),
        sa.UniqueConstraint(
            "source_asset_id", "brand_id", name=op.f("uq_source_brand_sightings_source_asset_id_brand_id")
        ),
    )
    op.create_index(op.f("ix_source_brand_sightings_brand_id"), "source_brand_sightings", ["brand_id"], unique=False)
    op.create_table(
        "stage_checkpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("stage_index", sa.Integer(), nullable=False),
        sa.Column("frames_prefix", sa.Text(), nullable=False),
        sa.Column("frames_manifest", JSONB(), nullable=False),
        sa.Column("frames_meta", JSONB(), nullable=False),
        sa.Column("filtered_frame_sequences", JSONB(), nullable=False),
        sa.Column("stage_output_key", sa.Text(), nullable=False),
        sa.Column("stats", JSONB(), nullable=False),
        sa.Column("config_snapshot", JSONB(), nullable=False),
        sa.Column("config_overrides", JSONB(), nullable=False),
        sa.Column("video_path", sa.Text(), nullable=False),
        sa.Column("profile_name", sa.Text(), nullable=False),
        sa.Column("is_scenario", sa.Boolean(), nullable=False),
        sa.Column("scenario_label", sa.Text(), nullable=False),
        sa.Column("source_asset_id", sa.Uuid(), nullable=False),
        sa.Column("stage_output_sha256", sa.Text(), nullable=False),
        sa.Column("stage_output_size", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("input_checkpoint_ids", ARRAY(sa.Uuid()), nullable=False),
        sa.Column("reused_from", sa.Uuid(), nullable=True),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["detect_jobs.id"], name=op.f("fk_stage_checkpoints_job_id")),
        sa.ForeignKeyConstraint(
            ["reused_from"], ["stage_checkpoints.id"], name=op.f("fk_stage_checkpoints_reused_from")
        ),
        sa.ForeignKeyConstraint(
            ["source_asset_id"], ["source_assets.id"], name=op.f("fk_stage_checkpoints_source_asset_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_checkpoints")),
    )
    op.create_index(op.f("ix_stage_checkpoints_job_id_stage"), "stage_checkpoints", ["job_id", "stage"], unique=False)
    op.create_index(
        op.f("ix_stage_checkpoints_source_asset_id_stage_created_at"),
        "stage_checkpoints",
        ["source_asset_id", "stage", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_stage_checkpoints_source_asset_id_stage_fingerprint"),
        "stage_checkpoints",
        ["source_asset_id", "stage", "fingerprint"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_stage_checkpoints_source_asset_id_stage_fingerprint"), table_name="stage_checkpoints")
    op.drop_index(op.f("ix_stage_checkpoints_source_asset_id_stage_created_at"), table_name="stage_checkpoints")
    op.drop_index(op.f("ix_stage_checkpoints_job_id_stage"), table_name="stage_checkpoints")
    op.drop_table("stage_checkpoints")
    op.drop_index(op.f("ix_source_brand_sightings_brand_id"), table_name="source_brand_sightings")
    op.drop_table("source_brand_sightings")
    op.drop_index(op.f("ix_detect_jobs_status"), table_name="detect_jobs")
    op.drop_index(op.f("ix_detect_jobs_source_asset_id_created_at"), table_name="detect_jobs")
    op.drop_index(op.f("ix_detect_jobs_dagster_run_id"), table_name="detect_jobs")
    op.drop_table("detect_jobs")
    op.drop_table("source_assets")
    op.drop_table("known_brands")
