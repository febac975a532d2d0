"""The servers of Touchline: external ones with a given address, or embedded ones that processes start and share.

Belongs here: which servers are embedded, sharing them among processes, and their status. Each server is run by
`embedded/postgres_server.py` or `embedded/object_server.py`.

Every process that uses the embedded servers holds a shared lock on `services/lease`. The last one stops them. If a
process is killed, the kernel releases its lock and the servers keep running; the next process uses them.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import BinaryIO, Final
from urllib.parse import parse_qs, urlsplit

from resources.embedded.home_folder import STATE, State, make_home
from resources.embedded.object_server import PROFILE, PROFILE_FILE, ObjectServer
from resources.embedded.postgres_server import PostgresServer
from resources.retry import call_with_retry, is_transient
from resources.settings import Settings
from resources.shell import isolate_environment
from touchline.errors import ServiceError


@dataclass(frozen=True)
class Endpoints:
    """Addresses and keys of the servers."""

    postgres_url: str = field(repr=False)
    s3_endpoint: str
    s3_bucket: str
    s3_region: str
    s3_access_key_id: str = field(repr=False)
    s3_secret_access_key: str = field(repr=False)
    postgres_embedded: bool
    s3_embedded: bool
    patience_s: float = 120.0
    s3_session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Status of one server, for `touchline doctor`. `address` holds no secret; `data` is the data folder."""

    name: str
    embedded: bool
    running: bool
    address: str
    version: str
    data: str
    answers: bool = True
    """Whether a running server answers: it may be busy, stopped, or recovering its data."""


POSTGRES: Final = "postgres"
"""Name of Postgres in `services/state.json`."""
OBJECTS: Final = "objects"
"""Name of the object store in `services/state.json`."""


class NotAnsweringError(Exception):
    """A running server did not answer."""


def retried(error: BaseException) -> bool:
    """Whether a connection is retried: not if the server refused the password."""
    return isinstance(error, NotAnsweringError) and is_transient(str(error))


