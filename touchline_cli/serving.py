"""One `touchline serve` per home: its lock, and ending the parts of a killed one.

Belongs here: the lock file `serve.lock` with the state of a `touchline serve`, and its port. The webserver's address is
in `webserver.py`; `parts.py` starts, watches and ends the parts.
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
"""Name of the lock file in the home. A serving process holds an flock on it; it contains the process, the webserver's
address and the parts as JSON."""
TRIES: Final = 20
"""Attempts to take the lock: commands that check whether a home is served hold it for a moment."""
PAUSE_S: Final = 0.05
"""Pause between two attempts to take the lock [s]."""
GRACE_S: Final = 20.0
"""Time that running runs have to record their interruption in their jobs [s]."""
GUARDIAN_S: Final = GRACE_S + 20.0
"""Time that the guardian of a killed `touchline serve` has to end its parts, then the servers [s]."""
SAME_S: Final = 2.0
"""Tolerance for the start time of a process in lock files of older versions, which use the wall clock [s]."""


class HomeLock:
    """The held lock of a home, with the state that other processes read from its file."""

    def __init__(self, lock: BinaryIO) -> None:
        self._lock = lock
        self._state: dict[str, Any] = {"pid": os.getpid(), "url": "", "guardian": None, "parts": []}
        self._write()

    def parts(self, groups: list[dict[str, Any]]) -> None:
        """Records the parts' processes, each the leader of its group (see `leader`)."""
        self._state["parts"] = groups
        self._write()

    def guardian(self, pid: int) -> None:
        """Records the process that ends the parts if this one is killed."""
        self._state["guardian"] = leader(pid)
        self._write()

    def url(self, url: str) -> None:
        """Records the address of the webserver."""
        self._state["url"] = url
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._state).encode() + b"\n"
        # One call, so that nobody reads an incomplete state. Shorter texts are padded with blanks.
        os.pwrite(self._lock.fileno(), text.ljust(os.fstat(self._lock.fileno()).st_size), 0)


def leader(pid: int) -> dict[str, Any]:
    """The record of a process that leads a group of its own."""
    return {"pid": pid, "id": identity(pid)}


@contextmanager
def hold_home(home: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[HomeLock]:
    """Holds the lock of a home after ending the parts of a killed `touchline serve`; `tell` announces a longer wait.

    Raises BadInputError if the home is already served; the message names the address and the process.
    """
    home.mkdir(parents=True, exist_ok=True)
    # Not opened for appending: the state is written at the beginning of the file.
    with os.fdopen(os.open(home / FILE, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        for attempt in range(TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == TRIES - 1:
                    raise BadInputError(_served(home, _read(lock))) from error
                time.sleep(PAUSE_S)
        state = _read(lock)
        _wait_for_guardian(state, tell)
        end_parts(state)
        try:
            yield HomeLock(lock)
        finally:
            # An empty file: no parts are left.
            lock.truncate(0)


def is_served(home: Path) -> bool:
    """Whether a `touchline serve` of this home is running."""
    try:
        with (home / FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on a port; 0 takes a free one. Raises BadInputError if the port cannot be used."""
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


def state_of(home: Path) -> dict[str, Any]:
    """The state that a running or killed `touchline serve` of a home recorded; empty if there is none."""
    try:
        with (home / FILE).open("rb") as lock:
            return _read(lock)
    except FileNotFoundError:
        return {}


def end_parts(state: dict[str, Any]) -> None:
    """Ends the parts of a killed `touchline serve`, but no other program that reuses a part's PID."""
    pids = [int(part["pid"]) for part in state.get("parts") or () if _is_left(part)]
    if pids:
        end_groups(pids, GRACE_S)


def _wait_for_guardian(state: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Waits until the guardian of a killed `touchline serve` has ended."""
    guardian = state.get("guardian")
    if isinstance(guardian, dict) and _is_left(guardian):
        pid, remembered = int(guardian["pid"]), str(guardian["id"])
        tell(f"a `touchline serve` was killed; its runs have {GRACE_S:.0f} s to end, then this one starts")
        wait_until(lambda: is_same(pid, remembered) is not True, GUARDIAN_S, pause_s=0.1)


def _is_left(part: Any) -> bool:
    """Whether a recorded part, or another process of its group, is alive."""
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
    # The system does not reuse the id of an existing group: a group without a leader is the recorded one.
    return bool(same) or (not psutil.pid_exists(pid) and bool(group(pid)))


def _served(home: Path, state: dict[str, Any]) -> str:
    by = f"by process {state['pid']}" if state.get("pid") else "by another process"
    if state.get("url"):
        return f"{home} is already served at {state['url']} {by}; end that one first, or set TOUCHLINE_HOME to another"
    return f"{home} is already served {by}, which is starting or ending"


def _read(lock: BinaryIO) -> dict[str, Any]:
    lock.seek(0)
    try:
        state = json.loads(lock.read() or b"{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
