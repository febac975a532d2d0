"""The size and SHA-256 of each file of a job's report, and the number of probes of an upload."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("detect_jobs", sa.Column("report_files", JSONB(), nullable=False, server_default="{}"))
    op.alter_column("detect_jobs", "report_files", server_default=None)
    op.add_column("uploads", sa.Column("looks", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("uploads", "looks", server_default=None)


def downgrade() -> None:
    op.drop_column("uploads", "looks")
    op.drop_column("detect_jobs", "report_files")
