"""Whether the process that executes a run is alive, and killing it if it hangs.

Belongs here: tagging a run with its process, checking that process, and killing it. `reconcile.py` ends the runs of
dead processes; `watchdog.py` and `worker_pool.py` decide when to kill.

Dagster learns of a run's end from the run's process, or from the code server that launched it. A run inside `touchline
run` has no such server, and a server can be killed together with its runs. Such a run would stay "started".
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

OLD_PROCESS_TAG: Final = "touchline/process"
"""The name of `PROCESS_TAG` on runs of older versions."""
CLOCK_S: Final = 60.0
"""Tolerance for the start time of a process in tags of older versions, which identify it by the wall clock [s]."""
Process = tuple[int, str]
"""A process of this machine: its PID and its `identity`."""

finished_here: Final[set[str]] = set()
"""Ids of runs that this process has left. The process is alive, but does not execute them any more."""


def process_tag(run_id: str, pid: int | None = None) -> str:
    """The value of `PROCESS_TAG` for a run of a process of this machine, by default this process.

    It contains the run's id, because Dagster copies the tags of a run to its re-executions.
    """
    return json.dumps({"run": run_id, "host": host(), **process_here(pid)}, sort_keys=True)


def marked(tags: Mapping[str, str], run_id: str) -> bool:
    """Whether a run has a valid process tag of its own."""
    return _read(tags, run_id) is not None


def dead_process(tags: Mapping[str, str], run_id: str) -> str | None:
    """The name of the process that executed this run, if it is known to be dead.

    None while it is alive, and if that is unknown: no tag, or a process on another machine.
    """
    mark = _local_mark(tags, run_id)
    if mark is None:
        return None
    if run_id in finished_here:
        return "its process, which could not say so,"
    return name_of(host(), mark) if _alive(mark) is False else None


def runs_on_this_machine(tags: Mapping[str, str], run_id: str, process: Process | None = None) -> bool:
    """Whether a run is tagged with a process of this machine, or with `process` if that is given."""
    mark = _local_mark(tags, run_id)
    if mark is None:
        return False
    return process is None or (int(str(mark["pid"])), mark.get("identity")) == process


def kill_process(tags: Mapping[str, str], run_id: str) -> bool:
    """Kills the process of a run, if it is another process of this machine. Returns whether it is gone."""
    mark = _local_mark(tags, run_id)
    if mark is None or run_id in finished_here or int(str(mark["pid"])) == os.getpid():
        return False
    alive = _alive(mark)
    return kill_tree(int(str(mark["pid"]))) if alive else alive is False


def kill_tree(pid: int, remembered: str = "") -> bool:
    """Kills a process and its children. Returns whether it is gone. A PID whose identity is not `remembered` is reused
    and not killed; without `remembered` the identity is not checked.

    Children in a session of their own are not killed: the embedded servers outlive the process that started them. A
    stopped process (SIGSTOP) is killed as well.
    """
    if remembered and not (same := is_same(pid, remembered)):
        return same is False
    try:
        process = psutil.Process(pid)
        session = os.getsid(pid)
        children = [child for child in process.children(recursive=True) if _session(child.pid) == session]
        for one in (process, *children):
            with suppress(psutil.NoSuchProcess):
                one.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    except (psutil.AccessDenied, PermissionError):
        return False
    return True


def _alive(mark: Mapping[str, object]) -> bool | None:
    """Whether the process of a tag from this machine is alive; None if that is unknown."""
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


def _local_mark(tags: Mapping[str, str], run_id: str) -> dict[str, object] | None:
    """The process tag of a run, if it names a process of this machine."""
    mark = _read(tags, run_id)
    return mark if mark is not None and mark["host"] == host() else None


def _read(tags: Mapping[str, str], run_id: str) -> dict[str, object] | None:
    text = tags.get(PROCESS_TAG) or tags.get(OLD_PROCESS_TAG)
    if text is None:
        return None
    try:
        mark = json.loads(text)
    except ValueError:
        # Anybody can write tags in the launchpad; an invalid one is ignored.
        return None
    whole = isinstance(mark, dict) and {"run", "host", "pid"} <= mark.keys() and {"identity", "started"} & mark.keys()
    return mark if whole and mark["run"] == run_id else None
