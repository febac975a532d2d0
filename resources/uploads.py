"""The places that uploads come to: a prefix of the bucket and a folder of this machine.

Belongs here: what lies there, what it is, a hash of it, and a local file of it. What is worked on, and when, is
decided in `touchline/library/intake.py`; a folder is listed in `folder_listing.py`.
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
"""Where uploads lie in the bucket."""
ETAG: Final = "etag:"
NUL: Final = "\\x00"
"""How a NUL in a key is spelled out: the ledger's texts cannot hold one."""
LONGEST_NAME: Final = 200
"""Bytes of a name that is kept for a local file; file systems take 255."""
PROBE_BYTES: Final = 1024**3
"""Bytes of a file that are read at most to find its first frame. A video keeps its index at one end and its first frame
near the beginning: a few megabytes do."""
LIST_RETRY_S: Final = 15.0
"""Seconds that a scan waits for an object store that is away: it lists again soon, and Dagster gives a tick 60."""
CHANGED: Final = "it was changed or removed after it was listed; the next scan sees what is there"


class Watched(Protocol):
    """Somewhere uploads come to, to be listed."""

    @property
    def name(self) -> str:
        """For messages."""

    def listing(self) -> Listing | None:
        """All that is there, but for folders and hidden names; nothing where the place itself is not there.

        Raises ServiceError or BadInputError if the place cannot be read: then nothing is known of what is there.
        """


class Place(Protocol):
    """Somewhere uploads lie, to be looked into."""

    @property
    def location(self) -> str:
        """Its address, with a slash at the end."""

    def path(self, key: str) -> str:
        """The library path of an upload. Raises BadInputError for a name that cannot be one."""

    def checksum(self, upload: Listed, known: str = "") -> str:
        """A hash that changes when the content does. `known`, the one that it had before, is returned if the content
        still has it. Raises BadInputError if the upload cannot be read, and FileNotFoundError if it is not there any
        more as it was listed.
        """

    def probe(self, upload: Listed) -> VideoInfo:
        """What it is. Raises BadInputError for what is no video or picture, ServiceError if the server fails, and
        FileNotFoundError if it went away or was replaced.
        """


@dataclass(frozen=True)
class BucketUploads:
    """Objects under a prefix of the bucket. They appear whole; probing reads the parts it needs and downloads none."""

    objects: ObjectStore
    prefix: str = PREFIX

    @property
    def location(self) -> str:
        """`s3://bucket/uploads/`."""
        return bucket_path(self.objects.bucket, self.prefix)

    @property
    def name(self) -> str:
        """As `Watched` says."""
        return self.location

    def listing(self) -> Listing:
        """As `Watched` says."""
        found = (
            Listed(item.key.removeprefix(self.prefix).replace("\0", NUL), item.etag, item.size, item.modified)
            for item in self.objects.stored_with_any_name(self.prefix)
        )
        return Listing(self.location, [upload for upload in found if not hidden(upload.key)])

    def path(self, key: str) -> str:
        """`s3://bucket/uploads/key`."""
        return self.location + key

    def checksum(self, upload: Listed, known: str = "") -> str:
        """The etag: the store has hashed the content already, and a SHA-256 would mean to download every match twice.

        The same content sent again in other parts has another etag; it is computed once more, which is no harm.
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
        """As `Place` says."""
        key = self.prefix + upload.key
        try:
            reader = _Reader(self.objects.reader(key), self.path(upload.key))
        except CheckpointError as error:
            raise self._gone(key) from error
        path = PurePosixPath(self.path(upload.key))
        try:
            return probe_file(cast(IO[bytes], reader), path)
        except (BadInputError, OSError) as error:
            # FFmpeg takes what it is not given for the end of the file.
            if isinstance(reader.error, BadInputError):
                raise reader.error from error
            if isinstance(reader.error, OSError) and not isinstance(reader.error, FileNotFoundError):
                raise self.objects.service_error(key, reader.error) from error
            if not isinstance(error, BadInputError):
                raise
            # A path folds the slashes of s3:// into one.
            raise BadInputError(str(error).replace(str(path), self.path(upload.key))) from error

    def _gone(self, key: str) -> Exception:
        if NUL in key:
            return BadInputError(f"{key}: the name holds a NUL; rename the object")
        return FileNotFoundError(errno.ENOENT, CHANGED, key)


class _Reader:
    """What PyAV needs of a file. Bytes are plain ones and counted, and what went wrong is remembered."""

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
    """Files of a folder and of those in it."""

    folder: Path
    """Absolute, with its links resolved: naming it asks no disk, which may hang."""

    @property
    def location(self) -> str:
        """The folder's path."""
        return f"{as_text(str(self.folder))}/"

    @property
    def name(self) -> str:
        """As `Watched` says."""
        return self.location

    def listing(self) -> Listing:
        """As `Watched` says, in this process. `FolderListing` does it in one that may hang."""
        return list_folder(self.folder)

    def path(self, key: str) -> str:
        """The absolute path, links resolved: what `touchline run` would call it."""
        return library_path(self.folder / key)

    def checksum(self, upload: Listed, known: str = "") -> str:
        """As `touchline run` has it: `touchline.library.naming.checksum`.

        A SHA-256 of a whole file that is too large for one is not looked for again: a look would read all of the file.
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
                # A disk or a mount that fails says nothing about the file.
                raise ServiceError(str(error)) from cause
            raise

    def probe(self, upload: Listed) -> VideoInfo:
        """As `Place` says."""
        return probe(self._file(upload.key))

    def _file(self, key: str) -> Path:
        path = self.folder / key
        if not path.exists():
            if "\\x" in key:
                raise BadInputError(f"{path}: the name is not valid UTF-8; rename the file")
            raise FileNotFoundError(errno.ENOENT, CHANGED, str(path))
        return path


def read_too_much(name: str) -> str:
    """Why a file is refused that is read and read without a first frame."""
    return (
        f"{name}: there is no frame in the first {PROBE_BYTES / 1024**3:g} GiB that were read of it. The file is "
        "damaged, or not written yet; export it again."
    )


def watched(objects: ObjectStore) -> list[Watched]:
    """What is watched for uploads: the bucket, and the folder that the environment names."""
    return [BucketUploads(objects.with_retry(LIST_RETRY_S)), _folder(Settings.from_environment().uploads)]


@lru_cache(maxsize=4)
def _folder(folder: Path) -> FolderListing:
    """One for each folder: it knows of a listing that hangs."""
    return FolderListing(folder)


def location_at(objects: ObjectStore, location: str) -> Place:
    """The place of a location in the ledger."""
    bucket = BucketUploads(objects)
    return bucket if location == bucket.location else FolderUploads(Path(location))


@contextmanager
def local_video(
    objects: ObjectStore, video_path: str, content: str, moved: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """A source's video as a file of this machine, for the block: the file itself, or a copy of the object.

    A copy rather than parts on demand: a server that fails for a moment is waited for, where a decoder would take it
    for damage of the video. `content` is the source's checksum; `moved` is called while parts arrive. Raises
    BadInputError if the object is not there any more or has other content, ServiceError if there is no room for it or
    the server fails; errors in the block name the source, not the copy.
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
