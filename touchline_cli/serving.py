"""One `touchline serve` a home: the lock that it holds, and what one that was killed left running.

Belongs here: who serves a home, told to others through `serve.lock`. The address of the webserver is in `webserver.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

from touchline.errors import BadInputError

FILE: Final = "serve.lock"
"""In the home: locked (flock) by whoever serves it, with its process, address and parts as JSON."""
TRIES: Final = 20
PAUSE_S: Final = 0.05
"""Others hold the lock for a moment when they look whether somebody serves."""
PATIENCE_S: Final = 10.0
SAME_S: Final = 2.0
"""Times of a process's start that differ by less are one [s]: they are told by a clock that is set now and then."""


class Place:
    """The lock of a home, held; what is noted in it is read by others."""

    def __init__(self, lock: BinaryIO) -> None:
        self._lock = lock
        self._told: dict[str, Any] = {"pid": os.getpid(), "url": "", "parts": []}
        self._write()

    def part(self, pid: int) -> None:
        """Notes a process that was started, the leader of its group."""
        self._told["parts"].append({"pid": pid, "created": psutil.Process(pid).create_time()})
        self._write()

    def url(self, url: str) -> None:
        """Notes the address of the webserver."""
        self._told["url"] = url
        self._write()

    def _write(self) -> None:
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(json.dumps(self._told).encode() + b"\n")
        self._lock.flush()


@contextmanager
def alone(home: Path) -> Iterator[Place]:
    """Holds the lock of a home, and ends what one that was killed left behind.

    Raises BadInputError if the home is served already, naming where and by which process.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / FILE).open("a+b") as lock:
        for attempt in range(TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == TRIES - 1:
                    raise BadInputError(_served(home, _read(lock))) from error
                time.sleep(PAUSE_S)
        _end_left(_read(lock))
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


def check_port(host: str, port: int) -> None:
    """Raises BadInputError if a port cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise BadInputError(
            f"--host {host} --port {port}: it cannot be listened on ({error.strerror or error}); give another port, "
            "or 0 for a free one"
        ) from error


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


def _end_left(told: dict[str, Any]) -> None:
    """Ends the parts of a `touchline serve` that was killed; never another program that has got its number."""
    from resources._processes import end_groups

    left = []
    for part in told.get("parts", ()):
        try:
            process = psutil.Process(int(part["pid"]))
            if abs(process.create_time() - float(part["created"])) < SAME_S:
                left.append(process.pid)
        except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
            continue
    if left:
        end_groups(left, PATIENCE_S)
