"""Leases of runs, and the retries of uploads whose run ended too early."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = ("waiting", "requested", "started", "refused", "unchanged", "forgotten")
AFTER = ("waiting", "requested", "started", "failed", "refused", "unchanged", "forgotten")


def upgrade() -> None:
    op.create_table(
        "run_leases",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process", JSONB(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("doubted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_leases")),
    )
    op.add_column("uploads", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("uploads", "tries", server_default=None)
    op.add_column("uploads", sa.Column("ask_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("uploads", sa.Column("over_at", sa.DateTime(timezone=True), nullable=True))
    _allow(AFTER)
    op.execute("UPDATE uploads SET tries = 1 WHERE state IN ('requested', 'started')")
    # Uploads with a job need no check. The others' runs may have ended before they began and are checked again.
    op.execute(
        "UPDATE uploads SET over_at = last_seen WHERE state = 'started' AND EXISTS "
        "(SELECT 1 FROM detect_jobs WHERE detect_jobs.partition_key = uploads.partition_key)"
    )
    op.create_index(
        "ix_uploads_followed",
        "uploads",
        ["last_seen"],
        unique=False,
        postgresql_where=sa.text("state = 'started' AND over_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_uploads_followed", table_name="uploads")
    op.execute("UPDATE uploads SET state = 'started' WHERE state = 'failed'")
    _allow(BEFORE)
    for name in ("over_at", "ask_at", "tries"):
        op.drop_column("uploads", name)
    op.drop_table("run_leases")


def _allow(states: Sequence[str]) -> None:
    op.drop_constraint(op.f("ck_uploads_state"), "uploads", type_="check")
    listed = ", ".join(f"'{state}'" for state in states)
    op.create_check_constraint(op.f("ck_uploads_state"), "uploads", f"state IN ({listed})")
