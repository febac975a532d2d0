"""Ingests the uploads of a run: a video or picture becomes a source whose run is due, any other file is refused.

Belongs here: the order of the steps for each upload. Its outcome is recorded in the table uploads before the next one
is opened. `scan_uploads.py` assigns uploads to runs in that table; `ingest_job.py` is the run. `resources/probing.py`
opens each file in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from resources.probing import Prober
from resources.storage import Connection
from resources.uploads import UploadLocation
from touchline.errors import BadInputError, ServiceError, TouchlineError
from touchline.library import repository
from touchline.library.intake import MAX_PROBES, Listed, UploadState, run_key
from touchline.library.tables import SourceState, Upload
from touchline.video.opening import VideoInfo

TROUBLES: Final = 3
"""Number of uploads failed by a ServiceError after which the run ends: the server is down, not one upload damaged."""


@dataclass
class Ingested:
    """The outcome of a run's uploads."""

    registered: list[str] = field(default_factory=list)
    """Paths of new sources, whose run is due."""
    unchanged: list[str] = field(default_factory=list)
    """Paths of uploads with the same content as their previous version."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of refused uploads."""
    troubles: list[TouchlineError] = field(default_factory=list)
    """Errors of uploads that could not be probed and will be probed again."""
    left: int = 0
    """Number of uploads that were not reached."""


def refusal(path: str, reason: str) -> str:
    """A refusal in one sentence. Most reasons contain the path already."""
    return f"refused {reason}" if path in reason else f"refused {path}: {reason}"


def ingest(
    connection: Connection,
    location_at: Callable[[str], UploadLocation],
    key: str,
    *,
    prober: Prober | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    between: Callable[[], None] = lambda: None,
    refused: Callable[[str, str], None] = lambda path, reason: None,
) -> Ingested:
    """Ingests the uploads of the run with the run key `key`. `location_at` opens a location.

    `between` is called before each upload and may raise. `refused` is called with path and reason of each refused
    upload. Without a `prober`, one is started for this call. An upload that cannot be probed does not stop the others
    and is probed again by a later run. Raises ServiceError if the database cannot be reached.
    """
    found = Ingested()
    with connection.database.session() as session:
        uploads = repository.uploads_of_run(session, key)
    found.left = len(uploads)
    with prober or Prober() as probing:
        for upload in uploads:
            if sum(isinstance(error, ServiceError) for error in found.troubles) >= TROUBLES:
                break
            between()
            found.left -= 1
            before = len(found.refused)
            _Ingest(connection, location_at(upload.location), upload, probing, found, now).run()
            for path, reason in found.refused[before:]:
                refused(path, reason)
    with connection.database.session() as session:
        repository.end_ingest_run(session, key)
    return found


@dataclass(frozen=True)
class _Ingest:
    """The ingestion of one upload."""

    connection: Connection
    place: UploadLocation
    upload: Upload
    prober: Prober
    found: Ingested
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        return self.upload.location + self.upload.key

    def run(self) -> None:
        """Probes the upload and records the outcome."""
        # Recorded before the file is opened: if that kills this process, other uploads are probed first.
        with self.connection.database.session() as session:
            looks = repository.begin_probe(session, self.upload, self.now())
        if not looks:
            return
        try:
            self._probe(looks)
        except FileNotFoundError as error:
            self._retry_later(error.strerror or str(error))
        except Exception as error:
            trouble = error if isinstance(error, TouchlineError) else self._unforeseen(error)
            self.found.troubles.append(trouble)
            self._retry_later(str(trouble))

    def _retry_later(self, reason: str) -> None:
        with self.connection.database.session() as session:
            repository.note_probe_error(session, self.upload, reason, self.now())

    def _unforeseen(self, error: Exception) -> TouchlineError:
        """An unexpected error must not stop the other uploads."""
        return TouchlineError(
            f"{self.name} could not be ingested ({type(error).__name__}: {error}). It is retried after all others"
        )

    def _probe(self, looks: int) -> None:
        """Registers the upload as a source whose run is due, or refuses it.

        Raises ServiceError if the location cannot be read, and FileNotFoundError if the upload changed or was deleted.
        """
        upload = self.upload
        listed = Listed(upload.key, upload.etag, upload.size, upload.modified)
        path, checksum, reason = self.name, "", ""
        earlier: Upload | None = None
        info: VideoInfo | None = None
        try:
            if looks > MAX_PROBES:
                raise BadInputError(
                    f"{path}: {MAX_PROBES} attempts to probe it ended without a result: the file makes the probe hang "
                    "or crash, or its disk fails. Export it again; it is probed again once its content has changed."
                )
            earlier = self._earlier()
            path, checksum = self.prober.identify(self.place, listed, earlier.checksum if earlier else "")
            if earlier is not None and not _same_content(earlier, checksum):
                earlier = None
            info = None if earlier else self.prober.probe(self.place, listed)
        except BadInputError as error:
            earlier, checksum, reason = None, "", str(error)
        if earlier is not None:
            self._record_unchanged(earlier, path, checksum)
        else:
            self._register(path, checksum, info, reason)

    def _earlier(self) -> Upload | None:
        """The previous version of the upload, if any."""
        with self.connection.database.session() as session:
            return repository.get_upload(session, self.upload.location, self.upload.key, self.upload.version - 1)

    def _record_unchanged(self, earlier: Upload, path: str, checksum: str) -> None:
        forgotten = earlier.state is UploadState.FORGOTTEN
        with self.connection.database.session() as session:
            mine = repository.resolve_upload(
                session,
                self.upload,
                UploadState.FORGOTTEN if forgotten else UploadState.UNCHANGED,
                self.now(),
                reason=earlier.reason if forgotten else f"same content as version {earlier.version}",
                checksum=checksum,
                partition_key=earlier.partition_key,
            )
        if mine:
            self.found.unchanged.append(path)

    def _register(self, path: str, checksum: str, info: VideoInfo | None, reason: str) -> None:
        """Records the source and the outcome of the upload in one transaction."""
        upload = self.upload
        with self.connection.database.session() as session:
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
                # Another source has this partition key.
                info, reason, key = None, str(error), ""
            mine = repository.resolve_upload(
                session,
                upload,
                UploadState.REQUESTED if info else UploadState.REFUSED,
                self.now(),
                reason=reason,
                checksum=checksum,
                partition_key=key,
                run_key=run_key(key, upload.version, upload.etag) if info else "",
            )
            if not mine:
                # The content changed in the meantime, or another run has recorded the outcome: this one is outdated.
                session.rollback()
                return
        if info:
            self.found.registered.append(path)
        else:
            self.found.refused.append((path, reason))


def _same_content(earlier: Upload, checksum: str) -> bool:
    """Whether the previous version has this checksum and needs no other run.

    If its runs failed, or if it was forgotten and deleted, uploading the same content again requests a new run.
    """
    if earlier.checksum != checksum or earlier.state is UploadState.FAILED:
        return False
    return earlier.state is not UploadState.FORGOTTEN or earlier.gone_at is None
