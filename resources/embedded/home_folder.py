"""The folder TOUCHLINE_HOME: its permissions, and the state of the embedded servers between their starts.

Belongs here: permissions of the folders, and `services/state.json`. The servers are in `local_services.py`; the path of
the home is in `touchline/home.py`.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from resources.embedded.postgres_server import unprivileged
from resources.embedded.processes import write_for_owner
from touchline.disk import is_full, told
from touchline.errors import ServiceError

STATE: Final = "state.json"
"""Name of the file with the state of the embedded servers, in the folder `services`."""
OPEN: Final = 0o077
"""Mode bits of the group and of others."""
PASS: Final = 0o010
"""Mode bit that lets the group enter a folder without listing it."""


class Memory(dict[str, Any]):
    """The stored state of one server. An assignment returns after it is on disk. Values must not be mutated."""

    def __init__(self, state: State, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._state, self._name = state, name

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self or self[key] != value:
            super().__setitem__(key, value)
            self._state.keep(self._name, self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As `dict.setdefault`. An added value is on disk on return."""
        if key not in self:
            self[key] = default
        return self[key]


class State:
    """`state.json`: addresses, process ids and secrets of the servers, readable by the owner only. Written atomically.

    `writes` is for the process that holds the lock under which servers are started; others only read. Raises
    ServiceError if the file exists and cannot be read.
    """

    def __init__(self, services: Path, *, writes: bool = False) -> None:
        self._path = services / STATE
        self._writes = writes
        self._whole = self._read()

    def of(self, name: str) -> Memory:
        """The state of one server; empty if unknown."""
        known = self._whole.get(name, {})
        return Memory(self, name, known if isinstance(known, dict) else {})

    def keep(self, name: str, values: dict[str, Any]) -> None:
        """Stores the state of one server. Raises OSError if it cannot be written."""
        self._whole[name] = dict(values)
        if self._writes:
            write_for_owner(self._path, json.dumps(self._whole))

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"{self._path} cannot be read ({type(error).__name__}); end the servers of {self._path.parent} and "
                "remove it"
            ) from error
        return known if isinstance(known, dict) else {}


def make_home(home: Path) -> Path:
    """Creates the home and its folder `services`, and removes the permissions of other users. Returns `services`.

    The files directly in both folders are included, whatever the umask was. As root, the group of Postgres's user may
    enter the folders. A shared home (it has the sticky bit, or is / or the user's home directory) keeps its mode.
    Raises ServiceError if it cannot be created.
    """
    services = home / "services"
    missing = [folder for folder in home.parents if not folder.exists()]
    try:
        services.mkdir(parents=True, exist_ok=True)
        user = unprivileged(services / "postgres")
        group = user.pw_gid if user else None
        for folder in missing if user else ():
            # Postgres's user must be able to enter the parent folders.
            folder.chmod(folder.stat().st_mode | 0o011)
        if not _common(home):
            close(home, group)
        close(services, group)
        for name in ("dagster", "uploads", "profiles", "demo"):
            close(home / name)
        for path in (home / "serve.json", home / "serve.lock", *services.iterdir()):
            # Postgres's user must be able to read its programs.
            if not (path.is_dir() and path.name.startswith("postgres-")):
                close(path)
    except OSError as error:
        if is_full(error):
            raise ServiceError(told(error)) from error
        raise ServiceError(
            f"cannot make {services} ({error.strerror}); set TOUCHLINE_HOME to a folder of yours"
        ) from error
    return services


def make_closed(folder: Path) -> Path:
    """Creates a folder of the home for the owner only, with its parents. Returns it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    close(folder)
    return folder


def close(path: Path, group: int | None = None) -> None:
    """Removes the permissions of other users from a file or folder of this user. Ignores links and missing files.

    Members of `group`, if given, may enter the folder.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        return
    mode = stat.S_IMODE(found.st_mode) & ~OPEN
    if group is not None:
        mode |= PASS
        if found.st_gid != group:
            os.chown(path, -1, group)
    if mode != stat.S_IMODE(found.st_mode):
        path.chmod(mode)


def _common(home: Path) -> bool:
    return bool(home.stat().st_mode & stat.S_ISVTX) or home in (Path("/"), Path.home())
