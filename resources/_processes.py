"""Child processes that outlive the terminal's Ctrl-C, and recognising them again later.

Belongs here: starting, recognising and ending one server process. Which servers, with which options, is in
`_postgres_server.py` and `_object_server.py`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from touchline.errors import ServiceError


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


def port_free(port: int) -> bool:
    """Whether a port on 127.0.0.1 can be listened on."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_open(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as s:
        s.settimeout(1.0)
        return s.connect_ex(("127.0.0.1", port)) == 0


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    user: int | None = None,
    group: int | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Starts a server in a session of its own, its output appended to `log`; returns its pid.

    A session of its own keeps Ctrl-C from reaching it, so that it is ended in order, after its users.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            env=None if env is None else dict(env),
            cwd="/",
        )
    # The server outlives this object on purpose; without this Popen warns of a child left running.
    process.returncode = 0
    return process.pid


def is_ours(pid: int, mark: str) -> bool:
    """Whether `pid` is a living process whose command line holds `mark` (its data folder). A pid proves nothing."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(mark in part for part in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return False


def ended(pid: int) -> bool:
    """Whether a server that we have just started is gone. (Its command line is not readable in its first moments.)"""
    return _reaped(pid) or zombie(pid) or not psutil.pid_exists(pid)


def zombie(pid: int) -> bool:
    """Whether a process is dead and its parent has not been told yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_in(folder: Path) -> None:
    """Kills what still works in `folder`: the children of a server that was killed itself."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(folder):
            process.kill()
            psutil.wait_procs([process], timeout=5)


def end(pid: int, mark: str, first: signal.Signals, patience_s: float = 15.0) -> None:
    """Asks our server to end with `first`, and kills it when its patience is over. Leaves any other process alone."""
    if not is_ours(pid, mark):
        return
    os.kill(pid, first)
    if not wait_until(lambda: _reaped(pid) or not is_ours(pid, mark), patience_s):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _reaped(pid) or not is_ours(pid, mark), 5.0)


def wait_until(condition: Callable[[], bool], patience_s: float, pause_s: float = 0.03) -> bool:
    """Whether `condition` came true within `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


def fail(name: str, log: Path, why: str) -> ServiceError:
    """The error for a server that did not start, with the end of its log."""
    tail = log.read_text("utf-8", "replace")[-1500:].strip() if log.exists() else "(no log)"
    return ServiceError(f"the embedded {name} did not start: {why}. The end of {log}:\n{tail}")


def _reaped(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return done == pid
