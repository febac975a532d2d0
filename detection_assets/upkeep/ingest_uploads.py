"""One look at the uploads: what is new becomes a source, what is no video is refused, and runs are asked for.

Belongs here: the order of it, and how much a look may do. What is due is decided in `touchline/library/intake.py`; the
sensor that looks is in `sensors/new_uploads.py`.

The ledger is written first, Dagster is asked afterwards, and asked again at every look until the run is there: a death
in between loses nothing, and Dagster starts nothing twice for one run key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster import DagsterInstance

from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.jobs.job_of_run import CONTINUES_TAG
from resources.probing import Prober
from resources.storage import Connection
from resources.uploads import Listing, Place
from touchline.errors import BadInputError, ServiceError, TouchlineError
from touchline.library import repository
from touchline.library.intake import LOOKS, SETTLE, Listed, UploadState, decide, run_key
from touchline.library.tables import DetectJobStatus, SourceState, Upload
from touchline.video.opening import VideoInfo

PER_LOOK: Final = 50
"""Uploads registered or refused in one look, and runs asked for. The daemon makes the runs one after another before it
sees to other sensors, 0.1 to 0.7 s each; 50 keep it busy for as long as it waits for the next look, and are some
thousands an hour: far more than are worked on."""
PROBING_S: Final = 20.0
"""Seconds of a look after which no further upload is looked into, but for the first of each place."""
LOOK_S: Final = 50.0
"""Seconds that a look may take: Dagster gives a tick 60. What is looked into last gets what is left of them."""
TROUBLES: Final = 3
"""Uploads that may fail for the server's sake before the look is ended: it is away, not one of them odd."""
AT_ONCE: Final = 1000
"""Runs that are looked for in one question."""


@dataclass
class Look:
    """What a look found. `requests`: versions to run; `refused`: path and reason; `troubles`: what went wrong."""

    requests: list[Upload] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[TouchlineError] = field(default_factory=list)
    present: int = 0
    waiting: int = 0
    newest: datetime | None = None

    def __str__(self) -> str:
        """One sentence for the tick."""
        parts = [f"{self.present} upload(s) there, {self.waiting} still arriving or waiting for their turn"]
        if self.requests:
            parts.append(f"{len(self.requests)} run(s) asked for")
        parts += [refusal(path, reason) for path, reason in self.refused]
        return "; ".join(parts)


def continued(connection: Connection, upload: Upload) -> dict[str, str]:
    """The tag that makes a run that is asked for again go on with the job that the one before left unfinished."""
    if upload.tries < 2:
        return {}
    with connection.database.session() as session:
        source = repository.get_source(session, upload.partition_key)
        newest = repository.list_jobs(session, source.id, limit=1)
    if not newest or newest[0].status is not DetectJobStatus.FAILED:
        return {}
    return {CONTINUES_TAG: str(newest[0].id)}


def refusal(path: str, reason: str) -> str:
    """One sentence; most reasons name the path by themselves."""
    return f"refused {reason}" if path in reason else f"refused {path}: {reason}"


def look(
    instance: DagsterInstance,
    connection: Connection,
    places: Sequence[Place],
    *,
    limit: int = PER_LOOK,
    settle: timedelta = SETTLE,
    now: datetime | None = None,
    prober: Prober | None = None,
) -> Look:
    """Brings ledger and sources up to date with the places, at most `limit` uploads further; tells whose run is due.

    A place that cannot be read is noted in `troubles` and holds up no other, nor does any upload hold up another.
    Uploads are looked into by `prober`, or one of this look alone. Raises ServiceError if the database is away.
    """
    now = now or datetime.now(UTC)
    _confirm(instance, connection)
    found = Look()
    began = time.monotonic()
    with connection.database.session() as session:
        outstanding = len(repository.requested_uploads(session, limit=limit))
    left = limit - outstanding
    with prober or Prober() as looking:
        for place in places:
            try:
                listing = place.listing()
                left -= _Place(connection, place, looking, found, now, began).look(listing, left, settle)
            except TouchlineError as error:
                found.troubles.append(error)
            except Exception as error:
                what = f"{place.location} could not be looked through ({type(error).__name__}: {error})"
                found.troubles.append(TouchlineError(what))
    with connection.database.session() as session:
        found.requests = repository.requested_uploads(session, limit=limit)
    return found


