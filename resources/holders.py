"""The processes that do runs, as a lease or a mark on the run remembers them: which they are, and whether they live.

Belongs here: what can be told from this machine, without any database. No clock is asked: a process is known by its
number and by its start since the machine was booted.
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
    """This machine as processes see it: containers of one machine do not see each other's."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino if namespace.exists() else 0}"


def process_here(pid: int | None = None) -> dict[str, str | int]:
    """What is remembered of a process of this machine, by default this one."""
    pid = pid or os.getpid()
    return {"pid": pid, "identity": identity(pid) or ""}


def name_of(where: str, process: Mapping[str, Any]) -> str:
    """What to call a process on a host."""
    return f"process {process.get('pid')} on {where.partition('/')[0]}"


def is_gone(where: str, process: Mapping[str, Any]) -> bool:
    """Whether a process is known to be dead: it was one of this machine, in this boot, and there is none such."""
    pid, remembered = _here(where, process)
    return bool(remembered) and is_same(pid, remembered) is False


def is_working(where: str, process: Mapping[str, Any]) -> bool:
    """Whether a process is one of this machine that lives and was not stopped from outside.

    Its silence then proves nothing: a computation may keep all of its threads waiting.
    """
    pid, remembered = _here(where, process)
    if not remembered or not is_same(pid, remembered):
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _here(where: str, process: Mapping[str, Any]) -> tuple[int, str]:
    """Number and identity of a process that was begun on this machine, in this boot; else an empty identity.

    A name that another machine has as well, or another boot, proves nothing.
    """
    pid, remembered = int(process.get("pid") or 0), str(process.get("identity") or "")
    boot = (identity(os.getpid()) or "").rpartition("/")[0]
    same = where == host() and remembered.rpartition("/")[0] == boot
    return pid, remembered if same and pid > 0 else ""
