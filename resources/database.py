"""The database: one engine, sessions that are transactions, and bringing the tables up to date.

Belongs here: connecting. Tables are in `touchline/schema.py`, queries in `touchline/repository/`, the steps from one
version of the tables to the next in `migrations/`. Dagster keeps its own tables in the same database, on connections
of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from touchline.errors import ServiceError

MIGRATION_LOCK: Final = 0x746F7563686C696E
"""Number of the advisory lock under which tables are changed ("touchlin" in ASCII): one process at a time."""


class Database:
    """A Postgres database by its SQLAlchemy URL; nothing is opened before the first use. Safe to share by threads."""

    def __init__(self, url: str) -> None:
        self.url: Final = _with_driver(url)
        self.engine: Final = sa.create_engine(
            self.url,
            pool_size=4,
            max_overflow=8,
            pool_pre_ping=True,  # a server that was restarted must not fail the next question
            connect_args={"connect_timeout": 10, "application_name": "touchline"},
        )
        # Rows outlive their session: they are handed to stages and assets.
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def address(self) -> str:
        """Host, port and database name; no user, no password."""
        return f"{self.url.host or 'local socket'}:{self.url.port or 5432}/{self.url.database}"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that is one transaction: committed at the end, rolled back if an exception leaves the block.

        Rows stay readable afterwards. Raises ServiceError if the server cannot be reached or goes away.
        """
        with self._reaching(), self._sessions() as session, session.begin():
            yield session

    def ping(self) -> str:
        """The server's version, from a real question. Raises ServiceError if there is no answer."""
        with self._reaching(), self.engine.connect() as connection:
            return str(connection.execute(sa.text("SHOW server_version")).scalar_one())

    def migrate(self) -> None:
        """Brings the tables to this version; where they are already, it changes nothing. Any number may call at once.

        Raises ServiceError if the server cannot be reached, or its tables are of a newer Touchline.
        """
        # Alembic is needed once a process, if at all.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
        with self._reaching(), self.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise ServiceError(
                    f"the tables at {self.address} cannot be brought up to date ({error}); "
                    "they may be of a newer Touchline: use that one, or another database"
                ) from error

    def close(self) -> None:
        """Closes idle connections; the next use opens new ones."""
        self.engine.dispose()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            reason = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
            raise ServiceError(
                f"Postgres at {self.address} failed: {reason}. `touchline doctor` tells what is reachable"
            ) from error


def migrations_folder() -> Path:
    """Where the migrations lie: beside the packages, in a checkout as in an installation."""
    import migrations

    return Path(next(iter(migrations.__path__)))


def _with_driver(url: str) -> sa.URL:
    """SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3, which is not installed."""
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except sa.exc.ArgumentError as error:
        raise ServiceError("TOUCHLINE_POSTGRES_URL is no URL; expected postgresql+psycopg2://user@host/name") from error
    if parsed.get_backend_name() != "postgresql":
        raise ServiceError(f"expected the URL of a Postgres database, got one of {parsed.get_backend_name()}")
    return parsed.set(drivername="postgresql+psycopg2")
