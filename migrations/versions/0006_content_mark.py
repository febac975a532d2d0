"""The content mark of a source's file: whether the file changed, without reading it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("source_assets", sa.Column("content_mark", sa.Text(), nullable=False, server_default=""))
    op.alter_column("source_assets", "content_mark", server_default=None)


def downgrade() -> None:
    op.drop_column("source_assets", "content_mark")
