"""A pool of worker processes, each with its share of the CPU cores.

Belongs here: distributing tasks, watching the processes, and ending those that hang. The caller defines the tasks;
most are runs of one source.

Outside its networks (Dagster's events, scenes, camera motion) a run uses one core at most. Two runs at the same time,
on one core each, take 0.7 times as long as one after the other on both cores (docs/benchmarks.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from detection_assets.local.worker import Worker, cpu_shares
from touchline.errors import ServiceError, TouchlineError, in_words
from touchline.watch import Watch, stood_still

if TYPE_CHECKING:
    # The processes import Dagster after `silence_dagster`.
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from resources.local_services import Endpoints
    from resources.settings import Settings

T = TypeVar("T")

CHECK_S: Final = 5.0
"""Longest interval between two checks of processes without messages [s]."""
GRACE_S: Final = 30.0
"""Time that an interrupted process has to end before it is killed [s]."""


@dataclass(frozen=True)
class Task(Generic[T]):
    """`work` is called with the process's runner and a listener. It and its result must be picklable.

    Tasks with the same `key` are never executed at the same time.
    """

    key: str
    work: Callable[[Runner, Listener], T]


class Workers:
    """`count` worker processes, each with one runner. A context manager that ends them on exit.

    They start to load at once. They need `endpoints` before the first task, given here or by `connect`. If this process
    dies, their tasks are interrupted as by Ctrl-C and their jobs can be continued. A task without progress for longer
    than `settings.stall` allows is killed and fails.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints | None, count: int) -> None:
        self._settings, self._endpoints = settings, endpoints
        self._workers = [Worker(settings, cpus) for cpus in cpu_shares(count)]

    def connect(self, endpoints: Endpoints) -> None:
        """Sets the servers' addresses, which the processes get together with the first tasks."""
        self._endpoints = endpoints

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends idle processes at once and interrupts busy ones.

        A process that has not ended after GRACE_S, or after another Ctrl-C, is killed; its job is failed.
        """
        for worker in self._workers:
            if worker.connected:
                worker.close()
            else:
                # It has nothing to clean up yet and may be importing modules for seconds.
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
                if worker.task is not None:
                    self._fail_job(worker, "interrupted, then killed because it did not end")

    def run(
        self, tasks: Sequence[Task[T]], listener: Callable[[int, str, float], None] = lambda *_: None
    ) -> Generator[tuple[int, T | TouchlineError]]:
        """Starts the tasks in order. Yields the number of each and its result or its error, as they end.

        `listener` is called with number, stage and share done, 0..1. A task that fails, is killed or hangs does not
        stop the others; its process is replaced. After a ServiceError no more tasks are started: the running ones are
        finished, and the others yield nothing.
        """
        waiting, gone = list(range(len(tasks))), False
        if self._endpoints is not None:
            for worker in self._workers:
                worker.connect(self._endpoints)
        watch = Watch(4 * CHECK_S)
        for worker in self._workers:
            worker.task = None
        while True:
            for worker in self._workers:
                keys = {tasks[w.task].key for w in self._workers if w.task is not None}
                free = next((number for number in waiting if tasks[number].key not in keys), None)
                if worker.task is None and free is not None and not gone:
                    waiting.remove(free)
                    worker.begin(free, tasks[free].work)
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy:
                return
            ready = wait([worker.results for worker in busy], self._pause(busy))
            for worker in busy:
                number = worker.task
                assert number is not None
                if worker.results in ready:
                    kind, value = worker.receive()
                    if kind == "progress":
                        listener(number, *value)
                        continue
                    if kind == "died":
                        value = self._replace(worker, value)
                elif (stood := watch.look(worker, (number, worker.messages))) > self._settings.stall.of(worker.stage):
                    worker.kill()
                    value = self._replace(worker, f"{stood_still(stood, worker.stage)}, so its process was killed")
                else:
                    continue
                worker.task = None
                gone = gone or isinstance(value, ServiceError)
                yield number, value

    def _pause(self, busy: Sequence[Worker]) -> float:
        """Seconds until the next check for hangs."""
        return min([CHECK_S, *(self._settings.stall.of(worker.stage) / 4 for worker in busy)])

    def _replace(self, worker: Worker, why: str) -> TouchlineError:
        """Replaces a dead process. Returns the error of its task."""
        message = self._fail_job(worker, why)
        index = self._workers.index(worker)
        self._workers[index] = Worker(self._settings, worker.cpus)
        if self._endpoints is not None:
            self._workers[index].connect(self._endpoints)
        return TouchlineError(message or f"{why}; run the same command again to continue" + worker.last_output())

    def _fail_job(self, worker: Worker, why: str) -> str:
        """Ends the run of a dead process and fails its job. Returns the job's error message; "" without a job."""
        if self._endpoints is None:
            return ""
        from detection_assets.dagster_internals.clients import end_run_of_process

        try:
            return end_run_of_process(self._settings, self._endpoints, (worker.pid, worker.identity), why)
        except TouchlineError as error:
            unrecorded = f"the end of its job could not be recorded ({in_words(error)})"
            return f"{why}; {unrecorded}; run the same command again to continue"
