"""Progress of a stage, reported to the listeners of this process and to the job's row.

Belongs here: who gets the progress, and how often. Hangs are detected by other processes: `worker_pool.py` watches its
own workers, `watchdog.py` all jobs of this machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from resources.connection import Connection
from resources.leases import guard_of
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.progress import share_done

Listener = Callable[[str, float], None]
listeners: list[Listener] = []
"""Functions called with a stage's name and its share done, 0..1: progress bars, and detection of hangs."""

ANNOUNCE_S = 0.5
"""Least time between two calls of the listeners within a chunk [s]."""
WRITE_S: Final = 10.0
"""Least time between two writes of the job's row within a chunk [s]."""


def announce(stage: str, share: float) -> None:
    """Calls the listeners of this process with a stage and its share done, 0..1."""
    for listener in list(listeners):
        listener(stage, share)


class Heartbeat:
    """Progress of one stage of one job. Thread-safe, because several threads load frames.

    `stages` are those that the job runs; the lease of the run `run_id` is checked after each chunk.
    """

    def __init__(
        self, connection: Connection, job_id: UUID, stage: str, stages: Collection[str], run_id: str = ""
    ) -> None:
        self._database = connection.database
        self._run_id = run_id
        self._job_id, self._stage, self._stages = job_id, stage, stages
        self._share = 0.0
        self._lock = threading.Lock()
        self._announced = self._written = time.monotonic()

    def begin(self) -> None:
        """Records the stage as the job's current one."""
        self.reached(0.0)

    def reached(self, share: float) -> None:
        """Records that this share of the stage, 0..1, is done and stored. Always writes the row.

        Raises ServiceError if the database stays unreachable, LeaseLostError if another process holds the run's lease.
        """
        with self._lock:
            self._share = share
            self._announced = self._written = time.monotonic()
            done = share_done(self._stages, self._stage, share)
            self._database.transact(lambda session: self._progress(session, done))
        announce(self._stage, share)

    def moved(self, share: float) -> None:
        """Reports work within a chunk, towards this share, 0..1. A call within ANNOUNCE_S of the last is ignored."""
        now = time.monotonic()
        if now - self._announced < ANNOUNCE_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._announced = now
            self._share = max(self._share, min(1.0, share))
            if now - self._written >= WRITE_S:
                self._written = now
                self._write()
            announce(self._stage, self._share)
        finally:
            self._lock.release()

    def _progress(self, session: Session, done: float) -> None:
        repository.set_progress(session, self._job_id, self._stage, done)
        guard_of(self._run_id)(session)

    def _write(self) -> None:
        done = share_done(self._stages, self._stage, self._share)
        try:
            # No retries: a missed write is harmless, and the next one that matters waits for the database.
            with self._database.session(patience_s=0) as session:
                repository.report_progress(session, self._job_id, self._stage, done)
        except ServiceError:
            return
