"""The locations of uploads: a prefix of the bucket and a folder of this machine.

Belongs here: listing, hashing, probing and downloading uploads. `touchline/library/intake.py` decides which uploads are
processed; `folder_listing.py` lists a folder.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from resources.folder_listing import FolderListing, Listing, as_text, list_folder, listed
from resources.object_store import ObjectStore
from resources.settings import Settings
from resources.tempfiles import scratch_folder
from touchline.errors import BadInputError, CheckpointError, ServiceError, TouchlineError
from touchline.library.intake import Listed, bucket_key, bucket_path, hidden
from touchline.library.naming import SAMPLED, checksum, library_path
from touchline.video.opening import VideoInfo, probe, probe_file

if TYPE_CHECKING:
    from obstore import ReadableFile

PREFIX: Final = "uploads/"
"""Prefix of uploads in the bucket."""
ETAG: Final = "etag:"
"""Prefix of the checksum of an object, before its etag."""
NUL: Final = "\\x00"
"""Replacement for a NUL in a key, which Postgres cannot store."""
LONGEST_NAME: Final = 200
"""Maximum length of an object's name that its local copy keeps [bytes]; file systems allow 255."""
PROBE_BYTES: Final = 1024**3
"""Maximum number of bytes that a probe reads to find the first frame. Most videos need a few megabytes: the index is at
one end of the file, the first frame near the start."""
LIST_RETRY_S: Final = 15.0
"""Retry deadline of a scan for an unavailable object store [s]. The next scan follows soon, and Dagster ends a tick
after 60 s."""
CHANGED: Final = "it was changed or removed after it was listed; the next scan lists it again"
"""Message of the FileNotFoundError for an upload that differs from its listing."""


class WatchedLocation(Protocol):
    """A location of uploads that can be listed."""

    @property
    def name(self) -> str:
        """Name in messages."""

    def listing(self) -> Listing | None:
        """All uploads, without folders and hidden names; None if the location does not exist.

        Raises ServiceError or BadInputError if the location cannot be read.
        """


class UploadLocation(Protocol):
    """A location of uploads that can be probed."""

    @property
    def location(self) -> str:
        """URI or path, with a slash at the end."""

    def path(self, key: str) -> str:
        """The library path of an upload. Raises BadInputError for an invalid name."""

    def checksum(self, upload: Listed, known: str = "") -> str:
        """The checksum of the content. `known`, an earlier checksum, is returned if the content still has it.

        Raises BadInputError if the upload cannot be read, and FileNotFoundError if it differs from its listing.
        """

    def probe(self, upload: Listed) -> VideoInfo:
        """Metadata of the video or picture.

        Raises BadInputError if the upload is neither, ServiceError if the server fails, and FileNotFoundError if it was
        removed or replaced.
        """


@dataclass(frozen=True)
class BucketUploads:
    """Objects under a prefix of the bucket. Puts are atomic. A probe reads the parts it needs, without a download."""

    objects: ObjectStore
    prefix: str = PREFIX

    @property
    def location(self) -> str:
        """`s3://bucket/uploads/`."""
        return bucket_path(self.objects.bucket, self.prefix)

    @property
    def name(self) -> str:
        """As `WatchedLocation` says."""
        return self.location

    def listing(self) -> Listing:
        """As `WatchedLocation` says."""
        found = (
            Listed(item.key.removeprefix(self.prefix).replace("\0", NUL), item.etag, item.size, item.modified)
            for item in self.objects.stored_with_any_name(self.prefix)
        )
        return Listing(self.location, [upload for upload in found if not hidden(upload.key)])

    def path(self, key: str) -> str:
        """`s3://bucket/uploads/key`."""
        return self.location + key

    def checksum(self, upload: Listed, known: str = "") -> str:
        """The etag: a SHA-256 would need another download of the object.

        The same content uploaded again in other parts has another etag, and is processed again.
        """
        key = self.prefix + upload.key
        try:
            etag = self.objects.etag(key)
        except CheckpointError as error:
            raise self._gone(key) from error
        if etag != upload.etag:
            raise self._gone(key)
        return ETAG + etag

    def probe(self, upload: Listed) -> VideoInfo:
        """As `UploadLocation` says."""
        key = self.prefix + upload.key
        try:
            reader = _Reader(self.objects.reader(key), self.path(upload.key))
        except CheckpointError as error:
            raise self._gone(key) from error
        path = PurePosixPath(self.path(upload.key))
        try:
            return probe_file(cast(IO[bytes], reader), path)
        except (BadInputError, OSError) as error:
            # FFmpeg treats a failed read as the end of the file.
            if isinstance(reader.error, BadInputError):
                raise reader.error from error
            if isinstance(reader.error, OSError) and not isinstance(reader.error, FileNotFoundError):
                raise self.objects.service_error(key, reader.error) from error
            if not isinstance(error, BadInputError):
                raise
            # A path has one of the slashes of s3:// only.
            raise BadInputError(str(error).replace(str(path), self.path(upload.key))) from error

    def _gone(self, key: str) -> Exception:
        if NUL in key:
            return BadInputError(f"{key}: the name holds a NUL; rename the object")
        return FileNotFoundError(errno.ENOENT, CHANGED, key)


