"""One `touchline serve` a home: the lock that it holds, and what one that was killed left running.

Belongs here: who serves a home, told to others through `serve.lock`, and the port. The address of the webserver is in
`webserver.py`; starting, watching and ending the parts is in `parts.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

from resources.embedded.processes import end_groups, group, identity, is_same, wait_until
from touchline.errors import BadInputError

FILE: Final = "serve.lock"
"""In the home: locked (flock) by whoever serves it, with its process, address and parts as JSON."""
TRIES: Final = 20
PAUSE_S: Final = 0.05
"""Others hold the lock for a moment when they look whether somebody serves."""
PATIENCE_S: Final = 20.0
"""For runs at work to tell their jobs that they were interrupted [s]."""
GUARDIAN_S: Final = PATIENCE_S + 20.0
"""For the guardian of a `touchline serve` that was killed to end its parts, and the servers after them [s]."""
SAME_S: Final = 2.0
"""Times of a process's start that differ by less are one [s], where an older version noted them by the clock."""


class Place:
    """The lock of a home, held; what is noted in it is read by others."""

    def __init__(self, lock: BinaryIO) -> None:
        self._lock = lock
        self._told: dict[str, Any] = {"pid": os.getpid(), "url": "", "guardian": None, "parts": []}
        self._write()

    def parts(self, groups: list[dict[str, Any]]) -> None:
        """Notes the processes that were started, each the leader of its group (see `leader`)."""
        self._told["parts"] = groups
        self._write()

    def guardian(self, pid: int) -> None:
        """Notes the process that ends the parts if this one is killed."""
        self._told["guardian"] = leader(pid)
        self._write()

    def url(self, url: str) -> None:
        """Notes the address of the webserver."""
        self._told["url"] = url
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._told).encode() + b"\n"
        # In one call, so that nobody reads half of it; what was longer before is blank now.
        os.pwrite(self._lock.fileno(), text.ljust(os.fstat(self._lock.fileno()).st_size), 0)


def leader(pid: int) -> dict[str, Any]:
    """A process that leads a group of its own, as it is noted for others."""
    return {"pid": pid, "id": identity(pid)}


@contextmanager
def alone(home: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Place]:
    """Holds the lock of a home, and ends what one that was killed left behind; `tell` says so if that takes a while.

    Raises BadInputError if the home is served already, naming where and by which process.
    """
    home.mkdir(parents=True, exist_ok=True)
    # Not for appending: what is noted is written at the beginning of the file.
    with os.fdopen(os.open(home / FILE, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        for attempt in range(TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == TRIES - 1:
                    raise BadInputError(_served(home, _read(lock))) from error
                time.sleep(PAUSE_S)
        told = _read(lock)
        _wait_for_guardian(told, tell)
        end_left(told)
        place = Place(lock)
        try:
            yield place
        finally:
            # Nothing is left to be ended by the next one.
            lock.truncate(0)


def is_served(home: Path) -> bool:
    """Whether a `touchline serve` of this home is at work."""
    try:
        with (home / FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on a port, on a free one for 0. Raises BadInputError if it cannot be listened on."""
    if not 0 <= port < 2**16:
        raise BadInputError(f"--port {port}: expected a number from 0 to {2**16 - 1}; 0 takes a free port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise BadInputError(
            f"--host {host} --port {port}: it cannot be listened on ({error.strerror or error}); give another port, "
            "or 0 for a free one"
        ) from error


def parts_of(home: Path) -> dict[str, Any]:
    """What the `touchline serve` of a home noted, whether it lives or was killed; empty if there is nothing."""
    try:
        with (home / FILE).open("rb") as lock:
            return _read(lock)
    except FileNotFoundError:
        return {}


def end_left(told: dict[str, Any]) -> None:
    """Ends the parts of a `touchline serve` that was killed; never another program that has got its number."""
    left = [int(part["pid"]) for part in told.get("parts") or () if _is_left(part)]
    if left:
        end_groups(left, PATIENCE_S)


def _wait_for_guardian(told: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Lets the guardian of one that was killed do its work."""
    guardian = told.get("guardian")
    if isinstance(guardian, dict) and _is_left(guardian):
        pid, remembered = int(guardian["pid"]), str(guardian["id"])
        tell(
            f"a `touchline serve` was killed; its runs have {PATIENCE_S:.0f} s to tell their jobs, then this one starts"
        )
        wait_until(lambda: is_same(pid, remembered) is not True, GUARDIAN_S, pause_s=0.1)


def _is_left(part: Any) -> bool:
    """Whether a part that was noted lives, or something that it started, in the group that bears its number."""
    try:
        pid = int(part["pid"])
        if "id" in part:
            same = is_same(pid, str(part["id"]))
        else:
            same = abs(psutil.Process(pid).create_time() - float(part["created"])) < SAME_S
    except psutil.NoSuchProcess:
        same = False
    except (KeyError, TypeError, ValueError):
        return False
    # A number is not given away as long as a group bears it: without its leader, the group is the one that was noted.
    return bool(same) or (not psutil.pid_exists(pid) and bool(group(pid)))


def _served(home: Path, told: dict[str, Any]) -> str:
    by = f"by process {told['pid']}" if told.get("pid") else "by another process"
    if told.get("url"):
        return f"{home} is already served at {told['url']} {by}; end that one first, or set TOUCHLINE_HOME to another"
    return f"{home} is already served {by}, which is starting or ending"


def _read(lock: BinaryIO) -> dict[str, Any]:
    lock.seek(0)
    try:
        told = json.loads(lock.read() or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
