"""The database: one engine, sessions that are transactions, and bringing the tables up to date.

Belongs here: connecting, and patience with a server that is away for a while. Tables are in
`touchline/library/tables.py`, queries in `touchline/library/repository/`, the steps from one version of the tables to
the next in `migrations/`. Dagster keeps its own tables in the same database, on connections of its own.
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

from resources.retry import DEFAULT_RETRY_S, RetryDeadline, is_transient
from touchline.disk import shortage
from touchline.errors import ServiceError
from touchline.home import home
from touchline.library.driver import with_driver

MIGRATION_LOCK: Final = 0x746F7563686C696E
"""Number of the advisory lock under which tables are changed ("touchlin" in ASCII): one process at a time."""
VERSION_TABLE: Final = "touchline_alembic_version"
"""Where the migration that the tables are at is noted (`migrations/env.py`)."""
IDLE_S: Final = 5.0
"""A connection that was not used for so long is asked whether it lives [s]: a machine that vanished says nothing."""

T = TypeVar("T")


class Database:
    """A Postgres database by its SQLAlchemy URL; nothing is opened before the first use. Safe to share by threads.

    `patience_s` seconds are waited, with growing and random pauses, for a server that went away.
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
                # A machine that vanishes without a word is noticed in half a minute, not after hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
            },
        )
        discard_dead_connections(self.engine)

    @property
    def address(self) -> str:
        """Host, port and database name, or the folder of the socket and the name; no user, no password."""
        socket = self.url.query.get("host", "local socket")
        return f"{self.url.host}:{self.url.port or 5432}/{self.url.database}" if self.url.host else f"{socket}"

    @contextmanager
    def session(self, *, patience_s: float | None = None) -> Iterator[Session]:
        """A session that is one transaction: committed at the end, rolled back if an exception leaves the block.

        A server that is away at its beginning is waited for, `patience_s` seconds if given. Rows stay readable
        afterwards. Raises ServiceError if the server stays away, or goes away meanwhile (see `transact`).
        """
        with self._reaching():
            connection = self._patiently(self.engine.connect, patience_s)
            # Rows outlive their session: they are handed to stages and assets.
            with connection, Session(connection, expire_on_commit=False) as session, session.begin():
                yield session

    def transact(self, work: Callable[[Session], T]) -> T:
        """What `work` returns, done in one transaction; all of it again if the server goes away in its middle.

        `work` must bear being done twice: an answer to the commit may be lost. Raises ServiceError if the server
        stays away, and whatever `work` raises.
        """

        def attempt() -> T:
            with (
                self.engine.connect() as connection,
                Session(connection, expire_on_commit=False) as session,
                session.begin(),
            ):
                return work(session)

        with self._reaching():
            return self._patiently(attempt, None)

    def ping(self) -> str:
        """The server's version, from a real question. Raises ServiceError if there is none in time."""

        def ask() -> str:
            with self.engine.connect() as connection:
                return str(connection.execute(sa.text("SHOW server_version")).scalar_one())

        with self._reaching():
            return self._patiently(ask, None)

    def migrate(self) -> None:
        """Brings the tables to this version; where they are already, it changes nothing. Any number may call at once.

        A server that is away, or goes away meanwhile, is waited for: it is one transaction, which is done again.
        Raises ServiceError if the server stays away, or its tables are of a newer Touchline.
        """
        if self._version() == _newest_migration():
            # The usual case, in a fiftieth of the time that Alembic takes to find it out.
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
                self._patiently(upgrade, None)
        except CommandError as error:
            raise ServiceError(
                f"the tables at {self.address} cannot be brought up to date ({error}); "
                "they may be of a newer Touchline: use that one, or another database"
            ) from error

    def _version(self) -> str | None:
        """The migration that the tables are at; None if there is none, or not one alone."""

        def ask() -> list[str]:
            with self.engine.connect() as connection:
                if connection.execute(sa.select(sa.func.to_regclass(VERSION_TABLE))).scalar_one() is None:
                    return []
                noted: sa.Select[str] = sa.select(sa.column("version_num", sa.String)).select_from(
                    sa.table(VERSION_TABLE)
                )
                return list(connection.execute(noted).scalars())

        with self._reaching():
            found = self._patiently(ask, None)
        return found[0] if len(found) == 1 else None

    def close(self) -> None:
        """Closes idle connections; the next use opens new ones."""
        self.engine.dispose()

    def _patiently(self, work: Callable[[], T], patience_s: float | None) -> T:
        """Does `work` until the server is there or patience is over; pauses grow and are random."""
        seconds = self.patience_s if patience_s is None else patience_s
        return RetryDeadline(seconds, f"Postgres at {self.address}").wait(work, _passes)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise self.service_error(error) from error

    def service_error(self, error: BaseException) -> ServiceError:
        """What to tell of a database that failed."""
        if not self.url.host and (full := shortage(home())):
            # A server of this home answers oddly then, or has ended.
            return ServiceError(f"Postgres at {self.address} failed: {full}")
        reason = (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0]
        return ServiceError(
            f"Postgres at {self.address} failed: {reason}. `touchline doctor` tells what is reachable; once it is "
            "back, run the same again: finished work is kept"
        )


def discard_dead_connections(engine: sa.Engine) -> None:
    """Lets an engine's pool give out no connection that is dead: a server that was restarted fails no question.

    Instead of a question before each question (`pool_pre_ping`: two fifths of what a run asks) it looks whether
    anything arrived on the connection since it was used last, as the end of a server does; after IDLE_S it asks.
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


def _passes(error: BaseException) -> bool:
    """Whether the server went away or is not there yet, as against one that says no."""
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return False
    message = str(error.orig)
    if not is_transient(message):
        return False
    if "FATAL:" in message:
        return True
    # A connection that was never made has no code; a statement that failed for its own sake has one.
    return error.connection_invalidated or getattr(error.orig, "pgcode", None) is None


def migrations_folder() -> Path:
    """Where the migrations lie: beside the packages, in a checkout as in an installation."""
    import migrations

    return Path(next(iter(migrations.__path__)))


def _newest_migration() -> str:
    """The number that the name of the last migration's file begins with, which is its revision."""
    return max(path.name for path in (migrations_folder() / "versions").glob("[0-9]*_*.py")).partition("_")[0]


def _checked(url: str) -> sa.URL:
    """The URL with the driver that is installed. Raises ServiceError if it is none of a Postgres database."""
    try:
        parsed = sa.make_url(with_driver(url))
    except sa.exc.ArgumentError as error:
        raise ServiceError("TOUCHLINE_POSTGRES_URL is no URL; expected postgresql+psycopg2://user@host/name") from error
    if parsed.get_backend_name() != "postgresql":
        raise ServiceError(f"expected the URL of a Postgres database, got one of {parsed.get_backend_name()}")
    return parsed
