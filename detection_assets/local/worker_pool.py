"""Pieces of work in processes of their own, watched from here, each with its share of the cores.

Belongs here: the processes, what passes between them and this one, and how they end, hung ones too. What a piece of
work does is the caller's: a run of one source, mostly.

What a run does beside its networks (Dagster's books, scenes, the camera's motion) keeps one core busy at most: two runs
on a core each take seven tenths of the time of one after the other on both (docs/benchmarks.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from detection_assets.local.worker import Worker, shares
from touchline.errors import ServiceError, TouchlineError, in_words
from touchline.watch import Watch, stood_still

if TYPE_CHECKING:
    # Dagster is imported by the processes once they are quiet.
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from resources.local_services import Endpoints
    from resources.settings import Settings

T = TypeVar("T")

LOOK_S: Final = 5.0
"""Seconds between two looks at processes that say nothing."""
GRACE_S: Final = 30.0
"""Seconds that interrupted work has to put itself in order before it is killed."""


@dataclass(frozen=True)
class Piece(Generic[T]):
    """`work`, called with its process's runner and a listener, and sent back and forth by pickle.

    Pieces of one `key` are never done at once.
    """

    key: str
    work: Callable[[Runner, Listener], T]


class Workers:
    """`count` processes, each with a runner that is opened once. To be used as a context: its end ends them.

    They begin to load at once, and need `endpoints` to work, given here or by `connect`. Their end comes as well when
    this process dies, however it dies: work is then interrupted as by Ctrl-C, and its job can be continued. Work that
    shows no progress for longer than `settings.stall` allows is killed, and fails.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints | None, count: int) -> None:
        self._settings, self._endpoints = settings, endpoints
        self._workers = [Worker(settings, share) for share in shares(count)]

    def connect(self, endpoints: Endpoints) -> None:
        """Where the servers are; the processes are told once there is work for them."""
        self._endpoints = endpoints

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes: at once those that wait or never had work, by an interruption those that work.

        What has not ended after GRACE_S, or when Ctrl-C comes again, is killed, and its job told so.
        """
        for worker in self._workers:
            if worker.connected:
                worker.let_go()
            else:
                # It has nothing to put in order yet, and may be loading for seconds.
                worker.kill()
        deadline = time.monotonic() + GRACE_S
        try:
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            deadline = 0.0
        for worker in self._workers:
            if worker.process.is_alive():
                worker.kill()
                if worker.at_work is not None:
                    self._bury(worker, "interrupted, and ended from outside because it did not end by itself")

    def do(
        self, pieces: Sequence[Piece[T]], listener: Callable[[int, str, float], None] = lambda *_: None
    ) -> Generator[tuple[int, T | TouchlineError]]:
        """Number of each piece and its result, or what made it fail, as they end; begun in the order given.

        `listener` hears of number, stage and share done, 0..1. A piece that fails, is killed or hangs does not stop the
        others; its process is replaced. But when a server is gone for good (a ServiceError) nothing more is begun:
        those at work are done, and pieces that are left give nothing.
        """
        waiting, gone = list(range(len(pieces))), False
        if self._endpoints is not None:
            for worker in self._workers:
                worker.connect(self._endpoints)
        watch = Watch(4 * LOOK_S)
        for worker in self._workers:
            worker.at_work = None
        while True:
            for worker in self._workers:
                keys = {pieces[w.at_work].key for w in self._workers if w.at_work is not None}
                free = next((number for number in waiting if pieces[number].key not in keys), None)
                if worker.at_work is None and free is not None and not gone:
                    waiting.remove(free)
                    worker.begin(free, pieces[free].work)
            busy = [worker for worker in self._workers if worker.at_work is not None]
            if not busy:
                return
            ready = wait([worker.results for worker in busy], self._pause(busy))
            for worker in busy:
                number = worker.at_work
                assert number is not None
                if worker.results in ready:
                    kind, value = worker.receive()
                    if kind == "progress":
                        listener(number, *value)
                        continue
                    if kind == "died":
                        value = self._replaced(worker, pieces[number].key, value)
                elif (stood := watch.look(worker, (number, worker.heard))) > self._settings.stall.of(worker.stage):
                    worker.kill()
                    said = f"{stood_still(stood, worker.stage)}, so it was ended from outside"
                    value = self._replaced(worker, pieces[number].key, said)
                else:
                    continue
                worker.at_work = None
                gone = gone or isinstance(value, ServiceError)
                yield number, value

    def _pause(self, busy: Sequence[Worker]) -> float:
        """Seconds until the next look."""
        return min([LOOK_S, *(self._settings.stall.of(worker.stage) / 4 for worker in busy)])

    def _replaced(self, worker: Worker, key: str, why: str) -> TouchlineError:
        """What to tell of a piece whose process is dead; another process takes its place."""
        told = self._bury(worker, why)
        place = self._workers.index(worker)
        self._workers[place] = Worker(self._settings, worker.share)
        if self._endpoints is not None:
            self._workers[place].connect(self._endpoints)
        return TouchlineError(told or f"{why}; run the same command again to continue" + worker.last_words())

    def _bury(self, worker: Worker, why: str) -> str:
        """Has the jobs of a dead process say what became of it; what they say, or nothing if there are none."""
        if self._endpoints is None:
            return ""
        from detection_assets.dagster_internals.books import bury

        try:
            return bury(self._settings, self._endpoints, (worker.pid, worker.identity), why)
        except TouchlineError as error:
            unrecorded = f"the end of its job could not be recorded ({in_words(error)})"
            return f"{why}; {unrecorded}; run the same command again to continue"
