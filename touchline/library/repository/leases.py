"""Run leases: which process does which Dagster run, and whether it was heard of lately, all by the database's clock.

Belongs here: rows of `run_leases`. The process that holds one is in `resources/leases.py`; what follows when one is
lost, in `detection_assets/jobs/reconcile.py`.
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
"""A holder that was not heard of for so long is doubted."""
DOUBT: Final = timedelta(seconds=15)
"""A holder that was not heard of for so long after it was doubted first has lost its lease: three beats. While the
database itself is away nobody can beat, so one look after that is not enough."""
FORGET: Final = timedelta(seconds=120)
"""A doubt older than this does not count: nobody has looked since, and the database may have been away."""

REVOKED: Final = ""
"""The holder of a lease that was taken away: nobody."""

_NOW: Final = sa.func.clock_timestamp()
_QUIET: Final = {"synchronize_session": False}


def claim_lease(
    session: Session, run_id: str, holder: str, *, host: str, process: Mapping[str, Any], version: str
) -> bool:
    """Makes `holder` the one that does a run; False, and nothing done, if there is another or it has lost it."""
    row = {"run_id": run_id, "holder": holder, "host": host, "process": dict(process), "version": version}
    claimed = insert(RunLease).values(**row, claimed_at=_NOW, seen_at=_NOW).on_conflict_do_nothing()
    return session.execute(claimed.returning(RunLease.run_id)).first() is not None


def renew_lease(session: Session, run_id: str, holder: str) -> bool:
    """The holder is alive. False if it has lost the lease."""
    mine = sa.update(RunLease).where(RunLease.run_id == run_id, RunLease.holder == holder)
    beaten = mine.values(seen_at=_NOW, doubted_at=None).returning(RunLease.run_id).execution_options(**_QUIET)
    return session.execute(beaten).first() is not None


def holds_lease(session: Session, run_id: str, holder: str) -> bool:
    """Whether a run is still this holder's. Until the end of this transaction nobody can take it away.

    Beats are not held up.
    """
    mine = sa.select(RunLease.run_id).where(RunLease.run_id == run_id, RunLease.holder == holder)
    return session.execute(mine.with_for_update(read=True, key_share=True)).first() is not None


def get_lease(session: Session, run_id: str) -> RunLease | None:
    """The lease of a run, if anybody holds it."""
    return session.get(RunLease, run_id, populate_existing=True)


def list_leases(session: Session) -> list[RunLease]:
    """All leases, longest held first: of runs at work, and of some that have just ended."""
    return list(session.scalars(sa.select(RunLease).order_by(RunLease.claimed_at, RunLease.run_id)))


def mark_silent_leases(session: Session) -> None:
    """Notes which holders were not heard of for EXPIRY. Their next beat clears it."""
    stale = sa.or_(RunLease.seen_at < _NOW - EXPIRY, RunLease.seen_at > _NOW + EXPIRY)
    fresh = sa.or_(RunLease.doubted_at.is_(None), RunLease.doubted_at < _NOW - FORGET, RunLease.doubted_at > _NOW)
    session.execute(sa.update(RunLease).where(stale, fresh).values(doubted_at=_NOW).execution_options(**_QUIET))


def expired_leases(session: Session) -> dict[str, float]:
    """By run, those that were doubted and not heard of since for DOUBT: seconds since they were heard of last."""
    row = RunLease
    query = sa.select(row.run_id, sa.extract("epoch", _NOW - row.seen_at)).where(row.doubted_at < _NOW - DOUBT)
    return {run_id: float(silent) for run_id, silent in session.execute(query)}


def revoke_lease(session: Session, lease: RunLease, *, silent: bool = False) -> bool:
    """Takes a lease away from its holder, which from then on can write nothing; whether it did.

    Not while a commit of the holder's is at work, and, if `silent`, not from one that was heard of in the meantime.
    """
    row = RunLease
    found = sa.select(row.run_id).where(row.run_id == lease.run_id, row.holder == lease.holder)
    if silent:
        found = found.where(row.doubted_at < _NOW - DOUBT)
    if session.execute(found.with_for_update(skip_locked=True)).first() is None:
        return False
    # The row stays until the run is over: whoever dies before that is said leaves the word to the next.
    taken = sa.update(row).where(row.run_id == lease.run_id).values(holder=REVOKED)
    session.execute(taken.execution_options(**_QUIET))
    return True


def release_lease(session: Session, run_id: str, holder: str) -> None:
    """Gives a lease back."""
    mine = sa.delete(RunLease).where(RunLease.run_id == run_id, RunLease.holder == holder)
    session.execute(mine.execution_options(**_QUIET))


def delete_leases(session: Session, run_ids: Collection[str]) -> None:
    """Removes the leases of runs that are over, whoever holds them: a process that does not know it writes no more."""
    if run_ids:
        session.execute(sa.delete(RunLease).where(RunLease.run_id.in_(run_ids)).execution_options(**_QUIET))