@dataclass(frozen=True)
class _Place:
    """One place in one look."""

    connection: Connection
    place: Place
    prober: Prober
    found: Look
    now: datetime
    began: float
    """When the look began, by this process's own clock [s]."""

    def look(self, listing: Listing, left: int, settle: timedelta) -> int:
        """Brings the place up to date. Returns how many uploads were taken further."""
        found, listed = self.found, listing.uploads
        with self.connection.database.session() as session:
            known = repository.known_uploads(session, self.place.location)
            plan = decide(known, listed, self.now, settle=settle, unread=listing.unread)
            repository.record_uploads(session, self.place.location, plan, self.now)
        found.troubles += [BadInputError(reason) for reason in listing.unread.values()]
        found.present += len(listed)
        found.newest = max([u.modified for u in listed] + ([found.newest] if found.newest else []), default=None)
        done = troubles = 0
        for number, (upload, version) in enumerate(plan.settled):
            # One at least: where listing takes long, nothing would ever be taken up.
            late = number > 0 and time.monotonic() > self.began + PROBING_S
            if done >= left or troubles >= TROUBLES or late:
                break
            try:
                done += self._take(upload, version)
            except FileNotFoundError:
                # The next look finds it gone, or here is the reason why it gets no further.
                self._note(upload, version, "it was listed, but there is nothing under its name")
            except Exception as error:
                troubles += isinstance(error, ServiceError)
                trouble = error if isinstance(error, TouchlineError) else _unforeseen(self.place, upload, error)
                found.troubles.append(trouble)
                self._note(upload, version, str(trouble))
        found.waiting += plan.waiting + len(plan.settled) - done
        return done

    def _left(self) -> float:
        """Seconds left of the look."""
        return self.began + LOOK_S - time.monotonic()

    def _note(self, upload: Listed, version: int, reason: str) -> None:
        with self.connection.database.session() as session:
            repository.note_trouble(session, self.place.location, upload.key, version, reason, self.now)

    def _take(self, upload: Listed, version: int) -> bool:
        """Makes one version a source whose run is due, or refuses it. False if somebody else did meanwhile.

        Raises ServiceError for what is the place's fault, and FileNotFoundError for an upload that went away.
        """
        path, checksum, reason = self.place.location + upload.key, "", ""
        # Before it is opened: should that end this process, the next look begins with others.
        with self.connection.database.session() as session:
            looks = repository.begin_look(session, self.place.location, upload.key, version, self.now)
        if not looks:
            return False
        earlier: Upload | None = None
        info: VideoInfo | None = None
        try:
            path = self.place.path(upload.key)
            if looks > LOOKS:
                raise BadInputError(
                    f"{path}: {LOOKS} looks into it ended without an answer: it hangs or ends what looks into it, or "
                    "its disk fails. Export it again; once its content has changed, it is looked into anew."
                )
            checksum = self.prober.checksum(self.place, upload, self._left())
            earlier = _same_content(self.connection, self.place, upload, version, checksum)
            info = None if earlier else self.prober.probe(self.place, upload, self._left())
        except BadInputError as error:
            checksum, reason = "", str(error)
        with self.connection.database.session() as session:
            if earlier is not None:
                forgotten = earlier.state is UploadState.FORGOTTEN
                return repository.settle_upload(
                    session,
                    self.place.location,
                    upload,
                    version,
                    UploadState.FORGOTTEN if forgotten else UploadState.UNCHANGED,
                    self.now,
                    reason=earlier.reason if forgotten else f"the content of version {earlier.version}",
                    checksum=checksum,
                    partition_key=earlier.partition_key,
                )
            try:
                with session.begin_nested():
                    source = repository.register_source(
                        session,
                        path,
                        checksum=checksum,
                        duration=info.duration_s if info else None,
                        fps=(info.fps or None) if info else None,
                        size=upload.size,
                        width=info.width if info else None,
                        height=info.height if info else None,
                        state=SourceState.ACCEPTED if info else SourceState.REJECTED,
                        rejection_reason=reason,
                    )
                key = source.partition_key
            except BadInputError as error:
                # Its partition key is another's: there can be no source of that name.
                info, reason, key = None, str(error), ""
            mine = repository.settle_upload(
                session,
                self.place.location,
                upload,
                version,
                UploadState.REQUESTED if info else UploadState.REFUSED,
                self.now,
                reason=reason,
                checksum=checksum,
                partition_key=key,
                run_key=run_key(key, version, upload.etag) if info else "",
            )
        if mine and reason:
            self.found.refused.append((path, reason))
        return mine


def _unforeseen(place: Place, upload: Listed, error: Exception) -> TouchlineError:
    """An error of a class that nobody thought of is one upload's all the same."""
    return TouchlineError(
        f"{place.location}{upload.key} could not be taken up ({type(error).__name__}: {error}). It is tried again, "
        "after all others"
    )


def _same_content(connection: Connection, place: Place, upload: Listed, version: int, checksum: str) -> Upload | None:
    """The version before, if it had the same content.

    One that was forgotten and taken away does not count, nor one whose runs failed: to upload it again asks for it.
    """
    with connection.database.session() as session:
        earlier = repository.get_upload(session, place.location, upload.key, version - 1)
    if earlier is None or earlier.checksum != checksum or earlier.state is UploadState.FAILED:
        return None
    return None if earlier.state is UploadState.FORGOTTEN and earlier.gone_at is not None else earlier


def _confirm(instance: DagsterInstance, connection: Connection) -> None:
    """Those whose run Dagster has by now are started; the others are asked for again."""
    with connection.database.session() as session:
        keys = [upload.run_key for upload in repository.requested_uploads(session, limit=AT_ONCE, gone=True)]
    if not keys:
        return
    runs = runs_where(instance, dg.RunsFilter(tags={RUN_KEY_TAG: keys}))
    started = {run.tags[RUN_KEY_TAG] for run in runs} & set(keys)
    if started:
        with connection.database.session() as session:
            repository.confirm_uploads(session, started)
