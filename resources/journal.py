"""The journal of an unfinished stage: one BSON stream for each finished chunk, from which a retry resumes.

Belongs here: the journal of one stage of one job. `checkpoints.py` commits a complete journal as a checkpoint.
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
    """The finished chunks of one stage of one job with one fingerprint.

    Chunks of another fingerprint are ignored. A damaged chunk and all later ones are ignored too, since the worker's
    state before them is unknown. They are computed again and overwritten.
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
        """The ids of the finished chunks, in ascending order."""
        return tuple(self._chunks)

    @property
    def state(self) -> dict[str, Any] | None:
        """The worker's state after the last finished chunk, or None."""
        return self._state

    def key(self, chunk_id: int) -> str:
        """The object key of a chunk."""
        return f"{self.prefix}{chunk_id}.bson"

    def write(self, chunk_id: int, documents: Sequence[Document], state: dict[str, Any]) -> None:
        """Stores a finished chunk with the worker's state after it.

        Raises ValueError if the id is not larger than the last one, ServiceError if the object store fails.
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
        """Copies the finished chunks of an earlier attempt. This journal must be empty.

        An interrupted copy leaves the earlier journal complete. Raises ValueError if a stage or fingerprint differs or
        this journal is not empty, ServiceError.
        """
        if (earlier.stage, earlier.fingerprint, self.finished) != (self.stage, self.fingerprint, ()):
            raise ValueError(f"{self.prefix}: expected to be empty and of the same work as {earlier.prefix}")
        for chunk_id in earlier.finished:
            self._objects.put(self.key(chunk_id), self._objects.get(earlier.key(chunk_id)))
        self._chunks, self._state = list(earlier.finished), earlier.state

    def documents(self) -> Iterator[Document]:
        """The documents of all finished chunks, in order, with at most two chunks in memory. Raises CheckpointError.

        The last chunk that this process wrote is read from memory.
        """
        for chunk_id in self.finished:
            key = self.key(chunk_id)
            held = self._newest[1] if self._newest and self._newest[0] == chunk_id else None
            with io.BytesIO(held or self._objects.get(key)) as buffer:
                yield from read_stream(buffer, stage=self.stage, key=key)

    def clear(self) -> None:
        """Deletes all chunks, including those of other fingerprints."""
        for key, _ in self._objects.list(self.prefix):
            self._objects.delete(key)
        self._chunks, self._state, self._newest = [], None, None

    def _checked(self, chunk_id: int) -> StreamHeader:
        """The header of a chunk, after reading all of it. Raises CheckpointError if it is damaged."""
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
