"""Telling that a stage gets on: to the listeners of this process, and to its job's row.

Belongs here: who is told, and how often. What is made of silence is decided by those who watch from outside:
`worker_pool.py` its own processes, `watchdog.py` all jobs of this machine.
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
"""Called with a stage's name and the share of it that is done, 0..1: progress bars, and those who watch for hangs."""

ANNOUNCE_S = 0.5
"""Listeners hear no more often than this of what gets on within a chunk [s]."""
WRITE_S: Final = 10.0
"""A job's row is written no more often than this within a chunk [s]."""


def announce(stage: str, share: float) -> None:
    """Tells the listeners of this process."""
    for listener in list(listeners):
        listener(stage, share)


class Heartbeat:
    """One stage of one job. Safe to use from several threads: frames are loaded by more than one.

    `stages` are those that the job runs, `run_id` the Dagster run whose lease is looked at whenever a chunk is done.
    """

    def __init__(
        self, connection: Connection, job_id: UUID, stage: str, stages: Collection[str], run_id: str = ""
    ) -> None:
        self._database = connection.database
        self._run_id = run_id
        self._job_id, self._stage, self._stages = job_id, stage, stages
        self._share = 0.0
        self._lock = threading.Lock()
        self._told = self._written = time.monotonic()

    def begin(self) -> None:
        """The stage is the one at work."""
        self.reached(0.0)

    def reached(self, share: float) -> None:
        """That share of the stage, 0..1, is done and kept. The row is written whatever it takes.

        Raises ServiceError where the database stays away, LeaseLostError where the run is not this process's any more.
        """
        with self._lock:
            self._share = share
            self._told = self._written = time.monotonic()
            done = share_done(self._stages, self._stage, share)
            self._database.transact(lambda session: self._progress(session, done))
        announce(self._stage, share)

    def moved(self, share: float) -> None:
        """Something was done on the way to that share. Costs next to nothing when it was told a moment ago."""
        now = time.monotonic()
        if now - self._told < ANNOUNCE_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._told = now
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
            # No patience: whoever needs the database for more than this waits for it, and says so.
            with self._database.session(patience_s=0) as session:
                repository.report_progress(session, self._job_id, self._stage, done)
        except ServiceError:
            return
