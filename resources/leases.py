"""The lease of a Dagster run in the process that executes it: acquired at the start, renewed, checked at each write.

Belongs here: holding leases. Their rows are in `touchline/library/repository/leases.py`, the identity of the holding
processes in `holders.py`; `detection_assets/jobs/reconcile.py` revokes leases.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy.orm import Session

from resources.database import Database
from resources.holders import host, name_of, process_here
from touchline.errors import JobStoppedError, ServiceError
from touchline.library import repository
from touchline.library.tables import RunLease

HEARTBEAT_S: Final = 5.0
"""Time between two renewals of a lease [s]."""


class LeaseLostError(JobStoppedError):
    """Another process holds the lease of a run, or it was revoked. This process writes nothing more for the run."""


class Lease:
    """The lease of one run, held by this process. Thread-safe."""

    def __init__(self, database: Database, run_id: str) -> None:
        """Acquires it. Raises LeaseLostError if another process holds it, ServiceError without the database."""
        self.run_id: Final = run_id
        self._database = database
        self._holder = uuid.uuid4().hex
        self._over = threading.Event()
        self._lost = False
        process = process_here()

        def claim(session: Session) -> RunLease | None:
            # In a retry the row may be that of this process.
            if repository.claim_lease(session, run_id, self._holder, host=host(), process=process, version=_version()):
                return None
            other = repository.get_lease(session, run_id)
            return None if other is None or other.holder == self._holder else other

        other = database.transact(claim)
        if other is not None:
            raise LeaseLostError(
                f"Dagster run {run_id} is executed by {name_of(other.host, other.process)}; this process stops"
            )
        threading.Thread(target=self._beat, name=f"lease-{run_id}", daemon=True).start()

    def check(self) -> None:
        """Raises LeaseLostError if the lease was lost, ServiceError if the database is unavailable."""
        self._database.transact(self.guard)

    def guard(self, session: Session) -> None:
        """As `check`, in a transaction: the lease cannot be revoked until it ends."""
        if self._lost or not repository.holds_lease(session, self.run_id, self._holder):
            self._lost = True
            raise LeaseLostError(
                f"Dagster run {self.run_id} was given up because this process did not renew its lease, or was ended; "
                "nothing more is written by this process. `touchline jobs` shows its job, and how to continue it"
            )

    def release(self) -> None:
        """Deletes it. If the database is unavailable, it is deleted after the run has ended."""
        self._over.set()
        self._lost = True
        try:
            with self._database.session(patience_s=0) as session:
                repository.release_lease(session, self.run_id, self._holder)
        except ServiceError:
            return

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            try:
                # No retry: the next heartbeat is the next attempt.
                with self._database.session(patience_s=0) as session:
                    if not repository.renew_lease(session, self.run_id, self._holder):
                        self._lost = True
                        return
            except ServiceError:
                continue


_held: Final[dict[str, Lease]] = {}
"""Leases of this process by run id, including released ones: nothing more is written for those runs."""
_lock: Final = threading.Lock()


def acquire_lease(database: Database, run_id: str) -> bool:
    """Acquires the lease of a run for this process. Returns False if the process has it already.

    Raises LeaseLostError and ServiceError as `Lease` and `Lease.check`.
    """
    with _lock:
        lease = _held.get(run_id)
        if lease is None:
            _held[run_id] = Lease(database, run_id)
            return True
    lease.check()
    return False


def guard_of(run_id: str) -> Callable[[Session], None]:
    """The check that a transaction for a run makes last. It does nothing without a lease in this process."""
    lease = _held.get(run_id)
    return lease.guard if lease is not None else _unguarded


def check(run_id: str) -> None:
    """Raises LeaseLostError if this process had the lease of a run and lost it."""
    lease = _held.get(run_id)
    if lease is not None:
        lease.check()


def release_lease(run_id: str) -> None:
    """Deletes the lease of a run, if this process has it."""
    with _lock:
        lease = _held.get(run_id)
    if lease is not None:
        lease.release()


def _unguarded(_session: Session) -> None:
    return


@lru_cache(1)
def _version() -> str:
    try:
        return version("touchline")
    except PackageNotFoundError:
        return ""
