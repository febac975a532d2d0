"""The places that uploads come to: a prefix of the bucket and a folder of this machine.

Belongs here: what lies there, what it is, a hash of it, and a local file of it. What is worked on, and when, is
decided in `touchline/library/intake.py`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from resources.object_store import ObjectStore
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
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
NUL: Final = "\\x00"
"""How a NUL in a key is spelled out: the ledger's texts cannot hold one."""
LONGEST_NAME: Final = 200
"""Bytes of a name that is kept for a local file; file systems take 255."""


@dataclass(frozen=True)
class Listing:
    """What lies at a place. `unread`: keys, and beginnings of keys, of what cannot be read, each with the reason.

    Of those nothing is known: they may be there or gone.
    """

    uploads: list[Listed]
    unread: dict[str, str] = field(default_factory=dict)


class Place(Protocol):
    """Somewhere uploads come to."""

    @property
    def location(self) -> str:
        """Its address, with a slash at the end."""

    def listing(self) -> Listing:
        """All that is there, but for folders and hidden names. Raises ServiceError or BadInputError if the place itself
        cannot be read: then nothing is known of what is there.
        """

    def path(self, key: str) -> str:
        """The library path of an upload. Raises BadInputError for a name that cannot be one."""

    def checksum(self, upload: Listed, known: str = "") -> str:
        """A hash that changes when the content does. `known`, the one that it had before, is returned if the content
        still has it. Raises BadInputError if the upload cannot be read, and
        FileNotFoundError if it went away.
        """

    def probe(self, upload: Listed) -> VideoInfo:
        """What it is. Raises BadInputError for what is no video or picture, ServiceError if the server fails, and
        FileNotFoundError if it went away.
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

    def listing(self) -> Listing:
        """As `Place` says."""
        found = (
            Listed(item.key.removeprefix(self.prefix).replace("\0", NUL), item.etag, item.size, item.modified)
            for item in self.objects.stored_by_anyone(self.prefix)
        )
        return Listing([upload for upload in found if not hidden(upload.key)])

    def path(self, key: str) -> str:
        """`s3://bucket/uploads/key`."""
        return self.location + key

    def checksum(self, upload: Listed, known: str = "") -> str:
        """The etag: the store has hashed the content already, and a SHA-256 would mean to download every match twice.

        The same content sent again in other parts has another etag; it is computed once more, which is no harm.
        """
        return ETAG + upload.etag

    def probe(self, upload: Listed) -> VideoInfo:
        """As `Place` says."""
        key = self.prefix + upload.key
        try:
            reader = _Reader(self.objects.reader(key))
        except CheckpointError as error:
            if NUL in key:
                raise BadInputError(f"{key}: the name holds a NUL; rename the object") from error
            raise FileNotFoundError(errno.ENOENT, "removed while it was looked into", key) from error
        path = PurePosixPath(self.path(upload.key))
        try:
            return probe_file(cast(IO[bytes], reader), path)
        except (BadInputError, OSError) as error:
            # FFmpeg takes what a server fails to give for the end of the file.
            if isinstance(reader.error, OSError) and not isinstance(reader.error, FileNotFoundError):
                raise self.objects.trouble(key, reader.error) from error
            if not isinstance(error, BadInputError):
                raise
            # A path folds the slashes of s3:// into one.
            raise BadInputError(str(error).replace(str(path), self.path(upload.key))) from error


class _Reader:
    """What PyAV needs of a file. Bytes are plain ones, and what went wrong is remembered."""

    def __init__(self, file: ReadableFile) -> None:
        self._file = file
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(None if size < 0 else size))
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

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return f"{_text(str(self.folder.resolve()))}/"

    def listing(self) -> Listing:
        """As `Place` says. Links to folders are not followed."""
        root = self.folder.resolve()
        unread: dict[str, str] = {}

        def refuse(error: OSError) -> None:
            path = Path(error.filename)
            if path == root:
                raise BadInputError(f"{path} cannot be read: {error.strerror}. Change its permissions.")
            # A folder in it may go away while it is read.
            if error.errno != errno.ENOENT:
                unread[f"{_text(str(path.relative_to(root)))}/"] = _unreadable(path, error)

        found = []
        for folder, folders, names in os.walk(root, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            # Text, not paths: of a hundred thousand names, these take longer than the disk.
            inside = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
            for name in names:
                if name.startswith("."):
                    continue
                key = inside + name
                try:
                    upload = _listed(os.path.join(folder, name), key)  # noqa: PTH118
                except OSError as error:
                    unread[_text(key)] = _unreadable(Path(folder, name), error)
                    continue
                if upload is not None:
                    found.append(upload)
        return Listing(found, unread)

    def path(self, key: str) -> str:
        """The absolute path, links resolved: what `touchline run` would call it."""
        return library_path(self.folder.resolve() / key)

    def checksum(self, upload: Listed, known: str = "") -> str:
        """As `touchline run` has it: `touchline.library.naming.checksum`.

        A SHA-256 of a whole file that is too large for one is not looked for again: a look would read all of the file.
        """
        path = self._file(upload.key)
        try:
            return checksum(path, known if known.startswith(SAMPLED) else "")
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
        path = self.folder.resolve() / key
        if not path.exists():
            if "\\x" in key:
                raise BadInputError(f"{path}: the name is not valid UTF-8; rename the file")
            raise FileNotFoundError(errno.ENOENT, "removed while it was looked into", str(path))
        return path


def _listed(path: str, key: str) -> Listed | None:
    """A file as an upload; nothing for what is no file, or is gone by now. Raises OSError if that cannot be told."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            return None
        raise
    if not stat.S_ISREG(found.st_mode):
        return None
    # The time of the last change of the file's entry cannot be set back: copies that keep the time of the original, or
    # are written over with the same length, are noticed.
    marks = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    # Copies may carry a time that no calendar holds.
    modified = datetime.fromtimestamp(min(max(found.st_mtime, found.st_ctime), LATEST.timestamp()), UTC)
    return Listed(_text(key), "-".join(f"{mark:x}" for mark in marks), found.st_size, modified)


def _unreadable(path: Path, error: OSError) -> str:
    return f"{_text(str(path))} cannot be read: {error.strerror}. Change its permissions, or take it away."


def _text(name: str) -> str:
    """A file name as text: bytes that are no UTF-8 are spelled out, so that the file is refused by a name."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


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
