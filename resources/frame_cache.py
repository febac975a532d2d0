"""Frames near at hand: one stage after another asks for the same ones.

Belongs here: keeping them. Where they are stored for good, and under which keys, is in `checkpoints.py`.
"""

from __future__ import annotations

import tempfile
import weakref
from threading import Lock
from typing import IO

from resources.tempfiles import FULL


class FrameCache:
    """Keeps the frames of one job, up to `limit` bytes, in a temporary file without a name. Safe to share by threads.

    A frame of another job begins it anew. Once it is full no more are kept, rather than older ones dropped: each stage
    asks for all frames from first to last, so the one asked for longest ago is the next. Where the disk has no room it
    keeps nothing, for it is only a matter of speed.
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
        """The frame kept under a key, if there is one."""
        with self._lock:
            if self._file is None or key not in self._places:
                return None
            start, size = self._places[key]
            self._file.seek(start)
            return self._file.read(size)

    def put(self, key: str, data: bytes) -> None:
        """Keeps a frame if there is room."""
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
        # Nearly full, the disk takes a part and says so at the next time only.
        if self._file.write(data) == len(data):
            self._places[key] = (self._end, len(data))
            self._end += len(data)

    def _drop(self) -> None:
        self._close()
        self._file, self._places, self._end = None, {}, 0


def _nothing() -> None:
    """Stands for closing what was not opened."""
