"""The Postgres database: engine, sessions and migrations.

Belongs here: connections, and retries while the server is unavailable. Tables are in `touchline/library/tables.py`,
queries in `touchline/library/repository/`, migrations in `migrations/`. Dagster has its own tables in the same
database, and its own connections.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from resources.retry import DEFAULT_RETRY_S, call_with_retry, is_transient
from touchline.disk import shortage
from touchline.errors import ServiceError
from touchline.home import home
from touchline.library.driver import with_driver

MIGRATION_LOCK: Final = 0x746F7563686C696E
"""Number of the advisory lock under which tables are migrated ("touchlin" in ASCII)."""
VERSION_TABLE: Final = "touchline_alembic_version"
"""Table of the current Alembic revision (`migrations/env.py`)."""
IDLE_S: Final = 5.0
"""Idle time after which a pooled connection is tested with a query [s]. A server that vanished closes no connection."""

T = TypeVar("T")


class Database:
    """A Postgres database. Connects at the first use. Thread-safe.

    `url` is a SQLAlchemy URL. `patience_s` is the retry deadline for a server that is unavailable [s].
    """

    def __init__(self, url: str, *, patience_s: float = DEFAULT_RETRY_S) -> None:
        self.url: Final = _checked(url)
        self.patience_s: Final = patience_s
        self.engine: Final = sa.create_engine(
            self.url,
            pool_size=4,
            max_overflow=8,
            connect_args={
                "connect_timeout": 10,
                "application_name": "touchline",
                # A server that vanishes is detected in half a minute instead of hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
            },
        )
        discard_dead_connections(self.engine)

    @property
    def address(self) -> str:
        """Host, port and database name, or the folder of the Unix socket. Without user and password."""
        socket = self.url.query.get("host", "local socket")
        return f"{self.url.host}:{self.url.port or 5432}/{self.url.database}" if self.url.host else f"{socket}"

    @contextmanager
    def session(self, *, patience_s: float | None = None) -> Iterator[Session]:
        """A session in one transaction, committed at the end and rolled back on an exception.

        Connecting is retried for `patience_s` seconds, by default those of the database. Rows stay readable after the
        session. Raises ServiceError if the server is unavailable, or becomes so in the block (see `transact`).
        """
        with self._reaching():
            connection = self._retried(self.engine.connect, patience_s)
            # Rows are used after their session, by stages and assets.
            with connection, Session(connection, expire_on_commit=False) as session, session.begin():
                yield session

    def transact(self, work: Callable[[Session], T]) -> T:
        """The result of `work`, called in one transaction, which is retried if the connection is lost.

        `work` must be idempotent: the answer to the commit may be lost. Raises ServiceError if the server is
        unavailable, and the exceptions of `work`.
        """

        def attempt() -> T:
            with (
                self.engine.connect() as connection,
                Session(connection, expire_on_commit=False) as session,
                session.begin(),
            ):
                return work(session)

        with self._reaching():
            return self._retried(attempt, None)

    def ping(self) -> str:
        """The server's version, from a query. Raises ServiceError if the server is unavailable."""

        def ask() -> str:
            with self.engine.connect() as connection:
                return str(connection.execute(sa.text("SHOW server_version")).scalar_one())

        with self._reaching():
            return self._retried(ask, None)

    def migrate(self) -> None:
        """Migrates the tables to the newest revision, in one transaction that is retried. Safe to call concurrently.

        Raises ServiceError if the server is unavailable, or if the tables are of a newer Touchline.
        """
        if self._version() == _newest_migration():
            # The usual case, 50 times faster than Alembic.
            return
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))

        def upgrade() -> None:
            with self.engine.begin() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

        try:
            with self._reaching():
                self._retried(upgrade, None)
        except CommandError as error:
            raise ServiceError(
                f"the tables at {self.address} cannot be brought up to date ({error}); "
                "they may be of a newer Touchline: use that one, or another database"
            ) from error

    def _version(self) -> str | None:
        """The current revision of the tables; None if there is none or more than one."""

        def ask() -> list[str]:
            with self.engine.connect() as connection:
                if connection.execute(sa.select(sa.func.to_regclass(VERSION_TABLE))).scalar_one() is None:
                    return []
                noted: sa.Select[str] = sa.select(sa.column("version_num", sa.String)).select_from(
                    sa.table(VERSION_TABLE)
                )
                return list(connection.execute(noted).scalars())

        with self._reaching():
            found = self._retried(ask, None)
        return found[0] if len(found) == 1 else None

    def close(self) -> None:
        """Closes the pooled connections. The next use opens new ones."""
        self.engine.dispose()

    def _retried(self, work: Callable[[], T], patience_s: float | None) -> T:
        """The result of `work`, retried until the deadline with growing random pauses."""
        seconds = self.patience_s if patience_s is None else patience_s
        return call_with_retry(work, _unavailable, deadline_s=seconds, name=f"Postgres at {self.address}")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise self.service_error(error) from error

    def service_error(self, error: BaseException) -> ServiceError:
        """The ServiceError for a database error."""
        if not self.url.host and (full := shortage(home())):
            # The embedded server fails in many ways when its disk is full.
            return ServiceError(f"Postgres at {self.address} failed: {full}")
        reason = (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0]
        return ServiceError(
            f"Postgres at {self.address} failed: {reason}. `touchline doctor` shows what is reachable; once it is "
            "back, run the same again: finished work is kept"
        )


def discard_dead_connections(engine: sa.Engine) -> None:
    """Makes the engine's pool replace dead connections, for example after a restart of the server.

    A replacement for `pool_pre_ping`, whose queries are two fifths of those of a run. It checks whether data arrived on
    the idle socket, as it does when the server closes the connection. After IDLE_S it tests with a query.
    """

    @sa.event.listens_for(engine, "checkin")
    def used(_connection: object, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _proxy: object) -> None:
        try:
            arrived = select.poll()
            arrived.register(connection.fileno(), select.POLLIN)
            if time.monotonic() - record.info.get("used", -IDLE_S) < IDLE_S and not arrived.poll(0):
                return
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except connection.Error as error:
            # At this exception the pool replaces its connections.
            raise sa.exc.InvalidatePoolError(str(error)) from error


def _unavailable(error: BaseException) -> bool:
    """Whether the server is unavailable, as opposed to a server that refuses."""
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return False
    message = str(error.orig)
    if not is_transient(message):
        return False
    if "FATAL:" in message:
        return True
    # A failed connection has no SQLSTATE; a failed statement has one.
    return error.connection_invalidated or getattr(error.orig, "pgcode", None) is None


def migrations_folder() -> Path:
    """The folder of the package `migrations`."""
    import migrations

    return Path(next(iter(migrations.__path__)))


def _newest_migration() -> str:
    """The newest revision, from the file names of the migrations."""
    return max(path.name for path in (migrations_folder() / "versions").glob("[0-9]*_*.py")).partition("_")[0]


def _checked(url: str) -> sa.URL:
    """The URL with the installed driver. Raises ServiceError if it is not the URL of a Postgres database."""
    try:
        parsed = sa.make_url(with_driver(url))
    except sa.exc.ArgumentError as error:
        raise ServiceError(
            "TOUCHLINE_POSTGRES_URL is not a URL; expected postgresql+psycopg2://user@host/name"
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise ServiceError(f"expected the URL of a Postgres database, got one of {parsed.get_backend_name()}")
    return parsed
