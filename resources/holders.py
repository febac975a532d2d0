"""Identity and liveness of the processes that execute runs, as a lease or a run tag stores them.

Belongs here: what this machine can determine, without a database or a clock. A process is identified by its pid and its
start time since boot.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from resources.embedded.processes import identity, is_same


@lru_cache(1)
def host() -> str:
    """Host name and PID namespace: containers of one machine have different ones."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino if namespace.exists() else 0}"


def process_here(pid: int | None = None) -> dict[str, str | int]:
    """The stored form of a process of this machine, by default this process."""
    pid = pid or os.getpid()
    return {"pid": pid, "identity": identity(pid) or ""}


def name_of(where: str, process: Mapping[str, Any]) -> str:
    """The name of a process in messages."""
    return f"process {process.get('pid')} on {where.partition('/')[0]}"


def is_gone(where: str, process: Mapping[str, Any]) -> bool:
    """Whether a process is known to be dead: it ran on this machine, in this boot, and does not exist any more."""
    pid, remembered = _here(where, process)
    return bool(remembered) and is_same(pid, remembered) is False


def is_working(where: str, process: Mapping[str, Any]) -> bool:
    """Whether a process runs on this machine and was not stopped by a signal.

    A missing heartbeat then proves nothing: a computation may block all threads of the process.
    """
    pid, remembered = _here(where, process)
    if not remembered or not is_same(pid, remembered):
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _here(where: str, process: Mapping[str, Any]) -> tuple[int, str]:
    """Pid and identity of a process of this machine and boot; an empty identity for any other process."""
    pid, remembered = int(process.get("pid") or 0), str(process.get("identity") or "")
    boot = (identity(os.getpid()) or "").rpartition("/")[0]
    same = where == host() and remembered.rpartition("/")[0] == boot
    return pid, remembered if same and pid > 0 else ""
