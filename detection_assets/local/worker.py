"""One worker process of `worker_pool.py`: started without a terminal, given tasks, interrupted or killed.

Belongs here: both ends of one process. `worker_pool.py` distributes the tasks.

The process has a session of its own, and its standard streams are not the terminal. Imports start programs that
configure the terminal (ffmpeg does). In a background process group the kernel would stop them together with the worker;
in the foreground group they would change the user's terminal.
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

from detection_assets.dagster_internals.silence import silence_dagster
from detection_assets.jobs.process_liveness import kill_tree
from resources.embedded.processes import identity
from touchline.errors import TouchlineError, in_words

if TYPE_CHECKING:
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from resources.local_services import Endpoints
    from resources.settings import Settings

TAIL_BYTES: Final = 2000
"""Bytes that are kept of the end of a worker's output during its current task."""


class Worker:
    """The parent's side of one worker process: sends tasks, receives their results.

    `cpus` are the cores of the process. `connected` is whether it has the servers' addresses, `task` the number of its
    current task, `messages` the number of messages received, `stage` the last stage that it reported.
    """

    def __init__(self, settings: Settings, cpus: Sequence[int]) -> None:
        self.cpus = cpus
        self.task: int | None = None
        self.messages = 0
        self.connected = False
        self.stage: str | None = None
        self._tail = b""
        context = multiprocessing.get_context("spawn")
        tasks, self._tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        output, stdout = context.Pipe(duplex=False)
        self.process = context.Process(target=serve, args=(settings, cpus, tasks, results, stdout), daemon=True)
        # SIGINT stays blocked in the child until it has left the terminal's process group.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.pid = int(self.process.pid or 0)
        self.identity = identity(self.pid) or ""
        # The child has copies of these ends. Neither side would see the other's end of file if they stayed open here.
        for end in (tasks, results, stdout):
            end.close()
        self._relay = threading.Thread(target=self._relay_output, args=(output,), name="relay", daemon=True)
        self._relay.start()

    def connect(self, endpoints: Endpoints) -> None:
        """Sends the servers' addresses to the process; only the first call has an effect."""
        if not self.connected:
            self.connected = True
            self._send(endpoints)

    def begin(self, number: int, work: Callable[[Runner, Listener], Any]) -> None:
        """Sends a task to the process."""
        self.task, self.stage, self._tail = number, None, b""
        self.messages += 1
        self._send(work)

    def receive(self) -> tuple[str, Any]:
        """The next message of the process: "progress", "done" or "failed" with its value; "died" with a reason."""
        self.messages += 1
        try:
            kind, value = self.results.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.process.join()
            code = self.process.exitcode
            hint = " (killed, possibly because memory ran out)" if code == -signal.SIGKILL else ""
            return "died", f"its worker process ended with exit code {code}{hint}"
        if kind == "progress":
            self.stage = value[0]
        return kind, value

    def close(self) -> None:
        """Ends the process: at once if it is idle, by an interruption if it is busy."""
        self._tasks.close()
        self.results.close()

    def kill(self) -> None:
        """Kills the process and its children."""
        kill_tree(self.pid, self.identity)
        self.process.join()
        self.close()

    def last_output(self) -> str:
        """The end of the process's output as text that starts on a new line; "" if it printed nothing."""
        self._relay.join(1.0)
        text = self._tail.decode("utf-8", "replace").strip()
        return f"\nIt printed last:\n{text}" if text else ""

    def _send(self, what: object) -> None:
        # If the process has died, `receive` reports it.
        with suppress(BrokenPipeError):
            self._tasks.send(what)

    def _relay_output(self, output: Connection) -> None:
        """Copies the output of the process and its children to standard error."""
        while data := os.read(output.fileno(), 65536):
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            with suppress(OSError, ValueError):
                sys.stderr.write(data.decode("utf-8", "backslashreplace"))
                sys.stderr.flush()
        output.close()


def cpu_shares(count: int) -> list[list[int]]:
    """The CPU cores of this process, divided among `count` workers; empty lists if the system does not report cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [cores[n::count] or cores[n % len(cores) :][:1] if cores else [] for n in range(count)]


def detach_from_terminal(stdout: Connection) -> None:
    """Gives this process a session of its own, an empty standard input, and `stdout` as its output."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (1, 2):
        os.dup2(stdout.fileno(), stream)
    stdout.close()
    # A SIGINT that came before was meant for the command; it is discarded.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)


def serve(settings: Settings, cpus: Sequence[int], tasks: Connection, results: Connection, stdout: Connection) -> None:
    """The main function of the worker process: executes tasks until the parent closes its end."""
    # Registered first, so that it is the last exit handler.
    fast_exit = _FastExit()
    detach_from_terminal(stdout)
    if cpus:
        os.sched_setaffinity(0, cpus)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        _serve(settings, tasks, results)
    fast_exit.enabled = True


def _serve(settings: Settings, tasks: Connection, results: Connection) -> None:
    silence_dagster()
    from detection_assets.local.runner import Runner

    inbox = _Inbox(tasks)
    received = iter(inbox)
    if (endpoints := next(received, None)) is None:
        return
    try:
        runner = Runner(settings, pickle.loads(endpoints))  # noqa: S301 (from the parent process)
    except TouchlineError as error:
        results.send(("failed", error))
        return
    for task in received:
        with inbox.busy():
            result = _execute(task, runner, results)
        results.send(result)
    runner.close()


class _FastExit:
    """Exits the process after its exit handlers, if `enabled`: Python needs a second or more to unload models."""

    def __init__(self) -> None:
        self.enabled = False
        atexit.register(self._exit)

    def _exit(self) -> None:
        if self.enabled:
            sys.stdout.flush()
            os._exit(0)


def _execute(task: bytes, runner: Runner, results: Connection) -> tuple[str, Any]:
    lock = threading.Lock()

    def listen(stage: str, share: float) -> None:
        # If the parent has closed its end, the inbox interrupts this task.
        with lock, suppress(BrokenPipeError):
            results.send(("progress", (stage, share)))

    try:
        return "done", pickle.loads(task)(runner, listen)  # noqa: S301 (from the parent process)
    except TouchlineError as error:
        return "failed", error
    except Exception as error:
        traceback.print_exc()
        return "failed", TouchlineError(in_words(error))


class _Inbox:
    """Pickled tasks as they arrive. When the parent closes its end, the current task is interrupted as by Ctrl-C."""

    def __init__(self, tasks: Connection) -> None:
        self._tasks = tasks
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = False
        threading.Thread(target=self._receive, name="inbox", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        while (task := self._waiting.get()) is not None:
            yield task

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A task is executed inside this context and can be interrupted."""
        with self._lock:
            self._busy = True
        try:
            yield
        finally:
            with self._lock:
                self._busy = False

    def _receive(self) -> None:
        with suppress(EOFError, ConnectionResetError):
            while True:
                self._waiting.put(self._tasks.recv_bytes())
        self._waiting.put(None)
        with self._lock:
            if self._busy:
                os.kill(os.getpid(), signal.SIGINT)
