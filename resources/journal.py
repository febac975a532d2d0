"""The journal of a stage in the making: each finished chunk as a small BSON stream, so that a retry can go on.

Belongs here: one stage of one job and one fingerprint. Turning a full journal into a checkpoint is in `checkpoints.py`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from resources.object_store import ObjectStore
from touchline.bson_stream import Document, StreamHeader, read_header, read_stream, write_stream
from touchline.errors import CheckpointError


class Journal:
    """The chunks of one stage of one job that are finished with one fingerprint.

    Chunks of another fingerprint are not seen. A chunk that is damaged, and all after it, are not seen either: the
    state each goes on from would be unknown. They are computed again and overwritten.
    """

    def __init__(self, objects: ObjectStore, job_id: UUID, stage: str, fingerprint: str) -> None:
        self.job_id: Final = job_id
        self.stage: Final = stage
        self.fingerprint: Final = fingerprint
        self.prefix: Final = f"checkpoints/{job_id}/stages/{stage}.partial/"
        self._objects = objects
        self._chunks: list[int] = []
        self._state: dict[str, Any] | None = None
        self._newest: tuple[int, bytes] | None = None
        for chunk_id in sorted(_chunk_ids(key for key, _ in objects.list(self.prefix))):
            try:
                header = self._checked(chunk_id)
            except CheckpointError:
                break
            if header.fingerprint != fingerprint:
                continue
            if header.extra.get("position") != len(self._chunks):
                break
            self._chunks.append(chunk_id)
            self._state = dict(header.extra["state"])

    @property
    def finished(self) -> tuple[int, ...]:
        """The ids of the chunks that are finished, rising."""
        return tuple(self._chunks)

    @property
    def state(self) -> dict[str, Any] | None:
        """The worker's state after the last finished chunk; nothing if there is none."""
        return self._state

    def key(self, chunk_id: int) -> str:
        """The object key of a chunk."""
        return f"{self.prefix}{chunk_id}.bson"

    def write(self, chunk_id: int, documents: Sequence[Document], state: dict[str, Any]) -> None:
        """Stores a finished chunk with the worker's state after it; once this returns, the chunk is safe.

        Chunks come in rising order. Raises ValueError for one that does not, ServiceError if the store fails.
        """
        if chunk_id < 0 or (self._chunks and chunk_id <= self._chunks[-1]):
            raise ValueError(f"{self.stage}: expected a chunk after {self._chunks[-1:] or 'none'}, got {chunk_id}")
        extra = {"chunk_id": chunk_id, "position": len(self._chunks), "state": state}
        header = StreamHeader(self.stage, str(self.job_id), "", self.fingerprint, extra=extra)
        with io.BytesIO() as buffer:
            write_stream(buffer, header, documents)
            stored = buffer.getvalue()
        self._objects.put(self.key(chunk_id), stored)
        self._newest = (chunk_id, stored)
        self._chunks.append(chunk_id)
        self._state = state

    def copy_from(self, earlier: Journal) -> None:
        """Begins with the finished chunks of an earlier attempt, of the same stage and fingerprint. Raises as `write`.

        Ended in its middle, this journal has some of them, and the earlier one all of them still.
        """
        if (earlier.stage, earlier.fingerprint, self.finished) != (self.stage, self.fingerprint, ()):
            raise ValueError(f"{self.prefix}: expected to be empty and of the same work as {earlier.prefix}")
        for chunk_id in earlier.finished:
            self._objects.put(self.key(chunk_id), self._objects.get(earlier.key(chunk_id)))
        self._chunks, self._state = list(earlier.finished), earlier.state

    def documents(self) -> Iterator[Document]:
        """The documents of all finished chunks, in order; two chunks in memory at most. Raises CheckpointError.

        The chunk that this process wrote last is not asked for again.
        """
        for chunk_id in self.finished:
            key = self.key(chunk_id)
            held = self._newest[1] if self._newest and self._newest[0] == chunk_id else None
            with io.BytesIO(held or self._objects.get(key)) as buffer:
                yield from read_stream(buffer, stage=self.stage, key=key)

    def clear(self) -> None:
        """Removes all chunks, those of other fingerprints too."""
        for key, _ in self._objects.list(self.prefix):
            self._objects.delete(key)
        self._chunks, self._state, self._newest = [], None, None

    def _checked(self, chunk_id: int) -> StreamHeader:
        """The header of a chunk that was read to its end without a fault. Raises CheckpointError."""
        key = self.key(chunk_id)
        with io.BytesIO(self._objects.get(key)) as buffer:
            header = read_header(buffer, key=key)
            buffer.seek(0)
            for _ in read_stream(buffer, stage=self.stage, key=key):
                pass
        return header


def _chunk_ids(keys: Iterator[str]) -> Iterator[int]:
    for key in keys:
        name = key.rpartition("/")[2].removesuffix(".bson")
        if name.isdecimal():
            yield int(name)
