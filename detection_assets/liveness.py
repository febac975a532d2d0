"""Whether the process that does a run's work is still there, and ending it where it hangs.

Belongs here: marking a run with its process, asking whether that process is dead, and killing it. What follows from
it is in `reconcile.py`; when a process is killed, in `watchdog.py` and `side_by_side.py`.

Dagster learns that a run has ended from the run itself, or from the server that launched it. A run inside `touchline
run` has no such server, and a server can die with its runs: killed, they would stay "started" for ever.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import psutil

PROCESS_TAG: Final = ".dagster/touchline/process"
"""On every run of ours: which process does its work. Dagster's pages hide tags that begin so."""
OLD_PROCESS_TAG: Final = "touchline/process"
"""The same on runs of older versions, which may have died at work."""
CLOCK_S: Final = 60.0
"""How far two readings of one process's start may lie apart [s]: a machine's clock is set from time to time. Within
this time no process id comes round again."""

done_here: Final[set[str]] = set()
"""Runs that this process has done with, in whichever way: it lives, but not for them."""


def process_tag(run_id: str) -> str:
    """The value of `PROCESS_TAG` for a run that this process does.

    The run's id is part of it because Dagster copies the tags of a run to its re-executions.
    """
    started = psutil.Process().create_time()
    return json.dumps({"run": run_id, "host": _host(), "pid": os.getpid(), "started": started}, sort_keys=True)


def marked(tags: Mapping[str, str], run_id: str) -> bool:
    """Whether a run carries the mark of a process of its own."""
    return _read(tags, run_id) is not None


def dead_process(tags: Mapping[str, str], run_id: str) -> str | None:
    """The name of the process that did this run, if it is known to be dead.

    Nothing while it lives, and nothing where it cannot be told: no mark, or a process on another machine.
    """
    mark = _read(tags, run_id)
    if mark is None or mark["host"] != _host():
        return None
    if run_id in done_here:
        return "its process, which could not say so,"
    pid = int(str(mark["pid"]))
    name = f"process {pid} on {socket.gethostname()}"
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - float(str(mark["started"]))) < CLOCK_S
        return None if same and process.status() != psutil.STATUS_ZOMBIE else name
    except psutil.NoSuchProcess:
        return name
    except psutil.AccessDenied:
        return None


def works_here(tags: Mapping[str, str], run_id: str, process: tuple[int, float] | None = None) -> bool:
    """Whether a run carries the mark of a process of this machine; of this one (id and start), if given."""
    mark = _read(tags, run_id)
    if mark is None or mark["host"] != _host():
        return False
    return process is None or (
        int(str(mark["pid"])) == process[0] and abs(float(str(mark["started"])) - process[1]) < CLOCK_S
    )


def kill_process(tags: Mapping[str, str], run_id: str) -> bool:
    """Kills the process that does a run, if it is one of this machine and not this one; whether it is gone."""
    mark = _read(tags, run_id)
    if mark is None or mark["host"] != _host() or run_id in done_here or int(str(mark["pid"])) == os.getpid():
        return False
    return kill_tree(int(str(mark["pid"])), float(str(mark["started"])))


def kill_tree(pid: int, started: float | None = None) -> bool:
    """Kills a process (one begun at `started` [s since 1970], if given) with all that it began; whether it is gone.

    Children in a session of their own are spared: the embedded servers are, and outlive whoever started them. A
    stopped process is killed as well as one that runs.
    """
    try:
        process = psutil.Process(pid)
        if started is not None and abs(process.create_time() - started) >= CLOCK_S:
            return True
        session = os.getsid(pid)
        begun = [child for child in process.children(recursive=True) if _session(child.pid) == session]
        for one in (process, *begun):
            with suppress(psutil.NoSuchProcess):
                one.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    except (psutil.AccessDenied, PermissionError):
        return False
    return True


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _read(tags: Mapping[str, str], run_id: str) -> dict[str, object] | None:
    text = tags.get(PROCESS_TAG) or tags.get(OLD_PROCESS_TAG)
    if text is None:
        return None
    try:
        mark = json.loads(text)
    except ValueError:
        # Anybody can write tags in the launchpad; what is no mark of ours says nothing.
        return None
    whole = isinstance(mark, dict) and {"run", "host", "pid", "started"} <= mark.keys()
    return mark if whole and mark["run"] == run_id else None


@lru_cache(1)
def _host() -> str:
    """This machine as processes see it: containers of one machine do not see each other's."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino if namespace.exists() else 0}"
