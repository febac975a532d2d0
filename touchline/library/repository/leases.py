"""Run leases: which process executes which Dagster run, and when it last renewed its lease, by the database's clock.

Belongs here: rows of `run_leases`. Holding a lease is in `resources/leases.py`; `detection_assets/jobs/reconcile.py`
handles a lost one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from touchline.library.tables import RunLease

EXPIRY: Final = timedelta(seconds=45)
"""Time without a renewal after which a lease is marked as silent (`doubted_at`)."""
DOUBT: Final = timedelta(seconds=15)
"""Time without a renewal, after a lease was marked as silent, until it expires: three heartbeats. While the database is
away no holder can renew its lease, so silence alone does not expire it."""
FORGET: Final = timedelta(seconds=120)
"""Age at which a silence mark is renewed: nobody has checked since, and the database may have been away."""
REVOKED: Final = ""
"""Value of `RunLease.holder` after the lease was revoked."""

_NOW: Final = sa.func.clock_timestamp()
_QUIET: Final = {"synchronize_session": False}


def claim_lease(
    session: Session, run_id: str, holder: str, *, host: str, process: Mapping[str, Any], version: str
) -> bool:
    """Inserts the lease of a run for `holder`. Returns False if the run has a lease already, revoked or not."""
    row = {"run_id": run_id, "holder": holder, "host": host, "process": dict(process), "version": version}
    claimed = insert(RunLease).values(**row, claimed_at=_NOW, seen_at=_NOW).on_conflict_do_nothing()
    return session.execute(claimed.returning(RunLease.run_id)).first() is not None


def renew_lease(session: Session, run_id: str, holder: str) -> bool:
    """Renews a lease. Returns False if the holder has lost it."""
    mine = sa.update(RunLease).where(RunLease.run_id == run_id, RunLease.holder == holder)
    beaten = mine.values(seen_at=_NOW, doubted_at=None).returning(RunLease.run_id).execution_options(**_QUIET)
    return session.execute(beaten).first() is not None


def holds_lease(session: Session, run_id: str, holder: str) -> bool:
    """Whether the holder still has the lease. It cannot be revoked until this transaction ends; it can be renewed."""
    mine = sa.select(RunLease.run_id).where(RunLease.run_id == run_id, RunLease.holder == holder)
    return session.execute(mine.with_for_update(read=True, key_share=True)).first() is not None


def get_lease(session: Session, run_id: str) -> RunLease | None:
    """The lease of a run, or None."""
    return session.get(RunLease, run_id, populate_existing=True)


def list_leases(session: Session) -> list[RunLease]:
    """All leases, oldest first: of active runs, and of some that have just ended."""
    return list(session.scalars(sa.select(RunLease).order_by(RunLease.claimed_at, RunLease.run_id)))


def mark_silent_leases(session: Session) -> None:
    """Marks the leases that were not renewed for EXPIRY. The next renewal clears the mark."""
    stale = sa.or_(RunLease.seen_at < _NOW - EXPIRY, RunLease.seen_at > _NOW + EXPIRY)
    fresh = sa.or_(RunLease.doubted_at.is_(None), RunLease.doubted_at < _NOW - FORGET, RunLease.doubted_at > _NOW)
    session.execute(sa.update(RunLease).where(stale, fresh).values(doubted_at=_NOW).execution_options(**_QUIET))


def expired_leases(session: Session) -> dict[str, float]:
    """Seconds since the last renewal of each lease that was marked as silent more than DOUBT ago, by run id."""
    row = RunLease
    query = sa.select(row.run_id, sa.extract("epoch", _NOW - row.seen_at)).where(row.doubted_at < _NOW - DOUBT)
    return {run_id: float(silent) for run_id, silent in session.execute(query)}


def revoke_lease(session: Session, lease: RunLease, *, silent: bool = False) -> bool:
    """Revokes a lease: its holder can write nothing from then on. Returns whether it was revoked.

    It is not revoked during a commit of the holder, nor, if `silent`, after a renewal in the meantime.
    """
    row = RunLease
    found = sa.select(row.run_id).where(row.run_id == lease.run_id, row.holder == lease.holder)
    if silent:
        found = found.where(row.doubted_at < _NOW - DOUBT)
    if session.execute(found.with_for_update(skip_locked=True)).first() is None:
        return False
    # The row is kept until the run has ended: if this process dies first, the next one finds it.
    taken = sa.update(row).where(row.run_id == lease.run_id).values(holder=REVOKED)
    session.execute(taken.execution_options(**_QUIET))
    return True


def release_lease(session: Session, run_id: str, holder: str) -> None:
    """Deletes the lease of its holder."""
    mine = sa.delete(RunLease).where(RunLease.run_id == run_id, RunLease.holder == holder)
    session.execute(mine.execution_options(**_QUIET))


def delete_leases(session: Session, run_ids: Collection[str]) -> None:
    """Deletes the leases of runs that have ended, whoever holds them. A process that goes on can write nothing."""
    if run_ids:
        session.execute(sa.delete(RunLease).where(RunLease.run_id.in_(run_ids)).execution_options(**_QUIET))
