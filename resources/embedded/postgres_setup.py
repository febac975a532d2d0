"""Setting up the data folder of the embedded Postgres: its files, roles and database, before the server listens.

Belongs here: what is done while no server runs on the folder, by `initdb` and by Postgres in single-user mode. Running
the server is in `postgres_server.py`.

The superuser that `initdb` makes has no password and may not log in at all. Clients use the role `touchline`, which
owns its database and has no right beyond it: it cannot read the server's files, run programs or make roles.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Final

from resources.embedded import processes
from touchline.disk import shortage
from touchline.errors import ServiceError

ADMIN: Final = "touchline_admin"
"""The superuser, who owns the system's own objects and cannot log in."""
USER: Final = "touchline"
DATABASE: Final = "touchline"
RIGHTS: Final = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
"""Rights of the role that clients use."""
VERSION: Final = 1
"""Version of the roles, rights and ownership that `create_roles` sets. Any other version is brought to this one."""
ACCESS: Final = f"""\
# Written by Touchline at each start. Only the product's own role may connect, and only through the socket.
local all {USER} scram-sha-256
"""
OF_INITDB: Final = ("1", "4", "5")
"""Folders of the databases that `initdb` makes: template1, template0 and postgres."""
QUIET: Final = ("log_min_error_statement=panic", "log_statement=none", "log_checkpoints=off")
"""Statements that hold a password are never written to a log."""

_OWN: Final = """\
DO $$ DECLARE found record; BEGIN
 FOR found IN
  WITH spaces AS (SELECT oid, nspname, nspowner FROM pg_namespace
   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
  SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS name FROM spaces WHERE nspowner = 10
  UNION ALL SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
    ELSE 'TABLE' END, c.oid::regclass::text FROM pg_class c JOIN spaces ON spaces.oid = relnamespace
   WHERE relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
     AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
  UNION ALL SELECT 'TYPE', t.oid::regtype::text FROM pg_type t JOIN spaces ON spaces.oid = typnamespace
   WHERE typowner = 10 AND typtype IN ('e', 'd')
  UNION ALL SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p JOIN spaces ON spaces.oid = pronamespace
   WHERE proowner = 10
 LOOP EXECUTE format('ALTER %s %s OWNER TO {user}', found.kind, found.name); END LOOP; END $$
"""
"""Everything that is not the system's own goes to the clients' role."""


class Setup:
    """Works on one data folder while no server runs on it.

    `user` is whom Postgres runs as if not as ourselves; `binaries` is the folder of its programs.
    """

    def __init__(self, data: Path, binaries: Path, user: pwd.struct_passwd | None) -> None:
        self._data, self.binaries = data, binaries
        self._user = user
        self._ids = (user.pw_uid, user.pw_gid) if user else (None, None)

    def has_database(self) -> bool:
        """Whether the folder holds a database of anybody's. Without one nothing in it is worth keeping.

        A folder whose making was interrupted, at whatever step, has none. Raises ServiceError if it cannot be read.
        """
        try:
            folders = [folder.name for folder in (self._data / "base").iterdir()]
            return any(name.isdecimal() and name not in OF_INITDB for name in folders)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ServiceError(f"cannot read the data of Postgres in {self._data}: {error.strerror}") from error

    def initialise(self) -> None:
        """Makes the folder anew: the system's own databases, and a superuser without a password."""
        if self._data.exists():
            shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        if self._user:
            os.chown(self._data, self._user.pw_uid, self._user.pw_gid)
        # Nobody gets in by its own rules; `create_roles` writes ours.
        options = ["-U", ADMIN, "--auth=reject", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        done = self._run("initdb", "-D", str(self._data), *options)
        if done.returncode:
            reason = shortage(self._data.parent) or done.stderr.strip()
            shutil.rmtree(self._data, ignore_errors=True)
            raise ServiceError(f"the embedded Postgres could not set up {self._data}: {reason}")

    def create_roles(self, password: str) -> None:
        """Roles, rights and ownership as this version wants them, with this password. May be done again at any time.

        A folder that an older Touchline made, whose clients used the superuser, is brought to the same state.
        """
        new = not self.has_database()
        told = self._ask(
            "postgres",
            f"UPDATE pg_authid SET rolname = '{ADMIN}', rolpassword = NULL, rolcanlogin = false WHERE oid = 10",  # noqa: S608
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{USER}') THEN CREATE ROLE {USER}; "
            "END IF; END $$",
            f"ALTER ROLE {USER} {RIGHTS} PASSWORD '{password}'",
            f"CREATE DATABASE {DATABASE} OWNER {USER}",
            f"ALTER DATABASE {DATABASE} OWNER TO {USER}",
            "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC",
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        )
        faults = [line for line in told if f'database "{DATABASE}" already exists' not in line]
        if not new and not faults:
            faults = self._ask(DATABASE, " ".join(_OWN.format(user=USER).split()))
        if faults:
            raise ServiceError(
                f"the embedded Postgres could not arrange its roles in {self._data}: "
                f"{shortage(self._data.parent) or faults[0]}"
            )

    def write_access(self) -> None:
        """Writes who may connect; nothing if it is written so."""
        path = self._data / "pg_hba.conf"
        if not path.exists() or path.read_text() != ACCESS:
            processes.write_for_owner(path, ACCESS)
            if self._user:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _ask(self, database: str, *statements: str) -> list[str]:
        """Does statements, a line each, as the superuser; what went wrong."""
        options = [word for setting in QUIET for word in ("-c", setting)]
        done = self._run(
            "postgres", "--single", "-D", str(self._data), *options, database, said="\n".join(statements) + "\n"
        )
        told = [line for line in done.stderr.splitlines() if any(f"{kind}:" in line for kind in ("ERROR", "FATAL"))]
        if done.returncode and not told:
            told = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        return told

    def _run(self, program: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binaries / program), *arguments],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            user=self._ids[0],
            group=self._ids[1],
            extra_groups=[] if self._user else None,
            env=processes.server_environment(self._data),
            umask=processes.UMASK,
            cwd="/",
        )
