"""Local cache of the frames of one job, which every stage reads.

Belongs here: the cache. `checkpoints.py` stores frames in the object store.
"""

from __future__ import annotations

import tempfile
import weakref
from threading import Lock
from typing import IO

from resources.tempfiles import FULL


class FrameCache:
    """Caches the frames of one job in an unnamed temporary file of up to `limit` bytes. Thread-safe.

    A frame of another job clears the cache. A full cache keeps its frames and adds none: each stage reads all frames in
    order, so the least recently used frame is the next one needed. If the disk is full the cache is empty.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._job: str | None = None
        self._file: IO[bytes] | None = None
        self._close = weakref.finalize(self, _nothing)
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        """The cached frame, or None."""
        with self._lock:
            if self._file is None or key not in self._places:
                return None
            start, size = self._places[key]
            self._file.seek(start)
            return self._file.read(size)

    def put(self, key: str, data: bytes) -> None:
        """Adds a frame if there is room."""
        with self._lock:
            try:
                self._put(key, data)
            except OSError as error:
                self._drop()
                if error.errno not in FULL:
                    raise

    def _put(self, key: str, data: bytes) -> None:
        job = key.rpartition("/")[0]
        if job != self._job:
            self._drop()
            self._job = job
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by _drop and by the finalizer
            self._close = weakref.finalize(self, self._file.close)
        if self._file is None or self._end + len(data) > self._limit:
            return
        self._file.seek(self._end)
        # On a nearly full disk a write may be partial, without an error.
        if self._file.write(data) == len(data):
            self._places[key] = (self._end, len(data))
            self._end += len(data)

    def _drop(self) -> None:
        self._close()
        self._file, self._places, self._end = None, {}, 0


def _nothing() -> None:
    """Finalizer of a cache without a file."""
