"""Set up the data folder of the embedded Postgres: cluster, roles and database.

Belongs here: work on the folder while no server runs, with `initdb` and Postgres in single-user mode. The server is run
in `postgres_server.py`.

The superuser that `initdb` creates has no password and cannot log in. Clients use the role `touchline`, which owns its
database and has no other rights: it cannot read the server's files, run programs or create roles.
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
"""Name of the superuser, which owns the system objects and cannot log in."""
USER: Final = "touchline"
"""Name of the role of the clients."""
DATABASE: Final = "touchline"
"""Name of the database."""
RIGHTS: Final = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
"""Attributes of the clients' role."""
VERSION: Final = 1
"""Version of the roles, rights and ownership that `create_roles` sets. Any other version is brought to this one."""
ACCESS: Final = f"""\
# Written by Touchline at each start. Only the product's own role may connect, and only through the socket.
local all {USER} scram-sha-256
"""
"""Content of `pg_hba.conf`."""
OF_INITDB: Final = ("1", "4", "5")
"""Folder names of the databases that `initdb` creates: template1, template0 and postgres."""
QUIET: Final = ("log_min_error_statement=panic", "log_statement=none", "log_checkpoints=off")
"""Server parameters of single-user mode that keep statements with a password out of the log."""

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
"""SQL that transfers the ownership of all non-system objects to the clients' role."""


class Setup:
    """Sets up one data folder while no server runs on it.

    `binaries` is the folder of the programs, `user` the user of the server, None for that of this process.
    """

    def __init__(self, data: Path, binaries: Path, user: pwd.struct_passwd | None) -> None:
        self._data, self.binaries = data, binaries
        self._user = user
        self._ids = (user.pw_uid, user.pw_gid) if user else (None, None)

    def has_database(self) -> bool:
        """Whether the folder holds a database other than those of `initdb`. An interrupted setup has none.

        Raises ServiceError if the folder cannot be read.
        """
        try:
            folders = [folder.name for folder in (self._data / "base").iterdir()]
            return any(name.isdecimal() and name not in OF_INITDB for name in folders)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ServiceError(f"cannot read the data of Postgres in {self._data}: {error.strerror}") from error

    def initialise(self) -> None:
        """Deletes the folder and creates the cluster, with a superuser without a password. Raises ServiceError."""
        if self._data.exists():
            shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        if self._user:
            os.chown(self._data, self._user.pw_uid, self._user.pw_gid)
        # `write_access` replaces these rules, which reject every client.
        options = ["-U", ADMIN, "--auth=reject", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        done = self._run("initdb", "-D", str(self._data), *options)
        if done.returncode:
            reason = shortage(self._data.parent) or done.stderr.strip()
            shutil.rmtree(self._data, ignore_errors=True)
            raise ServiceError(f"the embedded Postgres could not set up {self._data}: {reason}")

    def create_roles(self, password: str) -> None:
        """Creates or updates the roles, rights and ownership of this VERSION. Idempotent. Raises ServiceError.

        It also migrates a folder of an earlier Touchline, whose clients used the superuser.
        """
        new = not self.has_database()
        errors = self._ask(
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
        faults = [line for line in errors if f'database "{DATABASE}" already exists' not in line]
        if not new and not faults:
            faults = self._ask(DATABASE, " ".join(_OWN.format(user=USER).split()))
        if faults:
            raise ServiceError(
                f"the embedded Postgres could not create its roles in {self._data}: "
                f"{shortage(self._data.parent) or faults[0]}"
            )

    def write_access(self) -> None:
        """Writes `pg_hba.conf`, unless it is up to date."""
        path = self._data / "pg_hba.conf"
        if not path.exists() or path.read_text() != ACCESS:
            processes.write_for_owner(path, ACCESS)
            if self._user:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _ask(self, database: str, *statements: str) -> list[str]:
        """Executes statements, one on each line, as the superuser. Returns the error messages."""
        options = [word for setting in QUIET for word in ("-c", setting)]
        done = self._run(
            "postgres", "--single", "-D", str(self._data), *options, database, said="\n".join(statements) + "\n"
        )
        errors = [line for line in done.stderr.splitlines() if any(f"{kind}:" in line for kind in ("ERROR", "FATAL"))]
        if done.returncode and not errors:
            errors = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        return errors

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
