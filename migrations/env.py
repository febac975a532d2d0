"""How Alembic reaches the database: by the connection handed over, else by TOUCHLINE_POSTGRES_URL."""

import os
from typing import Any

import sqlalchemy as sa
from alembic import context

from touchline.library.driver import with_driver
from touchline.library.tables import Base

VERSION_TABLE = "touchline_alembic_version"
"""Dagster keeps its own `alembic_version` in the same database."""


def ours(name: str | None, kind: str, parents: Any) -> bool:
    """Whether a thing found in the database is Touchline's; all others are left alone."""
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
        raise SystemExit("set TOUCHLINE_POSTGRES_URL to the database whose tables are meant")
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
