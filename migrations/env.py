"""Alembic environment: uses the connection in `config.attributes`, else TOUCHLINE_POSTGRES_URL."""

import os
from typing import Any

import sqlalchemy as sa
from alembic import context

from touchline.library.driver import with_driver
from touchline.library.tables import Base

VERSION_TABLE = "touchline_alembic_version"
"""Table of the current revision. Dagster has its own `alembic_version` in the same database."""


def ours(name: str | None, kind: str, parents: Any) -> bool:
    """Whether a table of the database is one of Touchline's. Alembic ignores the others."""
    return kind != "table" or name in Base.metadata.tables


def run(**options: Any) -> None:
    context.configure(
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        include_name=ours,
        compare_server_default=False,
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()


def url() -> sa.URL:
    text = os.environ.get("TOUCHLINE_POSTGRES_URL", "")
    if not text:
        raise SystemExit("set TOUCHLINE_POSTGRES_URL to the database to migrate")
    return sa.make_url(with_driver(text))


connection = context.config.attributes.get("connection")
if connection is not None:
    run(connection=connection)
elif context.is_offline_mode():
    run(url=url(), literal_binds=True, dialect_opts={"paramstyle": "named"})
else:
    engine = sa.create_engine(url(), poolclass=sa.NullPool)
    with engine.connect() as opened:
        run(connection=opened)
