"""The ledger of uploads: every content listed at a location, and its state.

Belongs here: rows of `uploads`, with one statement for a whole scan instead of one for each upload.
`touchline/library/intake.py` decides about them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from touchline.library.intake import BEGUN, Known, Listed, Plan, UploadState
from touchline.library.repository.json_values import plain_text
from touchline.library.tables import DetectJob, Upload, UtcDateTime

BATCH = 10_000
"""Maximum number of uploads that one statement inserts."""
_QUIET = {"synchronize_session": False}


def known_uploads(session: Session, location: str) -> dict[str, Known]:
    """The newest version of every upload that was ever listed at a location, by key."""
    row = Upload
    tried = sa.case((sa.and_(row.state == UploadState.WAITING, row.reason != ""), row.last_seen))
    asked = sa.and_(
        row.state == UploadState.WAITING,
        sa.or_(row.run_key != "", sa.func.coalesce(row.ask_at > sa.func.clock_timestamp(), sa.false())),
    )
    gone = row.gone_at.is_not(None)
    columns = (row.key, row.version, row.etag, row.size, row.state, row.first_seen, gone, tried, asked)
    last = sa.select(row.key, sa.func.max(row.version).label("version")).where(row.location == location)
    newest = last.group_by(row.key).subquery()
    query = sa.select(*columns).join(newest, sa.and_(row.key == newest.c.key, row.version == newest.c.version))
    found = session.execute(query.where(row.location == location))
    return {known[0]: Known(*known) for known in found}


def record_uploads(session: Session, location: str, plan: Plan, now: datetime) -> None:
    """Stores the result of a scan. Safe to repeat, and safe with concurrent calls for the same scan."""
    for start in range(0, len(plan.new), BATCH):
        seen = _table(plan.new[start : start + BATCH])
        given = {
            "location": sa.literal(location),
            **{column.key: column for column in seen.c},
            **dict.fromkeys(("first_seen", "last_seen"), sa.literal(now, UtcDateTime())),
            "state": sa.literal(UploadState.WAITING, Upload.__table__.c.state.type),
            **dict.fromkeys(("reason", "checksum", "partition_key", "run_key"), sa.literal("")),
            "looks": sa.literal(0),
        }
        row = insert(Upload).from_select(list(given), sa.select(*given.values()))
        session.execute(row.on_conflict_do_nothing())
    if plan.changed:
        seen = _table(plan.changed)
        changed = sa.update(Upload).where(
            Upload.location == location,
            Upload.key == seen.c.key,
            Upload.version == seen.c.version,
            Upload.state == UploadState.WAITING,
        )
        session.execute(
            changed.values(
                etag=seen.c.etag,
                size=seen.c.size,
                modified=seen.c.modified,
                first_seen=now,
                last_seen=now,
                gone_at=None,
                reason="",
                looks=0,
                run_key="",
                tries=0,
                ask_at=None,
            ).execution_options(**_QUIET)
        )
    for pairs, gone_at in ((plan.returned, None), (plan.gone, now)):
        if pairs:
            named = _pairs(pairs)
            mark = sa.update(Upload).where(
                Upload.location == location, Upload.key == named.c.key, Upload.version == named.c.version
            )
            session.execute(mark.values(gone_at=gone_at, last_seen=now).execution_options(**_QUIET))


def get_upload(session: Session, location: str, key: str, version: int) -> Upload | None:
    """One version of an upload, or None."""
    return session.get(Upload, (location, key, version))


def resolve_upload(
    session: Session,
    upload: Upload,
    state: UploadState,
    now: datetime,
    *,
    reason: str = "",
    checksum: str = "",
    partition_key: str = "",
    run_key: str = "",
) -> bool:
    """Sets the state of a waiting version. Returns False if it is not waiting any more or its content changed."""
    changed = _waiting(upload).values(
        state=state,
        reason=plain_text(reason),
        checksum=checksum,
        partition_key=partition_key,
        run_key=run_key,
        tries=int(state is UploadState.REQUESTED),
        ask_at=None,
        last_seen=now,
    )
    done = session.execute(changed.returning(Upload.version).execution_options(**_QUIET))
    return done.first() is not None


def assign_ingest_run(session: Session, location: str, uploads: Sequence[tuple[Listed, int]], run_key: str) -> int:
    """Assigns the ingest run `run_key` to waiting versions. Returns the number of versions it was assigned to.

    Versions with an ingest run are skipped.
    """
    named = _pairs([(upload.key, version) for upload, version in uploads])
    row = Upload
    mine = sa.update(row).where(
        row.location == location,
        row.key == named.c.key,
        row.version == named.c.version,
        row.state == UploadState.WAITING,
        row.run_key == "",
    )
    done = session.execute(mine.values(run_key=run_key).returning(row.version).execution_options(**_QUIET))
    return len(done.all())


def ingest_runs(session: Session, location: str) -> dict[str, int]:
    """Run keys of the ingest runs of a location, with their number of unfinished uploads."""
    row = Upload
    query = sa.select(row.run_key, sa.func.count()).where(
        row.location == location, row.state == UploadState.WAITING, row.run_key != ""
    )
    return {str(key): int(number) for key, number in session.execute(query.group_by(row.run_key))}


def uploads_of_run(session: Session, run_key: str) -> list[Upload]:
    """The uploads that an ingest run has to probe: oldest first, then those whose last probe had no result."""
    row = Upload
    query = sa.select(row).where(row.state == UploadState.WAITING, row.run_key == run_key, row.gone_at.is_(None))
    tried = sa.case((row.reason != "", row.last_seen), else_=row.modified)
    return list(session.scalars(query.order_by(row.reason != "", tried, row.key)))


def end_ingest_run(session: Session, run_key: str, reason: str = "", pause: Sequence[float] = ()) -> None:
    """Releases the unfinished uploads of an ingest run that has ended.

    `reason` is given if the run ended too early. The next run may then be requested after `pause` seconds: one value
    for each retry, the last for all later ones. An upload whose probe had begun keeps the reason BEGUN.
    """
    row = Upload
    theirs = sa.update(row).where(row.state == UploadState.WAITING, row.run_key == run_key)
    if not reason:
        session.execute(theirs.values(run_key="", tries=0).execution_options(**_QUIET))
        return
    number = sa.func.least(row.tries, len(pause) - 1)
    seconds = sa.case(dict(enumerate(pause)), value=number, else_=pause[-1])
    values = {
        "run_key": "",
        "tries": row.tries + 1,
        "ask_at": sa.func.clock_timestamp() + seconds * sa.cast("1 second", sa.Interval()),
        "reason": sa.case((row.reason == BEGUN, row.reason), else_=plain_text(reason)),
        "last_seen": sa.func.clock_timestamp(),
    }
    session.execute(theirs.values(**values).execution_options(**_QUIET))


def begin_probe(session: Session, upload: Upload, now: datetime) -> int:
    """Stores that a probe of a version begins, before the file is opened: the probe may end this process.

    Returns the number of its probes, including this one; 0 if it is not waiting any more, its content changed, or it
    is assigned to another run.
    """
    mine = _waiting(upload).where(Upload.run_key == upload.run_key)
    begun = mine.values(reason=BEGUN, last_seen=now, looks=Upload.looks + 1).returning(Upload.looks)
    return session.scalar(begun.execution_options(**_QUIET)) or 0


def note_probe_error(session: Session, upload: Upload, trouble: str, now: datetime) -> None:
    """Stores why the probe of a waiting version had no result, and releases it from its run.

    It is probed again after all other uploads.
    """
    mine = _waiting(upload).where(Upload.run_key == upload.run_key)
    noted = mine.values(reason=plain_text(trouble), last_seen=now, run_key="", tries=0)
    session.execute(noted.execution_options(**_QUIET))


def _waiting(upload: Upload) -> sa.Update:
    row = Upload
    return sa.update(row).where(
        row.location == upload.location,
        row.key == upload.key,
        row.version == upload.version,
        row.etag == upload.etag,
        row.state == UploadState.WAITING,
    )


def uploads_with_errors(session: Session) -> list[Upload]:
    """Waiting versions whose probe had no result and that still exist, by location and key."""
    row = Upload
    query = sa.select(row).where(row.state == UploadState.WAITING, row.reason != "", row.gone_at.is_(None))
    return list(session.scalars(query.order_by(row.location, row.key)))


def requested_uploads(session: Session, *, limit: int, gone: bool = False) -> list[Upload]:
    """Versions whose run is requested, not created yet and not delayed; longest waiting first.

    `gone` includes removed uploads, after the others.
    """
    row = Upload
    query = sa.select(row).where(row.state == UploadState.REQUESTED)
    query = query.where(sa.or_(row.ask_at.is_(None), row.ask_at <= sa.func.clock_timestamp()))
    if not gone:
        query = query.where(row.gone_at.is_(None))
    return list(session.scalars(query.order_by(row.gone_at.is_not(None), row.last_seen, row.run_key).limit(limit)))


def confirm_uploads(session: Session, run_keys: Collection[str]) -> None:
    """Marks the versions with these run keys as started: Dagster created their runs."""
    row = Upload
    theirs = sa.update(row).where(row.state == UploadState.REQUESTED, row.run_key.in_(run_keys))
    started = theirs.values(state=UploadState.STARTED, last_seen=sa.func.clock_timestamp())
    session.execute(started.execution_options(**_QUIET))


def running_uploads(session: Session, *, limit: int) -> list[Upload]:
    """Versions whose run was created and whose end is not recorded yet; oldest first."""
    row = Upload
    query = sa.select(row).where(row.state == UploadState.STARTED, row.over_at.is_(None))
    return list(session.scalars(query.order_by(row.last_seen, row.run_key).limit(limit)))


def close_uploads(session: Session, run_keys: Collection[str]) -> None:
    """Records the end of the runs with these keys. No retry follows."""
    row = Upload
    theirs = sa.update(row).where(row.state == UploadState.STARTED, row.run_key.in_(run_keys))
    session.execute(theirs.values(over_at=sa.func.clock_timestamp()).execution_options(**_QUIET))


def request_retry(session: Session, upload: Upload, reason: str, run_key: str, pause: timedelta) -> bool:
    """Requests another run of a version, after a pause. Returns False if the row changed in the meantime."""
    return _after_run(
        session,
        upload,
        state=UploadState.REQUESTED,
        reason=plain_text(reason),
        run_key=run_key,
        tries=upload.tries + 1,
        ask_at=sa.func.clock_timestamp() + pause,
    )


def fail_upload(session: Session, upload: Upload, reason: str) -> bool:
    """Marks a version as failed: no retry follows. Returns False if the row changed in the meantime."""
    return _after_run(session, upload, state=UploadState.FAILED, reason=plain_text(reason))


def interrupted_uploads(session: Session, partition_key: str | None = None) -> list[Upload]:
    """Versions whose run ended too early and that have no later job, newest first; of one source, if given."""
    row = Upload
    again = sa.and_(row.tries > 1, row.state.in_((UploadState.REQUESTED, UploadState.STARTED)), row.over_at.is_(None))
    later = sa.exists().where(DetectJob.partition_key == row.partition_key, DetectJob.created_at > row.last_seen)
    query = sa.select(row).where(sa.or_(row.state == UploadState.FAILED, again), ~later)
    if partition_key is not None:
        query = query.where(row.partition_key == partition_key)
    return list(session.scalars(query.order_by(row.last_seen.desc(), row.run_key)))


def _after_run(session: Session, upload: Upload, **values: Any) -> bool:
    row = Upload
    mine = sa.update(row).where(
        row.location == upload.location,
        row.key == upload.key,
        row.version == upload.version,
        row.state == UploadState.STARTED,
        row.run_key == upload.run_key,
    )
    changed = mine.values(**values, last_seen=sa.func.clock_timestamp()).returning(row.version)
    return session.execute(changed.execution_options(**_QUIET)).first() is not None


def forget_uploads(session: Session, partition_key: str) -> None:
    """Marks the uploads of a retired source. The rows are kept so that the sensor does not process them again."""
    row = Upload
    theirs = sa.update(row).where(row.partition_key == partition_key, row.state != UploadState.WAITING)
    forgotten = theirs.values(
        state=UploadState.FORGOTTEN, reason="retired by `touchline forget`", last_seen=sa.func.clock_timestamp()
    )
    session.execute(forgotten.execution_options(**_QUIET))


def _table(uploads: Sequence[tuple[Listed, int]]) -> Any:
    """The uploads as a table expression with one array parameter for each column."""
    columns: list[tuple[str, Any, Iterable[Any]]] = [
        ("key", sa.Text(), (upload.key for upload, _ in uploads)),
        ("version", sa.Integer(), (version for _, version in uploads)),
        ("etag", sa.Text(), (upload.etag for upload, _ in uploads)),
        ("size", sa.BigInteger(), (upload.size for upload, _ in uploads)),
        ("modified", UtcDateTime(), (upload.modified for upload, _ in uploads)),
    ]
    return _unnest(columns)


def _pairs(pairs: Sequence[tuple[str, int]]) -> Any:
    return _unnest([("key", sa.Text(), (key for key, _ in pairs)), ("version", sa.Integer(), (v for _, v in pairs))])


def _unnest(columns: Sequence[tuple[str, Any, Iterable[Any]]]) -> Any:
    arrays = (sa.cast(list(values), ARRAY(kind)) for _, kind, values in columns)
    named = [sa.column(name, kind) for name, kind, _ in columns]
    return sa.func.unnest(*arrays).table_valued(*named, name="seen").render_derived()
