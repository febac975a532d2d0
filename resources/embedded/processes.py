"""Server processes that run independently of the terminal.

Belongs here: starting, identifying and ending a server process. The servers and their options are in
`postgres_server.py` and `object_server.py`.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import psutil

from touchline.disk import shortage
from touchline.errors import ServiceError

UMASK: Final = 0o077
"""The umask of servers: files are for their user only."""
LIMITS: Final = (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)
"""Resource limits that are raised to the hard limit for a server."""
MOST_FILES: Final = 65_536
"""Maximum of the limit of open files of a server."""


def server_environment(home: Path) -> dict[str, str]:
    """The environment of an embedded server: PATH of this process, fixed locale and time zone, and `home` as HOME."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(home), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def write_for_owner(path: Path, text: str) -> None:
    """Writes a file for the owner only, atomically, and syncs it and its folder. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # A failed write sets no file name, which messages about a full disk need.
        error.filename = error.filename or str(path)
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    opened = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def open_tree(folder: Path) -> None:
    """Lets every user read a folder with all its content, and execute its programs."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o755 if path.is_dir() or mode & 0o100 else 0o444))


def free_ports(count: int) -> list[int]:
    """Distinct ports on 127.0.0.1 that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


def port_free(port: int) -> bool:
    """Whether a port on 127.0.0.1 can be bound."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_open(port: int) -> bool:
    """Whether a port on 127.0.0.1 accepts connections."""
    with socket.socket() as s:
        s.settimeout(1.0)
        return s.connect_ex(("127.0.0.1", port)) == 0


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str],
    user: int | None = None,
    group: int | None = None,
    cwd: Path = Path("/"),
) -> int:
    """Starts a server in a new session, with its output appended to `log`. Returns its pid.

    Ctrl-C does not reach the new session, so that the server can be stopped after its clients.
    """
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(opened, "ab") as output, _wide_limits():
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            env=dict(env),
            umask=UMASK,
            cwd=cwd,
        )
    # The server outlives this object; without a return code Popen would warn.
    process.returncode = 0
    return process.pid


@contextmanager
def _wide_limits() -> Iterator[None]:
    """Raises LIMITS for the block, in which a child process inherits them."""
    before = {limit: resource.getrlimit(limit) for limit in LIMITS}
    for limit, (soft, hard) in before.items():
        wanted = hard
        if limit == resource.RLIMIT_NOFILE:
            most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
            wanted = soft if soft == resource.RLIM_INFINITY else max(soft, most)
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (wanted, hard))
    try:
        yield
    finally:
        for limit, pair in before.items():
            with suppress(ValueError, OSError):
                resource.setrlimit(limit, pair)


def identity(pid: int) -> str | None:
    """The unique identity of a process: boot id and start time, in clock ticks since boot.

    It does not depend on the system clock. Empty if the process does not exist or is a zombie; None if it exists and
    its start time is not available.
    """
    if not Path("/proc/self/stat").exists():
        return _told_by_psutil(pid)
    try:
        # The program name is in parentheses and may contain any character.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None if _exists(pid) else ""
    if len(fields) < 20 or fields[0] in "ZXx":
        return ""
    return f"{_boot()}/{fields[19]}"


def is_same(pid: int, remembered: str) -> bool | None:
    """Whether the process `pid` has the identity `remembered`; None if unknown."""
    found = identity(pid)
    return None if found is None else bool(found) and found == remembered


def _told_by_psutil(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"/{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""
    except psutil.AccessDenied:
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


@lru_cache(1)
def _boot() -> str:
    """The boot id of the machine; containers have that of their host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_ours(pid: int, mark: str, user: int | None = None) -> bool:
    """Whether `pid` is a running server with `mark` (its data folder) as an argument or as the value of an option.

    `user` is the id of its user, by default that of this process: other users may run the same command line.
    """
    try:
        process = psutil.Process(pid)
        return process.uids().real == (os.geteuid() if user is None else user) and _serves(process, mark)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return False


def find(mark: str, user: int | None = None) -> int:
    """The pid of the server with `mark`, as in `is_ours`; 0 if there is none."""
    for pid in psutil.pids():
        if is_ours(pid, mark, user):
            return pid
    return 0


def _serves(process: psutil.Process, mark: str) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    return any(word == mark or (word.startswith("-") and word.endswith(f"={mark}")) for word in process.cmdline())


def ended(pid: int) -> bool:
    """Whether a child process has ended. Unlike `is_ours` it needs no command line, which is empty before the exec."""
    return _reaped(pid) or zombie(pid) or not psutil.pid_exists(pid)


def zombie(pid: int) -> bool:
    """Whether a process is a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_in(folder: Path, name: str) -> None:
    """Kills the processes called `name` with the working directory `folder`: children of a killed server."""
    left = [p for p in psutil.process_iter(["cwd", "name"]) if p.info["cwd"] == str(folder) and p.info["name"] == name]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def end(pid: int, mark: str, first: signal.Signals, patience_s: float = 15.0, user: int | None = None) -> None:
    """Ends a server with the signal `first`, and with SIGKILL after `patience_s`. Ignores other processes."""
    if not is_ours(pid, mark, user):
        return
    os.kill(pid, first)
    if not wait_until(lambda: _reaped(pid) or not is_ours(pid, mark, user), patience_s):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _reaped(pid) or not is_ours(pid, mark, user), 5.0)


def group(leader: int) -> list[psutil.Process]:
    """The running processes of a process group, by the pid of its leader, which may have ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_groups(leaders: Sequence[int], patience_s: float) -> None:
    """Ends process groups with SIGTERM, and with SIGKILL after `patience_s` seconds.

    It waits for all processes of a group, not only its leader.
    """
    for leader in leaders:
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGTERM)
    if not wait_until(lambda: not any(map(group, leaders)), patience_s, pause_s=0.1):
        for leader in leaders:
            with suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
        wait_until(lambda: not any(map(group, leaders)), 5.0, pause_s=0.1)


def wait_until(condition: Callable[[], bool], patience_s: float, pause_s: float = 0.03) -> bool:
    """Whether `condition` became true within `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


def fail(name: str, log: Path, why: str) -> ServiceError:
    """The ServiceError for a server that did not start, with the end of its log."""
    if full := shortage(log.parent):
        return ServiceError(f"the embedded {name} did not start: {full}")
    tail = log.read_text("utf-8", "replace")[-1500:].strip() if log.exists() else "(no log)"
    return ServiceError(f"the embedded {name} did not start: {why}. The end of {log}:\n{tail}")


def _reaped(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return done == pid
