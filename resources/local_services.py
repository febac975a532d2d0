"""The servers Touchline needs: the ones given by address, or embedded ones that it starts itself and shares.

Belongs here: deciding which servers are embedded, sharing them among processes, and telling of them. How each server
is run is in `_postgres_server.py` and `_object_server.py`.

Every process that uses the embedded servers holds a shared lock on `services/lease`. Whoever leaves last ends them. A
process killed outright leaves its lock to the kernel and the servers running; the next one takes them over.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from resources import _processes as processes
from resources._object_server import PROFILE, PROFILE_FILE, ObjectServer
from resources._postgres_server import PostgresServer
from resources.settings import Settings
from resources.shell import shield
from touchline.errors import ServiceError


@dataclass(frozen=True)
class Endpoints:
    """Where the servers are, with what is needed to use them."""

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
    """What `touchline doctor` tells of one server. `address` holds no secret."""

    name: str
    embedded: bool
    running: bool
    address: str
    version: str
    data: str


POSTGRES: Final = "postgres"
OBJECTS: Final = "objects"


class LocalServices:
    """Makes servers available and lets go of them; a context manager that yields Endpoints.

    `only` names the servers that are wanted, POSTGRES and OBJECTS; the address of one that is neither wanted nor given
    stays empty.
    """

    def __init__(self, settings: Settings, *, only: Collection[str] = (POSTGRES, OBJECTS)) -> None:
        self._settings = settings
        self._only = only
        self._folder = settings.home / "services"
        self._lease: BinaryIO | None = None
        self._endpoints: Endpoints | None = None

    def start(self) -> Endpoints:
        """Starts what is not given by address and does not run yet. Calling it again changes nothing.

        Takes out of this process's environment what would steer the servers' clients unasked (see `shell.py`).
        Raises ServiceError if a server does not start, or if an object store is given without its keys; then nothing
        is left running that this call started.
        """
        if self._endpoints is None:
            shield()
            try:
                self._endpoints = self._start()
            except BaseException:
                self.stop()
                raise
        return self._endpoints

    def stop(self) -> None:
        """Lets go of the servers; ends the embedded ones if no other process uses them. Never touches any other."""
        if self._lease is None:
            self._endpoints = None
            return
        atexit.unregister(self.stop)
        with self._starting(), self._memory() as memory:
            try:
                # The shared lock becomes an exclusive one only if nobody else holds it.
                fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False
            if last:
                if "objects" in memory:
                    ObjectServer(self._folder, memory["objects"]).stop()
                if "postgres" in memory:
                    PostgresServer(self._folder, memory["postgres"]).stop()
            self._lease.close()
        self._lease, self._endpoints = None, None

    def status(self) -> list[ServiceStatus]:
        """What there is, without starting anything."""
        shield()
        settings, memory = self._settings, self._remembered()
        found = []
        if settings.postgres_url:
            found.append(
                ServiceStatus(
                    "Postgres", False, _reaches_postgres(settings.postgres_url), _public(settings.postgres_url), "", ""
                )
            )
        else:
            postgres = PostgresServer(self._folder, memory.get("postgres", {}))
            running = postgres.alive()
            address = _public(postgres.url) if running else ""
            found.append(ServiceStatus("Postgres", True, running, address, postgres.version(), str(postgres.data)))
        if settings.s3_endpoint:
            parts = urlsplit(settings.s3_endpoint)
            running = _reaches(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
            found.append(ServiceStatus("object store", False, running, settings.s3_endpoint, "", ""))
        else:
            objects = ObjectServer(self._folder, memory.get("objects", {}))
            running = objects.alive()
            address = objects.endpoint if running else ""
            found.append(
                ServiceStatus(
                    "object store", True, running, address, f"SeaweedFS {objects.version()}", str(objects.data)
                )
            )
        return found

    def running_postgres(self) -> str:
        """The URL of a Postgres that can be reached now, password included; empty if there is none. Starts nothing."""
        shield()
        if self._settings.postgres_url:
            return self._settings.postgres_url if _reaches_postgres(self._settings.postgres_url) else ""
        postgres = PostgresServer(self._folder, self._remembered().get("postgres", {}))
        return postgres.url if postgres.alive() else ""

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> Endpoints:
        settings = self._settings
        need_postgres = POSTGRES in self._only and not settings.postgres_url
        need_objects = OBJECTS in self._only and not settings.s3_endpoint
        keys = settings.s3_access_key_id and settings.s3_secret_access_key
        if OBJECTS in self._only and settings.s3_endpoint and not keys:
            raise ServiceError(
                "TOUCHLINE_S3_ENDPOINT is set but its keys are not; set TOUCHLINE_S3_ACCESS_KEY_ID and "
                "TOUCHLINE_S3_SECRET_ACCESS_KEY"
            )
        url, endpoint = settings.postgres_url, settings.s3_endpoint
        access, secret = settings.s3_access_key_id, settings.s3_secret_access_key
        token = settings.s3_session_token
        if need_postgres or need_objects:
            self._prepare_folder()
            with self._starting(), self._memory() as memory:
                self._lease = (self._folder / "lease").open("ab")
                fcntl.flock(self._lease, fcntl.LOCK_SH)
                atexit.register(self.stop)
                if need_postgres:
                    postgres = PostgresServer(self._folder, memory.setdefault("postgres", {}))
                    if not postgres.alive():
                        postgres.start()
                    url = postgres.url
                if need_objects:
                    objects = ObjectServer(self._folder, memory.setdefault("objects", {}))
                    if not objects.alive():
                        objects.start(settings.s3_bucket)
                    objects.write_profile(settings.s3_region)
                    endpoint = objects.endpoint
                    access, secret, token = objects.memory["access_key"], objects.memory["secret_key"], ""
        return Endpoints(
            postgres_url=url,
            s3_endpoint=endpoint,
            s3_bucket=settings.s3_bucket,
            s3_region=settings.s3_region,
            s3_access_key_id=access,
            s3_secret_access_key=secret,
            postgres_embedded=need_postgres,
            s3_embedded=need_objects,
            patience_s=settings.patience_s,
            s3_session_token=token,
        )

    def _prepare_folder(self) -> None:
        missing = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                # Postgres runs as another user then, who must come through whatever our umask is.
                for folder in missing:
                    processes.let_enter(folder)
        except OSError as error:
            raise ServiceError(
                f"cannot make {self._folder} ({error.strerror}); set TOUCHLINE_HOME to a folder of yours"
            ) from error

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One process at a time starts and ends servers of this folder."""
        with (self._folder / "starting").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _memory(self) -> Iterator[dict[str, Any]]:
        """Ports, pids and secrets between starts; readable by the owner alone; written whole or not at all."""
        memory = self._remembered()
        try:
            yield memory
        finally:
            processes.write_for_owner(self._folder / "state.json", json.dumps(memory))

    def _remembered(self) -> dict[str, Any]:
        path: Path = self._folder / "state.json"
        try:
            memory = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"{path} cannot be read ({error}); end the servers of {self._folder} and remove it"
            ) from error
        return dict(memory)


def export(endpoints: Endpoints) -> dict[str, str]:
    """The environment for child processes: to them all servers are given by address, so they start and end none."""
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
    """The variables with which AWS's own tools reach the embedded object store, as a shell takes them. No secret."""
    file = settings.home / "services" / PROFILE_FILE
    return f"export AWS_SHARED_CREDENTIALS_FILE={shlex.quote(str(file))} AWS_PROFILE={PROFILE}"


def _public(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
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
