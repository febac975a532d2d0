"""Child processes that outlive the terminal's Ctrl-C, and recognising them again later.

Belongs here: starting, recognising and ending one server process. Which servers, with which options, is in
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
"""What a server writes is for its own user, whatever the caller's umask."""
LIMITS: Final = (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)
"""Limits of a shell that a server could not work under; they are raised as far as the system lets them be."""
MOST_FILES: Final = 65_536


def server_environment(home: Path) -> dict[str, str]:
    """The environment of an embedded server: nothing of the user's shell but where programs are found.

    No locale, time zone, library path, configuration or proxy of the user's is a server's business. `home` is where it
    may look for files of its own.
    """
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(home), "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def write_for_owner(path: Path, text: str) -> None:
    """Writes a file that the owner alone may read, whole or not at all; on disk, with its name, when this returns."""
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # Whoever tells of it names the disk by the file; a write that fails does not.
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
    """Lets every user read a folder of ours with all that is in it, and run the programs there."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o755 if path.is_dir() or mode & 0o100 else 0o444))


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
    env: Mapping[str, str],
    user: int | None = None,
    group: int | None = None,
    cwd: Path = Path("/"),
) -> int:
    """Starts a server in a session of its own, its output appended to `log`; returns its pid.

    A session of its own keeps Ctrl-C from reaching it, so that it is ended in order, after its users.
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
    # The server outlives this object on purpose; without this Popen warns of a child left running.
    process.returncode = 0
    return process.pid


@contextmanager
def _wide_limits() -> Iterator[None]:
    """While a server is started its limits are not those of the user's shell; children inherit them."""
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
    """What tells the process `pid` from every other that has or will have this number: the boot and its start in it.

    The start is counted in ticks since the machine was booted, so that no step of the clock changes it. Empty if there
    is no such process or it is a zombie; None if it exists and the system does not tell more about it.
    """
    if not Path("/proc/self/stat").exists():
        return _told_by_psutil(pid)
    try:
        # The name of the program stands in brackets and may hold any character.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None if _exists(pid) else ""
    if len(fields) < 20 or fields[0] in "ZXx":
        return ""
    return f"{_boot()}/{fields[19]}"


def is_same(pid: int, remembered: str) -> bool | None:
    """Whether the process whose `identity` was remembered lives under `pid`; None if this cannot be told."""
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
    """The machine's current boot; a container has that of its machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_ours(pid: int, mark: str, user: int | None = None) -> bool:
    """Whether `pid` is a living process of ours whose command line holds `mark` (its data folder) as an argument.

    `mark` may follow an option's name and "=". `user` is the id of the user it runs as, if not our own. A pid alone
    proves nothing, and anybody may start a program with such a command line.
    """
    try:
        process = psutil.Process(pid)
        return process.uids().real == (os.geteuid() if user is None else user) and _serves(process, mark)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return False


def find(mark: str, user: int | None = None) -> int:
    """The pid of the server that has `mark` as in `is_ours`, whoever started it; 0 if there is none."""
    for pid in psutil.pids():
        if is_ours(pid, mark, user):
            return pid
    return 0


def _serves(process: psutil.Process, mark: str) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    return any(word == mark or (word.startswith("-") and word.endswith(f"={mark}")) for word in process.cmdline())


def ended(pid: int) -> bool:
    """Whether a server that we have just started is gone. (Its command line is not readable in its first moments.)"""
    return _reaped(pid) or zombie(pid) or not psutil.pid_exists(pid)


def zombie(pid: int) -> bool:
    """Whether a process is dead and its parent has not been told yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_in(folder: Path, name: str) -> None:
    """Kills the processes called `name` that work in `folder`: the children of a server that was killed itself."""
    left = [p for p in psutil.process_iter(["cwd", "name"]) if p.info["cwd"] == str(folder) and p.info["name"] == name]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def end(pid: int, mark: str, first: signal.Signals, patience_s: float = 15.0, user: int | None = None) -> None:
    """Asks our server to end with `first`, and kills it when its patience is over. Leaves any other process alone."""
    if not is_ours(pid, mark, user):
        return
    os.kill(pid, first)
    if not wait_until(lambda: _reaped(pid) or not is_ours(pid, mark, user), patience_s):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _reaped(pid) or not is_ours(pid, mark, user), 5.0)


def group(leader: int) -> list[psutil.Process]:
    """The living processes of a process group, named by its leader, who may be gone already."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_groups(leaders: Sequence[int], patience_s: float) -> None:
    """Asks process groups to end, and kills what is left of them when the patience is over.

    The leader's end is not that of the group: what it started may have work to put in order.
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
    """Whether `condition` came true within `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


def fail(name: str, log: Path, why: str) -> ServiceError:
    """The error for a server that did not start, with the end of its log."""
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
