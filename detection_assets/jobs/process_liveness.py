"""Whether the process that does a run's work is still there, and ending it where it hangs.

Belongs here: marking a run with its process, asking whether that process is dead, and killing it. What follows from
it is in `reconcile.py`; when a process is killed, in `watchdog.py` and `worker_pool.py`.

Dagster learns that a run has ended from the run itself, or from the server that launched it. A run inside `touchline
run` has no such server, and a server can die with its runs: killed, they would stay "started" for ever.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import psutil

from detection_assets.dagster_internals.tags import PROCESS_TAG
from resources.embedded.processes import is_same
from resources.holders import host, name_of, process_here

"""On every run of ours: which process does its work. Dagster's pages hide tags that begin so."""
OLD_PROCESS_TAG: Final = "touchline/process"
"""The same on runs of older versions, which may have died at work."""
CLOCK_S: Final = 60.0
"""How far two readings of one process's start may lie apart in the marks of older versions [s], which name it by the
clock."""
Process = tuple[int, str]
"""A process of this machine: its number, and its `identity`."""

done_here: Final[set[str]] = set()
"""Runs that this process has done with, in whichever way: it lives, but not for them."""


def process_tag(run_id: str, pid: int | None = None) -> str:
    """The value of `PROCESS_TAG` for a run that a process of this machine does, by default this one.

    The run's id is part of it because Dagster copies the tags of a run to its re-executions.
    """
    return json.dumps({"run": run_id, "host": host(), **process_here(pid)}, sort_keys=True)


def marked(tags: Mapping[str, str], run_id: str) -> bool:
    """Whether a run carries the mark of a process of its own."""
    return _read(tags, run_id) is not None


def dead_process(tags: Mapping[str, str], run_id: str) -> str | None:
    """The name of the process that did this run, if it is known to be dead.

    Nothing while it lives, and nothing where it cannot be told: no mark, or a process on another machine.
    """
    mark = _made_here(tags, run_id)
    if mark is None:
        return None
    if run_id in done_here:
        return "its process, which could not say so,"
    return name_of(host(), mark) if _lives(mark) is False else None


def works_here(tags: Mapping[str, str], run_id: str, process: Process | None = None) -> bool:
    """Whether a run carries the mark of a process of this machine; of this one, if given."""
    mark = _made_here(tags, run_id)
    if mark is None:
        return False
    return process is None or (int(str(mark["pid"])), mark.get("identity")) == process


def kill_process(tags: Mapping[str, str], run_id: str) -> bool:
    """Kills the process that does a run, if it is one of this machine and not this one; whether it is gone."""
    mark = _made_here(tags, run_id)
    if mark is None or run_id in done_here or int(str(mark["pid"])) == os.getpid():
        return False
    lives = _lives(mark)
    return kill_tree(int(str(mark["pid"]))) if lives else lives is False


def kill_tree(pid: int, remembered: str = "") -> bool:
    """Kills a process (the one of that `identity`, if it is given) with all that it began; whether it is gone.

    Children in a session of their own are spared: the embedded servers are, and outlive whoever started them. A
    stopped process is killed as well as one that runs.
    """
    if remembered and not (same := is_same(pid, remembered)):
        return same is False
    try:
        process = psutil.Process(pid)
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


def _lives(mark: Mapping[str, object]) -> bool | None:
    """Whether the process of a mark made on this machine lives; None where it cannot be told."""
    pid = int(str(mark["pid"]))
    if "identity" in mark:
        return is_same(pid, str(mark["identity"]))
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - float(str(mark["started"]))) < CLOCK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _made_here(tags: Mapping[str, str], run_id: str) -> dict[str, object] | None:
    """The mark of a run that a process of this machine does, or did."""
    mark = _read(tags, run_id)
    return mark if mark is not None and mark["host"] == host() else None


def _read(tags: Mapping[str, str], run_id: str) -> dict[str, object] | None:
    text = tags.get(PROCESS_TAG) or tags.get(OLD_PROCESS_TAG)
    if text is None:
        return None
    try:
        mark = json.loads(text)
    except ValueError:
        # Anybody can write tags in the launchpad; what is no mark of ours says nothing.
        return None
    whole = isinstance(mark, dict) and {"run", "host", "pid"} <= mark.keys() and {"identity", "started"} & mark.keys()
    return mark if whole and mark["run"] == run_id else None
