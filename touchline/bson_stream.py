"""The file format of stage outputs and journal chunks: a header and a stream of BSON documents.

Belongs here: framing, the header, and the checks at reading. Each stage's `serialize` and `deserialize` define its
documents; `resources/checkpoints.py` stores the streams.

`bson.decode_file_iter` can read a stream as well: the header is its first document.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, Final

import bson
import numpy as np
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, TypeRegistry
from bson.errors import BSONError
from bson.int64 import Int64

from touchline.errors import CheckpointError

FORMAT: Final = "touchline"
VERSION: Final = 1
MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Size of the largest document that is stored [bytes]. It bounds the memory that a damaged length can claim."""

Document = dict[str, Any]

_OPEN: Final = "0" * 64
"""Placeholder in the header's `digest` until the stream is complete."""
_REMEDY: Final = "Replay the stage that wrote it."


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int):
        raise ValueError(f"expected an integer of 64 bits with sign, got {value}")
    raise TypeError(f"expected plain values or NumPy scalars, got {type(value).__name__}; convert it in `serialize`")


_OPTIONS: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict,
    tz_aware=True,
    uuid_representation=UuidRepresentation.STANDARD,
    type_registry=TypeRegistry(fallback_encoder=_plain),
)


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The header of a stream.

    `stage`, `job` and `source` (ids as text) and `fingerprint` identify the output. `count` is the number of documents
    after the header and is filled in at writing. `extra` holds other values of the writer.
    """

    stage: str
    job: str
    source: str
    fingerprint: str
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    count: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self, count: int, digest: str) -> Document:
        """The header as it is stored. `count` always takes 8 bytes, so that it can be filled in afterwards."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "digest": digest,
            "stage": self.stage,
            "job": self.job,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "created_at": self.created_at,
            "count": Int64(count),
            "extra": dict(self.extra),
        }


def write_stream(file: IO[bytes], header: StreamHeader, documents: Iterable[Document]) -> int:
    """Writes header and documents at the file's position and returns the number of documents.

    The file must be seekable: count and digest are written into the header at the end, so that an incomplete stream is
    recognised. Tuples become arrays, and NumPy scalars become plain numbers. Raises TypeError or ValueError, with stage
    and position, for a document that cannot be stored (keys other than text, integers beyond 64 bits, arrays).
    """
    start = file.tell()
    file.write(_encode(header.to_document(-1, _OPEN), header.stage, "header"))
    digest = hashlib.sha256()
    count = 0
    for document in documents:
        raw = _encode(document, header.stage, f"document {count}")
        digest.update(raw)
        file.write(raw)
        count += 1
    end = file.tell()
    unsealed = _encode(header.to_document(count, _OPEN), header.stage, "header")
    digest.update(unsealed)
    file.seek(start)
    file.write(unsealed.replace(_OPEN.encode(), digest.hexdigest().encode(), 1))
    file.seek(end)
    return count


def read_header(file: IO[bytes], *, key: str) -> StreamHeader:
    """The header of the stream that begins at the file's position. Afterwards the file is at the first document.

    Raises CheckpointError, with `key`, if this is not a stream, has another version, or was never completed.
    """
    return _read_header(file, key)[0]


def read_stream(file: IO[bytes], *, stage: str, key: str) -> Iterator[Document]:
    """Yields the documents of the stream that begins at the file's position and reaches to its end.

    The header is checked at once. Raises CheckpointError, with `key`, if this is not a stream, has another version,
    is of another stage than `stage`, or was never completed; and while reading, if it is truncated or damaged, or if
    data follows its end.
    """
    header, unsealed, digest = _read_header(file, key)
    if header.stage != stage:
        raise CheckpointError(f"{key}: expected the output of {stage}, got that of {header.stage}. {_REMEDY}")
    return _documents(file, header.count, unsealed, digest, key)


def _documents(file: IO[bytes], count: int, unsealed: bytes, expected: str, key: str) -> Iterator[Document]:
    digest = hashlib.sha256()
    for position in range(count):
        raw = _read_raw(file, key, f"document {position} of {count}")
        digest.update(raw)
        yield _decode(raw, key, f"document {position} of {count}")
    if file.read(1):
        raise CheckpointError(f"{key}: expected the end after {count} documents, got more. {_REMEDY}")
    digest.update(unsealed)
    if digest.hexdigest() != expected:
        raise CheckpointError(f"{key}: the content does not match its checksum, so it is damaged. {_REMEDY}")


def _read_header(file: IO[bytes], key: str) -> tuple[StreamHeader, bytes, str]:
    raw = _read_raw(file, key, "header")
    document = _decode(raw, key, "header")
    if document.get("format") != FORMAT:
        raise CheckpointError(f"{key}: expected a Touchline stream, got something else. {_REMEDY}")
    version = document.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{key}: expected format version {VERSION}, got {version!r}. "
            "Read it with the Touchline that wrote it, or replay the stage."
        )
    try:
        header = StreamHeader(
            stage=str(document["stage"]),
            job=str(document["job"]),
            source=str(document["source"]),
            fingerprint=str(document["fingerprint"]),
            created_at=document["created_at"],
            count=int(document["count"]),
            extra=dict(document["extra"]),
        )
        digest = str(document["digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{key}: the header is damaged ({error!r}). {_REMEDY}") from error
    if header.count < 0 or digest == _OPEN:
        raise CheckpointError(f"{key}: the stream was never completed, because its writer was interrupted. {_REMEDY}")
    return header, raw.replace(digest.encode(), _OPEN.encode(), 1), digest


def _read_raw(file: IO[bytes], key: str, what: str) -> bytes:
    prefix = file.read(4)
    if len(prefix) < 4:
        raise CheckpointError(f"{key}: truncated before {what}. {_REMEDY}")
    (length,) = struct.unpack("<i", prefix)
    if not 5 <= length <= MAX_DOCUMENT:
        raise CheckpointError(
            f"{key}: expected {what} of 5 to {MAX_DOCUMENT} bytes, got {length}: the stream is damaged. {_REMEDY}"
        )
    rest = file.read(length - 4)
    if len(rest) < length - 4:
        raise CheckpointError(f"{key}: truncated in {what}. {_REMEDY}")
    return prefix + rest


def _decode(raw: bytes, key: str, what: str) -> Document:
    try:
        return bson.decode(raw, _OPTIONS)
    except (BSONError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{key}: {what} is damaged ({error}). {_REMEDY}") from error


def _encode(document: Document, stage: str, what: str) -> bytes:
    try:
        raw = bson.encode(document, codec_options=_OPTIONS)
    except (BSONError, TypeError) as error:
        raise TypeError(f"{stage}, {what}: {error}") from error
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{stage}, {what}: {error}") from error
    if len(raw) > MAX_DOCUMENT:
        raise ValueError(f"{stage}, {what}: expected at most {MAX_DOCUMENT} bytes, got {len(raw)}")
    return raw


def size_of(file: IO[bytes]) -> int:
    """Size of an open file [bytes]. The file's position does not change."""
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size