class _Reader:
    """The file interface that PyAV needs. Counts the bytes and keeps the last error."""

    def __init__(self, file: ReadableFile, name: str) -> None:
        self._file, self._name, self._read = file, name, 0
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            if self._read > PROBE_BYTES:
                raise BadInputError(read_too_much(self._name))
            block = bytes(self._file.read(None if size < 0 else size))
            self._read += len(block)
            return block
        except Exception as error:
            self.error = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class FolderUploads:
    """Files of a folder and its subfolders."""

    folder: Path
    """Absolute, with links resolved, so that naming it needs no access to a disk that may hang."""

    @property
    def location(self) -> str:
        """The folder's path."""
        return f"{as_text(str(self.folder))}/"

    @property
    def name(self) -> str:
        """As `WatchedLocation` says."""
        return self.location

    def listing(self) -> Listing:
        """As `WatchedLocation` says, in this process. `FolderListing` uses another process, which may hang."""
        return list_folder(self.folder)

    def path(self, key: str) -> str:
        """The absolute path with links resolved, as for `touchline run`."""
        return library_path(self.folder / key)

    def checksum(self, upload: Listed, known: str = "") -> str:
        """`touchline.library.naming.checksum`, as for `touchline run`.

        A `known` SHA-256 of a large file is not compared: that would read the whole file.
        """
        path = self._file(upload.key)
        try:
            found = checksum(path, known if known.startswith(SAMPLED) else "")
            now = listed(str(path), upload.key)
            if now is None or now.etag != upload.etag:
                raise FileNotFoundError(errno.ENOENT, CHANGED, str(path))
            return found
        except BadInputError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in (errno.EACCES, errno.EPERM):
                # A failing disk or mount is no fault of the file.
                raise ServiceError(str(error)) from cause
            raise

    def probe(self, upload: Listed) -> VideoInfo:
        """As `UploadLocation` says."""
        return probe(self._file(upload.key))

    def _file(self, key: str) -> Path:
        path = self.folder / key
        if not path.exists():
            if "\\x" in key:
                raise BadInputError(f"{path}: the name is not valid UTF-8; rename the file")
            raise FileNotFoundError(errno.ENOENT, CHANGED, str(path))
        return path


def read_too_much(name: str) -> str:
    """The message for a file without a frame in its first PROBE_BYTES."""
    return (
        f"{name}: there is no frame in the first {PROBE_BYTES / 1024**3:g} GiB that were read of it. The file is "
        "damaged, or not written yet; export it again."
    )


def watched_locations(objects: ObjectStore) -> list[WatchedLocation]:
    """The scanned locations: the bucket, and the folder that the environment names."""
    return [BucketUploads(objects.with_retry(LIST_RETRY_S)), _folder(Settings.from_environment().uploads)]


@lru_cache(maxsize=4)
def _folder(folder: Path) -> FolderListing:
    """One for each folder: it keeps track of a listing that hangs."""
    return FolderListing(folder)


def location_at(objects: ObjectStore, location: str) -> UploadLocation:
    """The location with this URI or path in the ledger."""
    bucket = BucketUploads(objects)
    return bucket if location == bucket.location else FolderUploads(Path(location))


@contextmanager
def local_video(
    objects: ObjectStore, video_path: str, content: str, moved: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """A source's video as a local file, for the block: the file itself, or a copy of the object.

    An object is copied because a download is retried, while a decoder treats a failed read as a damaged video.
    `content` is the checksum of the source. `moved` is called after each block of the download. Raises BadInputError
    if the object is missing or was replaced, ServiceError if the disk is full or the server fails. Errors in the block
    name the source instead of the copy.
    """
    where = bucket_key(video_path)
    if where is None:
        yield Path(video_path)
        return
    bucket, key = where
    if bucket != objects.bucket:
        raise BadInputError(f"{video_path}: expected an object of bucket {objects.bucket}; set TOUCHLINE_S3_BUCKET")
    with scratch_folder(video_path) as folder:
        name = PurePosixPath(key).name
        copy = folder / (name if len(name.encode()) <= LONGEST_NAME else f"video{PurePosixPath(key).suffix[:10]}")
        try:
            etag = content.removeprefix(ETAG) if content.startswith(ETAG) else ""
            objects.download(key, copy, etag=etag, moved=moved)
        except CheckpointError as error:
            raise BadInputError(
                f"{video_path} was removed or replaced after it was registered; upload it again, or wait until the "
                "sensor new_uploads has seen the new content"
            ) from error
        try:
            yield copy
        except TouchlineError as error:
            if str(copy) not in str(error):
                raise
            raise type(error)(str(error).replace(str(copy), video_path)) from error
