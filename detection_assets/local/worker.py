"""One process for `worker_pool.py`: started without a terminal, given work, heard, interrupted or killed.

Belongs here: both ends of one process. Which work is given to which process is decided in `worker_pool.py`.

The process is in a session of its own, and its standard streams are none of the terminal's. Imports start programs
that set the terminal (ffmpeg does): from a background group of the terminal's session the kernel would stop them and
the process with them, and from any other they would change the terminal behind the user's back.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from detection_assets.dagster_internals.quiet import quiet
from detection_assets.jobs.process_liveness import kill_tree
from resources.embedded.processes import identity
from touchline.errors import TouchlineError, in_words

if TYPE_CHECKING:
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from resources.local_services import Endpoints
    from resources.settings import Settings

LAST_WORDS: Final = 2000
"""Bytes kept of what a process printed last, of the work that it was given last."""


class Worker:
    """One process, seen from outside: tasks go in, what becomes of them comes out.

    `connected` is whether it was told where the servers are; `at_work` is the number of what it does, if anything;
    `heard` counts what it said; `stage` is what it said last.
    """

    def __init__(self, settings: Settings, share: Sequence[int]) -> None:
        self.share = share
        self.at_work: int | None = None
        self.heard = 0
        self.connected = False
        self.stage: str | None = None
        self._tail = b""
        context = multiprocessing.get_context("spawn")
        tasks, self._tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        said, says = context.Pipe(duplex=False)
        self.process = context.Process(target=serve, args=(settings, share, tasks, results, says), daemon=True)
        # Held back until it has left the terminal's process group: Ctrl-C is for us.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        self.pid = int(self.process.pid or 0)
        self.identity = identity(self.pid) or ""
        # The process has its own: while we held these, we would not see the end of it, nor it ours.
        for end in (tasks, results, says):
            end.close()
        self._relay = threading.Thread(target=self._pass_on, args=(said,), name="relay", daemon=True)
        self._relay.start()

    def connect(self, endpoints: Endpoints) -> None:
        """Tells the process where the servers are, once."""
        if not self.connected:
            self.connected = True
            self._send(endpoints)

    def begin(self, number: int, work: Callable[[Runner, Listener], Any]) -> None:
        """Gives the process something to do."""
        self.at_work, self.stage, self._tail = number, None, b""
        self.heard += 1
        self._send(work)

    def receive(self) -> tuple[str, Any]:
        """The next thing that the process says: "progress", "done" or "failed", and what belongs to it; or "died"."""
        self.heard += 1
        try:
            kind, value = self.results.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.process.join()
            code = self.process.exitcode
            hint = " (killed, as systems do that are short of memory)" if code == -signal.SIGKILL else ""
            return "died", f"the process that worked on it ended with code {code}{hint}"
        if kind == "progress":
            self.stage = value[0]
        return kind, value

    def let_go(self) -> None:
        """Ends the process: at once if it waits, by an interruption if it works."""
        self._tasks.close()
        self.results.close()

    def kill(self) -> None:
        """Ends the process and what it began, whatever state it is in."""
        kill_tree(self.pid, self.identity)
        self.process.join()
        self.let_go()

    def last_words(self) -> str:
        """The end of what the process printed, on lines of its own; nothing if it printed nothing."""
        self._relay.join(1.0)
        text = self._tail.decode("utf-8", "replace").strip()
        return f"\nIt printed last:\n{text}" if text else ""

    def _send(self, what: object) -> None:
        # If it is gone, `receive` says so.
        with suppress(BrokenPipeError):
            self._tasks.send(what)

    def _pass_on(self, said: Connection) -> None:
        """What the process prints goes to our standard error, whoever of it prints it where."""
        while data := os.read(said.fileno(), 65536):
            self._tail = (self._tail + data)[-LAST_WORDS:]
            with suppress(OSError, ValueError):
                sys.stderr.write(data.decode("utf-8", "backslashreplace"))
                sys.stderr.flush()
        said.close()


def shares(count: int) -> list[list[int]]:
    """The cores of this process in `count` shares; none where a system does not tell."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [cores[n::count] or cores[n % len(cores) :][:1] if cores else [] for n in range(count)]


def leave_terminal(says: Connection) -> None:
    """Takes this process away from the terminal: a session of its own, nothing to read, and `says` to print to."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (1, 2):
        os.dup2(says.fileno(), stream)
    says.close()
    # One that came before we had left was meant for the command, and is dropped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)


def serve(settings: Settings, share: Sequence[int], tasks: Connection, results: Connection, says: Connection) -> None:
    """The process: does what comes, until the other end goes away."""
    # First, so that it is done last, when everything else was put in order.
    leave = _Leave()
    leave_terminal(says)
    if share:
        os.sched_setaffinity(0, share)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        _serve(settings, tasks, results)
    leave.now = True


def _serve(settings: Settings, tasks: Connection, results: Connection) -> None:
    quiet()
    from detection_assets.local.runner import Runner

    inbox = _Inbox(tasks)
    waiting = iter(inbox)
    if (where := next(waiting, None)) is None:
        return
    try:
        runner = Runner(settings, pickle.loads(where))  # noqa: S301 (from the process that started this one)
    except TouchlineError as error:
        results.send(("failed", error))
        return
    for task in waiting:
        with inbox.at_work():
            answer = _done(task, runner, results)
        results.send(answer)
    runner.close()


class _Leave:
    """Ends the process at the end of its exit handlers: taking down loaded models takes Python a second or more."""

    def __init__(self) -> None:
        self.now = False
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.now:
            sys.stdout.flush()
            os._exit(0)


def _done(task: bytes, runner: Runner, results: Connection) -> tuple[str, Any]:
    lock = threading.Lock()

    def listen(stage: str, share: float) -> None:
        # Nobody there any more: the inbox knows, and is about to interrupt us.
        with lock, suppress(BrokenPipeError):
            results.send(("progress", (stage, share)))

    try:
        return "done", pickle.loads(task)(runner, listen)  # noqa: S301 (from the process that started this one)
    except TouchlineError as error:
        return "failed", error
    except Exception as error:
        traceback.print_exc()
        return "failed", TouchlineError(in_words(error))


class _Inbox:
    """Tasks as they come, pickled. When the other end goes away, what is at work is interrupted as by Ctrl-C."""

    def __init__(self, tasks: Connection) -> None:
        self._tasks = tasks
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._working = False
        threading.Thread(target=self._receive, name="inbox", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        while (task := self._waiting.get()) is not None:
            yield task

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Between its ends there is something to interrupt."""
        with self._lock:
            self._working = True
        try:
            yield
        finally:
            with self._lock:
                self._working = False

    def _receive(self) -> None:
        with suppress(EOFError, ConnectionResetError):
            while True:
                self._waiting.put(self._tasks.recv_bytes())
        self._waiting.put(None)
        with self._lock:
            if self._working:
                os.kill(os.getpid(), signal.SIGINT)
