"""Lists a folder of uploads in a separate process, so that a network folder that hangs does not hang the sensor.

Belongs here: walking the folder, and that process, which imports little so that it starts fast. Which files are
processed is decided in `touchline/library/intake.py`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from touchline.errors import BadInputError, ServiceError
from touchline.library.intake import Listed

LIST_S: Final = 35.0
"""Time limit of one listing [s]; Dagster's limit for the whole tick is 60 s. A local disk lists some ten thousand files
a second."""
END_S: Final = 2.0
"""Time for which the end of a killed process is awaited [s]. A process that waits for a disk in the kernel ends only
when the disk answers."""
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Latest modification time of an upload; some copies have later ones, which `datetime` cannot hold."""


@dataclass(frozen=True)
class Listing:
    """The uploads of a location. `unread`: keys and key prefixes that could not be listed, each with the reason.

    Uploads under these may exist or not.
    """

    location: str
    """Name of the location in the ledger, with a trailing slash."""
    uploads: list[Listed]
    unread: dict[str, str] = field(default_factory=dict)


class FolderListing:
    """Lists one folder, in a new process each time. Thread-safe."""

    def __init__(self, folder: Path, *, limit_s: float = LIST_S) -> None:
        self.name: Final = as_text(str(folder))
        """The folder, for messages."""
        self._folder, self._limit_s = folder, limit_s
        self._lock = threading.Lock()
        self._stuck: subprocess.Popen[bytes] | None = None

    def listing(self) -> Listing | None:
        """The uploads in the folder; None if the folder does not exist.

        Raises ServiceError if the listing exceeds the time limit, and BadInputError if the folder cannot be read.
        """
        with self._lock:
            if self._stuck is not None and self._stuck.poll() is None:
                raise ServiceError(f"{self.name}: the listing that was given up has not ended yet. {_HANGS}")
            self._stuck = None
            answer = json.loads(self._asked())
        if "absent" in answer:
            return None
        if "error" in answer:
            raise BadInputError(answer["error"])
        uploads = [
            Listed(key, etag, size, datetime.fromtimestamp(modified, UTC))
            for key, etag, size, modified in answer["uploads"]
        ]
        return Listing(answer["location"], uploads, answer["unread"])

    def _asked(self) -> bytes:
        process = subprocess.Popen(
            [sys.executable, "-m", "resources.folder_listing", os.fsencode(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            said, _ = process.communicate(timeout=self._limit_s)
        except BaseException as error:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            process.stdout.close()
            self._stuck = process
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise ServiceError(f"{self.name} could not be listed within {self._limit_s:g} s. {_HANGS}") from None
        if process.returncode:
            raise ServiceError(
                f"{self.name} could not be listed: the process that did it ended with code {process.returncode}; its "
                "messages are above"
            )
        return said


_HANGS: Final = (
    "The disk or the network folder hangs, or holds too many files. Nothing in it is processed or marked as gone until "
    "it can be listed; check the mount"
)


def list_folder(folder: Path) -> Listing:
    """All files in a folder and its subfolders except hidden ones. Links to folders are not followed.

    `folder`: absolute, links resolved. Raises BadInputError if the folder itself cannot be read.
    """
    unread: dict[str, str] = {}

    def refuse(error: OSError) -> None:
        path = Path(error.filename)
        if path == folder:
            raise BadInputError(f"{path} cannot be read: {error.strerror}. Change its permissions.")
        # A folder in it may go away while it is read.
        if error.errno != errno.ENOENT:
            unread[f"{as_text(str(path.relative_to(folder)))}/"] = _unreadable(path, error)

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # Text, not paths: of a hundred thousand names, these take longer than the disk.
        inside = "" if parent == str(folder) else f"{os.path.relpath(parent, folder)}/"
        for name in names:
            if name.startswith("."):
                continue
            key = inside + name
            try:
                upload = listed(os.path.join(parent, name), key)  # noqa: PTH118
            except OSError as error:
                unread[as_text(key)] = _unreadable(Path(parent, name), error)
                continue
            if upload is not None:
                found.append(upload)
    return Listing(f"{as_text(str(folder))}/", found, unread)


def listed(path: str, key: str) -> Listed | None:
    """A file as an upload; None if it is no regular file or does not exist. Raises OSError if it cannot be examined."""
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
    return Listed(as_text(key), "-".join(f"{mark:x}" for mark in marks), found.st_size, modified)


def _unreadable(path: Path, error: OSError) -> str:
    return f"{as_text(str(path))} cannot be read: {error.strerror}. Change its permissions, or take it away."


def as_text(name: str) -> str:
    """A file name as text: bytes that are no UTF-8 are spelled out, so that the file is refused by a name."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _answer(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        return {"absent": True}
    try:
        found = list_folder(folder.resolve())
    except BadInputError as error:
        return {"error": as_text(str(error))}
    uploads = [(upload.key, upload.etag, upload.size, upload.modified.timestamp()) for upload in found.uploads]
    return {"location": found.location, "uploads": uploads, "unread": found.unread}


def main() -> None:
    """Writes the listing of the folder given as argument to standard output as JSON."""
    json.dump(_answer(Path(sys.argv[1])), sys.stdout)


if __name__ == "__main__":
    main()
