"""Several pieces of work at once, each in a process of its own with its share of the cores.

Belongs here: the processes, what passes between them and this one, and how they end. What a piece of work does is the
caller's: a run of one source, mostly.

What a run does beside its networks (Dagster's books, scenes, the camera's motion) keeps one core busy at most: two runs
on a core each take seven tenths of the time of one after the other on both (docs/benchmarks.md).
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from detection_assets.quiet import quiet
from touchline.errors import TouchlineError

if TYPE_CHECKING:
    # Dagster is imported by the processes once they are quiet.
    from detection_assets.runner import Runner
    from detection_assets.stage_run import Listener
    from resources.local_services import Endpoints
    from resources.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Piece(Generic[T]):
    """`work`, called with its process's runner and a listener, and sent back and forth by pickle.

    Pieces of one `key` are never done at once.
    """

    key: str
    work: Callable[[Runner, Listener], T]


class Workers:
    """`count` processes, each with a runner that is opened once. To be used as a context: its end ends them.

    Their end comes as well when this process dies, however it dies: work is then interrupted as by Ctrl-C, and its job
    can be continued.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints, count: int) -> None:
        self._workers = [_Worker(settings, endpoints, share) for share in _shares(count)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.let_go()
        for worker in self._workers:
            worker.process.join()

    def do(
        self, pieces: Sequence[Piece[T]], listener: Callable[[int, str, float], None] = lambda *_: None
    ) -> Iterator[tuple[int, T]]:
        """Number and result of each piece, as they are done; begun in the order given.

        `listener` hears of number, stage and share done, 0..1. When a piece raises an exception no other is begun;
        those at work are done, then it is raised. Raises TouchlineError where a process is killed.
        """
        waiting, failure = list(range(len(pieces))), None
        at_work: dict[_Worker, int] = {}
        while True:
            for worker in self._workers:
                keys = {pieces[number].key for number in at_work.values()}
                free = next((number for number in waiting if pieces[number].key not in keys), None)
                if worker not in at_work and free is not None and failure is None:
                    waiting.remove(free)
                    at_work[worker] = free
                    worker.begin(pieces[free].work)
            if not at_work:
                break
            ready = wait([worker.results for worker in at_work])
            for worker, number in list(at_work.items()):
                if worker.results not in ready:
                    continue
                kind, value = worker.receive(pieces[number].key)
                if kind == "progress":
                    listener(number, *value)
                    continue
                del at_work[worker]
                if kind == "done":
                    yield number, value
                elif failure is None:
                    failure = value
        if failure is not None:
            raise failure


class _Worker:
    """One process, seen from here: tasks go in, what becomes of them comes out."""

    def __init__(self, settings: Settings, endpoints: Endpoints, share: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        tasks, self._tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(settings, endpoints, share, tasks, results), daemon=True)
        self.process.start()
        # The process has its own: while we held these, we would not see the end of it, nor it ours.
        tasks.close()
        results.close()

    def begin(self, work: Callable[[Runner, Listener], Any]) -> None:
        """Gives the process something to do."""
        # If it is gone, `receive` says so.
        with suppress(BrokenPipeError):
            self._tasks.send(work)

    def receive(self, key: str) -> tuple[str, Any]:
        """The next thing that the process says: "progress", "done" or "failed", and what belongs to it."""
        try:
            kind, value = self.results.recv()
        except EOFError:
            self.process.join()
            return "failed", TouchlineError(
                f"{key}: the process that worked on it ended with code {self.process.exitcode} (-9: killed, as systems "
                "do that are short of memory); run the same command again to continue, perhaps with --at-once 1"
            )
        return kind, value

    def let_go(self) -> None:
        """Ends the process: at once if it waits, by an interruption if it works."""
        self._tasks.close()
        self.results.close()


def _shares(count: int) -> list[list[int]]:
    """The cores of this process in `count` shares; none where a system does not tell."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [cores[n::count] or cores[n % len(cores) :][:1] if cores else [] for n in range(count)]


def _serve(
    settings: Settings, endpoints: Endpoints, share: Sequence[int], tasks: Connection, results: Connection
) -> None:
    """The process: does what comes, until the other end goes away."""
    # Ctrl-C at the terminal reaches the process that waits for us; it closes `tasks`, which is one interruption.
    os.setpgid(0, 0)
    if share:
        os.sched_setaffinity(0, share)
    quiet()
    from detection_assets.runner import Runner

    inbox = _Inbox(tasks)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            runner = Runner(settings, endpoints)
        except TouchlineError as error:
            results.send(("failed", error))
            return
        for task in inbox:
            with inbox.at_work():
                answer = _done(task, runner, results)
            results.send(answer)
        runner.close()


def _done(task: bytes, runner: Runner, results: Connection) -> tuple[str, Any]:
    def listen(stage: str, share: float) -> None:
        # Nobody there any more: the inbox knows, and is about to interrupt us.
        with suppress(BrokenPipeError):
            results.send(("progress", (stage, share)))

    try:
        return "done", pickle.loads(task)(runner, listen)  # noqa: S301 (from the process that started this one)
    except TouchlineError as error:
        return "failed", error
    except Exception as error:
        return "failed", TouchlineError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


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
