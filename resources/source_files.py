"""The video of a source: whether it still has the content that is registered, and registering what it has now.

Belongs here: comparing a source's row with its file or object. How content is hashed is in
`touchline/library/naming.py`; how an object becomes a local file, in `uploads.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resources.connection import Connection
from resources.object_store import ObjectStore
from resources.uploads import ETAG
from touchline.errors import BadInputError, CheckpointError
from touchline.library import repository
from touchline.library.intake import bucket_key
from touchline.library.naming import checksum, content_mark
from touchline.library.tables import SourceAsset
from touchline.video.opening import probe


class Registered(Protocol):
    """What is registered of a source; fields as in `SourceAsset`."""

    @property
    def video_path(self) -> str: ...  # noqa: D102

    @property
    def checksum(self) -> str: ...  # noqa: D102

    @property
    def content_mark(self) -> str: ...  # noqa: D102

    @property
    def size(self) -> int | None: ...  # noqa: D102


@dataclass
class SourceFile:
    """A local file that had this checksum and this mark when it was looked at last."""

    path: Path
    checksum: str
    mark: str

    def check(self) -> None:
        """Raises BadInputError if the file was replaced, written to or removed since.

        It is hashed only where its entry alone changed: another name, owner or mode leaves the content as it is.
        """
        try:
            now = content_mark(self.path)
            if now == self.mark:
                return
            if not _written(self.mark, now) and checksum(self.path, self.checksum) == self.checksum:
                self.mark = now
                return
        except FileNotFoundError as error:
            raise BadInputError(
                f"{self.path} was removed or renamed while frames were extracted from it. Put it back, and continue "
                "the job: it goes on after the last chunk whose content was checked."
            ) from error
        except OSError as error:
            raise BadInputError(f"{self.path} cannot be read: {error.strerror}. Check its permissions.") from error
        raise BadInputError(
            f"{self.path} was replaced or written to while frames were extracted from it. Wait until it is whole, and "
            "run it again: a checked chunk is used again only if the content is the one that it was extracted from."
        )


def with_content_now(connection: Connection, source: SourceAsset) -> tuple[SourceAsset, str]:
    """The source as its video is now, and a sentence if that is other content than was registered (else empty).

    New content of a local file is registered: it is the same source with a new checksum. A file is hashed only if its
    mark is not the registered one. A file that is not there leaves the source as it is: its checkpoints still hold.

    Raises BadInputError if the file cannot be read or is no video any more, and for an object that was replaced: the
    sensor registers its new content. Raises ServiceError if the object store is away.
    """
    if bucket_key(source.video_path) is not None:
        _check_object(connection.objects, source)
        return source, ""
    path = Path(source.video_path)
    try:
        mark, size = content_mark(path), path.stat().st_size
    except FileNotFoundError:
        return source, ""
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if source.checksum and mark == source.content_mark:
        return source, ""
    found = checksum(path, source.checksum)
    same = found == source.checksum
    info = None if same else probe(path)
    with connection.database.session() as session:
        now = repository.register_source(
            session,
            source.video_path,
            checksum=found,
            content_mark=mark,
            duration=info.duration_s if info else None,
            fps=(info.fps or None) if info else None,
            size=size,
            width=info.width if info else None,
            height=info.height if info else None,
            profile_name=source.profile_name,
            state=source.state,
            rejection_reason=source.rejection_reason,
        )
    if same or not source.checksum:
        return now, ""
    return now, f"{path} was replaced after it was registered; its new content is registered and worked on"


def content_check(source: SourceAsset) -> Callable[[], None]:
    """`SourceFile.check` of a source's file as `with_content_now` found it; nothing to check where that is an object.

    An object is copied by its etag before it is worked on, and nobody else writes to the copy.
    """
    if not source.content_mark:
        return lambda: None
    return SourceFile(Path(source.video_path), source.checksum, source.content_mark).check


def replacement(connection: Connection, source: Registered, extracted_from: str) -> str:
    """What to say of frames that are not of the content that a source's video has now; empty where they are.

    `extracted_from` is the checksum of the content that the frames are of, empty where that is not known. A local file
    is hashed only if its mark is not the registered one, and once where its content is the same; without a registered
    mark its size alone is compared. Of an object the registered etag is compared. A file that is not there, or cannot
    be read, says nothing: frames do not need it. Raises ServiceError if the database is away.
    """
    path = Path(source.video_path)
    told = (
        f"{source.video_path} was replaced after its frames were extracted: they show the former content. Materialize "
        "extract_frames, or run the video again, for the new one"
    )
    if extracted_from and source.checksum and extracted_from != source.checksum:
        return told
    if bucket_key(source.video_path) is not None:
        return ""
    try:
        mark, size = content_mark(path), path.stat().st_size
        if source.size is not None and size != source.size:
            return told
        if not source.content_mark or mark == source.content_mark:
            return ""
        if checksum(path, source.checksum) != source.checksum:
            return told
    except (OSError, BadInputError):
        return ""
    with connection.database.session() as session:
        repository.note_content_mark(session, source.video_path, source.checksum, mark)
    return ""


def _written(before: str, now: str) -> bool:
    """Whether two marks differ in more than the time at which the file's entry changed."""
    one, other = before.split("-"), now.split("-")
    return [*one[:2], *one[3:]] != [*other[:2], *other[3:]]


def _check_object(objects: ObjectStore, source: SourceAsset) -> None:
    """Raises BadInputError for an object whose etag is not the registered one."""
    where = bucket_key(source.video_path)
    if where is None or where[0] != objects.bucket or not source.checksum.startswith(ETAG):
        return
    try:
        etag = objects.etag(where[1])
    except CheckpointError:
        # Removed: what was extracted from it still holds, and whoever needs the object says that it is gone.
        return
    if ETAG + etag != source.checksum:
        raise BadInputError(
            f"{source.video_path} was removed or replaced after it was registered; upload it again, or wait until the "
            "sensor new_uploads has seen the new content"
        )
