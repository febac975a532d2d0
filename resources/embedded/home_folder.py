"""The home on disk: closed to other users, and what the embedded servers need remembered between their starts.

Belongs here: modes of the home's folders, and `services/state.json`. The servers themselves are in
`local_services.py`; where the home is, is in `touchline/home.py`.
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
OPEN: Final = 0o077
"""What of a mode concerns other users."""
PASS: Final = 0o010
"""Passing through a folder without listing it, for its group."""


class Memory(dict[str, Any]):
    """What is known of one server. What is set is on disk when the assignment returns, before anything uses it.

    Values are replaced, never changed in place.
    """

    def __init__(self, state: State, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._state, self._name = state, name

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self or self[key] != value:
            super().__setitem__(key, value)
            self._state.keep(self._name, self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As of a dict; what is added is on disk at once."""
        if key not in self:
            self[key] = default
        return self[key]


class State:
    """`state.json`: addresses, process ids and secrets of the servers, for the owner alone; written whole or not.

    It is written by whoever holds the lock under which servers are started (`writes`); others only look. Raises
    ServiceError if it is there and cannot be read.
    """

    def __init__(self, services: Path, *, writes: bool = False) -> None:
        self._path = services / STATE
        self._writes = writes
        self._whole = self._read()

    def of(self, name: str) -> Memory:
        """What is remembered of one server; empty if nothing is."""
        known = self._whole.get(name, {})
        return Memory(self, name, known if isinstance(known, dict) else {})

    def keep(self, name: str, values: dict[str, Any]) -> None:
        """Writes what is known of one server. Raises OSError if the disk does not take it."""
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
    """Makes the home and its folder `services` if they are missing, and closes both to others; returns the latter.

    A home that an older version left open is closed with all that lies directly in it and in `services`, whatever the
    umask is. As root, the group of Postgres's user may pass through, and list nothing. A home that is a folder of
    common use (its mode has the sticky bit, or it is our home directory) keeps its mode; what is in it is closed.
    Raises ServiceError if it cannot be made.
    """
    services = home / "services"
    missing = [folder for folder in home.parents if not folder.exists()]
    try:
        services.mkdir(parents=True, exist_ok=True)
        user = unprivileged(services / "postgres")
        group = user.pw_gid if user else None
        for folder in missing if user else ():
            # Whatever the umask was, Postgres's user must come through the folders on the way.
            folder.chmod(folder.stat().st_mode | 0o011)
        if not _common(home):
            close(home, group)
        close(services, group)
        for name in ("dagster", "uploads", "profiles", "demo"):
            close(home / name)
        for path in (home / "serve.json", home / "serve.lock", *services.iterdir()):
            # The programs that Postgres's user runs are nobody's secret, and their folder is closed.
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
    """Makes a folder of the home, with those above it, and closes it to others; returns it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    close(folder)
    return folder


def close(path: Path, group: int | None = None) -> None:
    """Takes from other users every right to a file or folder of ours; a link, or what is not there, is left alone.

    Members of `group`, if given, may pass through the folder.
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