class LocalServices:
    """Starts and releases the servers; a context manager that yields Endpoints.

    `only` names the servers to use, POSTGRES and OBJECTS. The address of a server that is neither used nor given is
    empty.
    """

    def __init__(self, settings: Settings, *, only: Collection[str] = (POSTGRES, OBJECTS)) -> None:
        self._settings = settings
        self._wanted = [
            name
            for name, given in ((POSTGRES, settings.postgres_url), (OBJECTS, settings.s3_endpoint))
            if name in only and not given
        ]
        self._only = only
        self._folder = settings.home / "services"
        self._lease: BinaryIO | None = None
        self._endpoints: Endpoints | None = None

    def start(self) -> Endpoints:
        """Starts the embedded servers that do not run yet. Idempotent.

        A running server that does not answer is retried until TOUCHLINE_PATIENCE_S, and never stopped. Removes
        variables that configure the servers' clients from the environment (`shell.py`). Raises ServiceError if a server
        does not start or answer, or if an object store is given without its keys; servers that this call started are
        then stopped.
        """
        if self._endpoints is None:
            isolate_environment()
            try:
                self._endpoints = self._start()
            except BaseException:
                self.stop()
                raise
        return self._endpoints

    def revive(self) -> tuple[str, ...]:
        """Restarts the embedded servers that died, at the same addresses. Returns their names.

        `touchline serve` calls it about once a second, so that waiting clients can continue. It takes about 1 ms if all
        servers run, and up to a minute to start one. It does nothing for a running server, for an external server,
        before `start` and after `stop`. Thread-safe.

        Raises ServiceError if a server does not start, or if another program took its address; the next call retries.
        """
        if (
            self._lease is None
            or self._endpoints is None
            or all(self._server(name).is_alive() for name in self._wanted)
        ):
            return ()
        begun = []
        with self._starting():
            state = State(self._folder, writes=True)
            for name in self._wanted:
                if not self._server(name, state).is_alive():
                    self._begin(name, state)
                    begun.append(name)
            before, now = self._endpoints, self._endpoints_by(state)
        if before != now:
            raise ServiceError(
                f"the address of the embedded object store, {before.s3_endpoint}, was taken by another program; it is "
                f"at {now.s3_endpoint} now. End what uses {self._settings.home} and start it again"
            )
        return tuple(begun)

    def stop(self) -> None:
        """Releases the servers. Stops the embedded ones if no other process uses them."""
        if self._lease is None:
            self._endpoints = None
            return
        atexit.unregister(self.stop)
        with self._lease, suppress(FileNotFoundError), self._starting():
            # FileNotFoundError: the home was deleted, with the state that identifies the servers.
            if self._is_last_user():
                state = State(self._folder, writes=True)
                for name in (OBJECTS, POSTGRES):
                    self._server(name, state).stop()
            self._lease.close()
        self._lease, self._endpoints = None, None

    def status(self) -> list[ServiceStatus]:
        """The status of the servers. Starts none."""
        isolate_environment()
        settings = self._settings
        found = []
        if settings.postgres_url:
            reached = _reaches_postgres(settings.postgres_url)
            found.append(ServiceStatus("Postgres", False, reached, public(settings.postgres_url), "", ""))
        else:
            postgres = PostgresServer(self._folder, State(self._folder).of(POSTGRES))
            alive = postgres.is_alive() and postgres.known
            address = public(postgres.url) if alive else ""
            answers = alive and postgres.connection_error() is None
            found.append(
                ServiceStatus("Postgres", True, alive, address, postgres.version(), str(postgres.data), answers)
            )
        if settings.s3_endpoint:
            parts = urlsplit(settings.s3_endpoint)
            reached = _reaches(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
            found.append(ServiceStatus("object store", False, reached, settings.s3_endpoint, "", ""))
        else:
            objects = ObjectServer(self._folder, State(self._folder).of(OBJECTS))
            alive = objects.is_alive() and objects.known
            address, version = objects.endpoint if alive else "", f"SeaweedFS {objects.version()}"
            answers = alive and objects.connection_error() is None
            found.append(ServiceStatus("object store", True, alive, address, version, str(objects.data), answers))
        return found

    def running_postgres(self) -> str:
        """The URL of Postgres, with password, if it is reachable now, else empty. Starts nothing."""
        isolate_environment()
        if self._settings.postgres_url:
            return self._settings.postgres_url if _reaches_postgres(self._settings.postgres_url) else ""
        postgres = PostgresServer(self._folder, State(self._folder).of(POSTGRES))
        return postgres.url if postgres.is_alive() and postgres.known and postgres.connection_error() is None else ""

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> Endpoints:
        settings = self._settings
        keys = settings.s3_access_key_id and settings.s3_secret_access_key
        if OBJECTS in self._only and settings.s3_endpoint and not keys:
            raise ServiceError(
                "TOUCHLINE_S3_ENDPOINT is set but its keys are not; set TOUCHLINE_S3_ACCESS_KEY_ID and "
                "TOUCHLINE_S3_SECRET_ACCESS_KEY"
            )
        if not self._wanted:
            return self._endpoints_by(None)
        make_home(settings.home)
        while True:
            with self._starting():
                if self._lease is None:
                    self._lease = self._open("lease")
                    fcntl.flock(self._lease, fcntl.LOCK_SH)
                    atexit.register(self.stop)
                state = State(self._folder, writes=True)
                found = [name for name in self._wanted if self._usable(name, state)]
                for name in self._wanted:
                    if name not in found:
                        self._begin(name, state)
                if OBJECTS in self._wanted:
                    ObjectServer(self._folder, state.of(OBJECTS)).write_profile(settings.s3_region)
                endpoints = self._endpoints_by(state)
            # Other processes may start and stop servers during the wait.
            if all(self._answers(name) for name in found):
                return endpoints

    def _usable(self, name: str, state: State) -> bool:
        """Whether a server runs and its address is known. Stops one of unknown address that nobody else uses."""
        server = self._server(name, state)
        if not server.is_alive():
            return False
        if server.known:
            return True
        if self._lease is None or not self._is_last_user():
            raise ServiceError(
                f"{name} of {self._folder} runs (process {server.memory['pid']}), but {STATE} with its address is "
                "gone; end what uses it, then run the same again"
            )
        server.stop()
        fcntl.flock(self._lease, fcntl.LOCK_SH)
        return False

    def _begin(self, name: str, state: State) -> None:
        server = self._server(name, state)
        if isinstance(server, PostgresServer):
            server.start(self._settings.patience_s)
        else:
            server.start(self._settings.s3_bucket)

    def _answers(self, name: str) -> bool:
        """Waits for a running server until the retry deadline. Returns False if it died in the meantime.

        Raises ServiceError if it does not answer or refuses the password.
        """
        server = self._server(name)

        def ask() -> bool:
            why = server.connection_error()
            if why is not None and server.is_alive():
                raise NotAnsweringError(why)
            return why is None

        try:
            deadline_s = self._settings.patience_s
            return call_with_retry(ask, retried, deadline_s=deadline_s, name=f"the embedded {name}")
        except NotAnsweringError as error:
            raise ServiceError(
                f"the embedded {name} (process {server.memory.get('pid')}) runs and does not answer: {error}. It was "
                f"not stopped. Its log is {server.log}; end that process if it hangs, then run the same again"
            ) from error

    def _is_last_user(self) -> bool:
        """Whether no other process uses the servers. Then none can start to, until this process releases its lock."""
        if self._lease is None:
            return False
        try:
            fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _server(self, name: str, state: State | None = None) -> PostgresServer | ObjectServer:
        memory = (state or State(self._folder)).of(name)
        return PostgresServer(self._folder, memory) if name == POSTGRES else ObjectServer(self._folder, memory)

    def _endpoints_by(self, state: State | None) -> Endpoints:
        """The given addresses, and those of the embedded servers from `state`."""
        settings = self._settings
        found = Endpoints(
            postgres_url=settings.postgres_url,
            s3_endpoint=settings.s3_endpoint,
            s3_bucket=settings.s3_bucket,
            s3_region=settings.s3_region,
            s3_access_key_id=settings.s3_access_key_id,
            s3_secret_access_key=settings.s3_secret_access_key,
            postgres_embedded=POSTGRES in self._wanted,
            s3_embedded=OBJECTS in self._wanted,
            patience_s=settings.patience_s,
            s3_session_token=settings.s3_session_token,
        )
        if state is not None and POSTGRES in self._wanted:
            found = replace(found, postgres_url=PostgresServer(self._folder, state.of(POSTGRES)).url)
        if state is not None and OBJECTS in self._wanted:
            objects = ObjectServer(self._folder, state.of(OBJECTS))
            keys = (objects.memory["access_key"], objects.memory["secret_key"])
            found = replace(
                found,
                s3_endpoint=objects.endpoint,
                s3_access_key_id=keys[0],
                s3_secret_access_key=keys[1],
                s3_session_token="",
            )
        return found

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Holds the lock under which servers are started and stopped."""
        with self._open("starting") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _open(self, name: str) -> BinaryIO:
        """Opens a lock file of the folder, for the owner only."""
        return os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def export(endpoints: Endpoints) -> dict[str, str]:
    """The environment for child processes. All servers have addresses in it, so children start and stop none."""
    return {
        "TOUCHLINE_POSTGRES_URL": endpoints.postgres_url,
        "TOUCHLINE_S3_ENDPOINT": endpoints.s3_endpoint,
        "TOUCHLINE_S3_BUCKET": endpoints.s3_bucket,
        "TOUCHLINE_S3_REGION": endpoints.s3_region,
        "TOUCHLINE_S3_ACCESS_KEY_ID": endpoints.s3_access_key_id,
        "TOUCHLINE_S3_SECRET_ACCESS_KEY": endpoints.s3_secret_access_key,
        "TOUCHLINE_S3_SESSION_TOKEN": endpoints.s3_session_token,
        "TOUCHLINE_PATIENCE_S": str(endpoints.patience_s),
    }


def profile_of(settings: Settings) -> str:
    """The shell command that lets AWS tools use the embedded object store. It holds no secret."""
    file = settings.home / "services" / PROFILE_FILE
    return f"export AWS_SHARED_CREDENTIALS_FILE={shlex.quote(str(file))} AWS_PROFILE={PROFILE}"


def public(url: str) -> str:
    """A URL without user and password. For a Unix socket it names the folder, as for psql's option -h."""
    parts = urlsplit(url)
    if parts.hostname is None:
        folder = parse_qs(parts.query).get("host", [""])[0]
        return f"postgresql://{parts.path}?host={folder}" if folder else f"{parts.scheme}://{parts.path}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"


def _reaches(host: str, port: int) -> bool:
    import socket

    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError:
        return False
    return True


def _reaches_postgres(url: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=3).close()
    except psycopg2.OperationalError:
        return False
    return True
