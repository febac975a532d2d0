"""Looking into uploads, in a run: what is a video becomes a source whose run is due, what is none is refused.

Belongs here: the order of it for the uploads of one run, one after another, each with its outcome in the ledger before
the next. Which uploads a run has is said by the ledger, where `scan_uploads.py` noted it; the run itself is in
`ingest_job.py`. Each file is opened by a process of its own: `resources/probing.py`.
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
"""Uploads that may fail for the server's sake before the run is ended: it is away, not one of them odd."""


@dataclass
class Ingested:
    """What became of the uploads of a run."""

    registered: list[str] = field(default_factory=list)
    """Paths of those that are sources now and whose run is due."""
    unchanged: list[str] = field(default_factory=list)
    """Paths of those with the content of the version before."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason."""
    troubles: list[TouchlineError] = field(default_factory=list)
    """Why some could not be looked into: they are looked into again."""
    left: int = 0
    """How many were not looked into any more."""


def refusal(path: str, reason: str) -> str:
    """One sentence; most reasons name the path by themselves."""
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
    """Looks into the uploads of the run of that key. `location_at` gives the place of a location.

    `between` is called before each, and may raise; `refused` is told path and reason of each that is refused. Uploads
    are looked into by `prober`, or one of this call alone. No upload holds up another, whatever it does. What is not
    settled may be asked for again. Raises ServiceError if the database is away.
    """
    found = Ingested()
    with connection.database.session() as session:
        uploads = repository.uploads_of_run(session, key)
    found.left = len(uploads)
    with prober or Prober() as looking:
        for upload in uploads:
            if sum(isinstance(error, ServiceError) for error in found.troubles) >= TROUBLES:
                break
            between()
            found.left -= 1
            before = len(found.refused)
            _Look(connection, location_at(upload.location), upload, looking, found, now).take()
            for path, reason in found.refused[before:]:
                refused(path, reason)
    with connection.database.session() as session:
        repository.end_ingest_run(session, key)
    return found


@dataclass(frozen=True)
class _Look:
    """One upload in one run."""

    connection: Connection
    place: UploadLocation
    upload: Upload
    prober: Prober
    found: Ingested
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        return self.upload.location + self.upload.key

    def take(self) -> None:
        """Looks into the upload, and writes into the ledger what came of it."""
        # Before it is opened: should that end this process, other uploads come first.
        with self.connection.database.session() as session:
            looks = repository.begin_probe(session, self.upload, self.now())
        if not looks:
            return
        try:
            self._settle(looks)
        except FileNotFoundError as error:
            self._note(error.strerror or str(error))
        except Exception as error:
            trouble = error if isinstance(error, TouchlineError) else self._unforeseen(error)
            self.found.troubles.append(trouble)
            self._note(str(trouble))

    def _note(self, reason: str) -> None:
        with self.connection.database.session() as session:
            repository.note_probe_error(session, self.upload, reason, self.now())

    def _unforeseen(self, error: Exception) -> TouchlineError:
        """An error of a class that nobody thought of is one upload's all the same."""
        return TouchlineError(
            f"{self.name} could not be taken up ({type(error).__name__}: {error}). It is tried again, after all others"
        )

    def _settle(self, looks: int) -> None:
        """Makes the version a source whose run is due, or refuses it.

        Raises ServiceError for what is the place's fault, and FileNotFoundError for an upload that changed or went.
        """
        upload = self.upload
        listed = Listed(upload.key, upload.etag, upload.size, upload.modified)
        path, checksum, reason = self.name, "", ""
        earlier: Upload | None = None
        info: VideoInfo | None = None
        try:
            if looks > MAX_PROBES:
                raise BadInputError(
                    f"{path}: {MAX_PROBES} looks into it ended without an answer: it hangs or ends what looks into it, "
                    "or its disk fails. Export it again; once its content has changed, it is looked into again."
                )
            earlier = self._earlier()
            path, checksum = self.prober.identify(self.place, listed, earlier.checksum if earlier else "")
            if earlier is not None and not _same_content(earlier, checksum):
                earlier = None
            info = None if earlier else self.prober.probe(self.place, listed)
        except BadInputError as error:
            earlier, checksum, reason = None, "", str(error)
        if earlier is not None:
            self._settle_unchanged(earlier, path, checksum)
        else:
            self._register(path, checksum, info, reason)

    def _earlier(self) -> Upload | None:
        """The version before."""
        with self.connection.database.session() as session:
            return repository.get_upload(session, self.upload.location, self.upload.key, self.upload.version - 1)

    def _settle_unchanged(self, earlier: Upload, path: str, checksum: str) -> None:
        forgotten = earlier.state is UploadState.FORGOTTEN
        with self.connection.database.session() as session:
            mine = repository.resolve_upload(
                session,
                self.upload,
                UploadState.FORGOTTEN if forgotten else UploadState.UNCHANGED,
                self.now(),
                reason=earlier.reason if forgotten else f"the content of version {earlier.version}",
                checksum=checksum,
                partition_key=earlier.partition_key,
            )
        if mine:
            self.found.unchanged.append(path)

    def _register(self, path: str, checksum: str, info: VideoInfo | None, reason: str) -> None:
        """Source and ledger in one transaction."""
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
                # Its partition key is another's: there can be no source of that name.
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
                # Its content changed meanwhile, or another run was quicker: what was found is not what is there.
                session.rollback()
                return
        if info:
            self.found.registered.append(path)
        else:
            self.found.refused.append((path, reason))


def _same_content(earlier: Upload, checksum: str) -> bool:
    """Whether the version before had that content, and that is all there is to say.

    One that was forgotten and taken away does not count, nor one whose runs failed: to upload it again asks for it.
    """
    if earlier.checksum != checksum or earlier.state is UploadState.FAILED:
        return False
    return earlier.state is not UploadState.FORGOTTEN or earlier.gone_at is None
