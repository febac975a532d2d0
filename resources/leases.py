"""The lease of a Dagster run in the process that does it: claimed before work, kept alive, checked at each write.

Belongs here: holding leases. Their rows are in `touchline/library/repository/leases.py`, what is known of the processes
that hold them in `holders.py`; who takes a lease away, and when, is in `detection_assets/jobs/reconcile.py`.
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
"""Seconds between two beats."""


class LeaseLostError(JobStoppedError):
    """A run is another process's, or was given up while this process could not be heard. Nothing more is written."""


class Lease:
    """One run's lease, held by this process. Safe to use from several threads."""

    def __init__(self, database: Database, run_id: str) -> None:
        """Claims it. Raises LeaseLostError if another process holds it, ServiceError if the database stays away."""
        self.run_id: Final = run_id
        self._database = database
        self._holder = uuid.uuid4().hex
        self._over = threading.Event()
        self._lost = False
        process = process_here()

        def claim(session: Session) -> RunLease | None:
            # After an answer that was lost the row may be ours already.
            if repository.claim_lease(session, run_id, self._holder, host=host(), process=process, version=_version()):
                return None
            other = repository.get_lease(session, run_id)
            return None if other is None or other.holder == self._holder else other

        other = database.transact(claim)
        if other is not None:
            raise LeaseLostError(
                f"Dagster run {run_id} is done by {name_of(other.host, other.process)}; this process leaves it alone"
            )
        threading.Thread(target=self._beat, name=f"lease-{run_id}", daemon=True).start()

    def check(self) -> None:
        """Raises LeaseLostError if the run is not this process's any more: before anything is written for it."""
        self._database.transact(self.guard)

    def guard(self, session: Session) -> None:
        """As `check`, in a transaction: until that ends nobody can take the lease away."""
        if self._lost or not repository.holds_lease(session, self.run_id, self._holder):
            self._lost = True
            raise LeaseLostError(
                f"Dagster run {self.run_id} was given up while this process could not be heard, or was ended by "
                "somebody; nothing more is written here. `touchline jobs` shows its job, and how to continue it"
            )

    def release(self) -> None:
        """Gives it back; what is not given back because the database is away is removed once the run is over."""
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
                # No patience: the next beat is the next try.
                with self._database.session(patience_s=0) as session:
                    if not repository.renew_lease(session, self.run_id, self._holder):
                        self._lost = True
                        return
            except ServiceError:
                continue


_held: Final[dict[str, Lease]] = {}
"""Leases of this process by run, those that were given back as well: nothing is written for those runs any more."""
_lock: Final = threading.Lock()


def acquire_lease(database: Database, run_id: str) -> bool:
    """Claims the lease of a run for this process, and says so; False if it has it already.

    Raises as `Lease`, and as `Lease.check`.
    """
    with _lock:
        lease = _held.get(run_id)
        if lease is None:
            _held[run_id] = Lease(database, run_id)
            return True
    lease.check()
    return False


def guard_of(run_id: str) -> Callable[[Session], None]:
    """What a transaction that writes for a run calls last. A run without a lease in this process writes unguarded."""
    lease = _held.get(run_id)
    return lease.guard if lease is not None else _unguarded


def check(run_id: str) -> None:
    """Raises LeaseLostError if this process has lost the lease of a run."""
    lease = _held.get(run_id)
    if lease is not None:
        lease.check()


def release_lease(run_id: str) -> None:
    """Gives the lease of a run back, if this process has it."""
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
