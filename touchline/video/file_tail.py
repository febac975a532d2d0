"""Detection of data after the last packet of a file: another recording, or unknown bytes.

Belongs here: finding that data, and the warning on it. Concatenated files are read as one if their format allows it
(transport streams, Matroska, AVI); with others, the demuxer stops at the end of the first file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

_SEARCHED: Final = 1 << 26
"""Size of the data after the last packet that is searched for the beginning of another recording [bytes]."""
_BLOCK: Final = 1 << 20
"""Size of the blocks in which a file is read [bytes]."""
_SIGNATURES: Final = ((b"FLV\1", 0), (b"ftyp", 4), (b"\x1a\x45\xdf\xa3", 0), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0))
"""Signatures of FLV, MP4, Matroska and ASF files, each with its offset from the beginning of the file [bytes]."""
_CANDIDATES: Final = 8
"""Largest number of positions that are opened to see whether a recording begins there."""
_FOREIGN_BYTES: Final = 1 << 16
"""Least number of unknown bytes for a warning. Cameras and tools append small metadata of their own."""
_FOREIGN_SHARE: Final = 0.01
"""Least share of unknown bytes in the file for a warning [0-1]."""
_BOX: Final = 8
"""Size of an MP4 box header [bytes]."""
_CUT_OFF: Final = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof", b"sidx", b"mfra", b"uuid")
"""Types of MP4 boxes that may extend beyond the end of a truncated file. Other types are taken for other data."""
_FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp")
"""Types of boxes with which a file of the MP4 family can begin."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last `size` bytes of a file of `of` bytes, which are not read. `is_recording`: they hold pictures."""

    size: int
    of: int
    is_recording: bool

    def sentence(self, name: str) -> str:
        """The warning for the report. `name` is that of the file."""
        share = f"{self.size:,} bytes, {100 * self.size / self.of:.0f} % of the file"
        if self.is_recording:
            return (
                f"{name}: the file is joined from several recordings, of which the last part ({share}) is not "
                "analysed. Join them with a tool that rewrites the file (ffmpeg's concat demuxer, mkvmerge), or give "
                "each recording as a separate file."
            )
        return (
            f"{name}: the end of the file ({share}) belongs to no recording that can be read, and is not analysed. "
            "If pictures are missing, copy or export the file again."
        )


class Box(NamedTuple):
    """A box of an MP4 file: start and length [bytes], and type. A length of 0 in the file means up to its end."""

    start: int
    length: int
    kind: bytes


def unread_tail(path: Path, reached: int, holds_pictures: Callable[[IO[bytes]], bool]) -> Tail | None:
    """The unread end of a file whose last packet ends at byte `reached`; None if there is nothing to report.

    `holds_pictures` says whether an open file is a recording. Raises OSError if the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in _beginnings(file, reached, size):
            if holds_pictures(cast("IO[bytes]", _Rest(file, start))):
                return Tail(size - start, size, True)
        end = _end_of_boxes(file, reached, size)
        if end is not None and _is_reportable(file, end, size):
            return Tail(size - end, size, False)
    return None


def boxes(file: IO[bytes], size: int) -> Iterator[Box]:
    """The boxes of a file of the MP4 family; none for other files. The last one may extend beyond the file's `size`."""
    at = 0
    while at + _BOX <= size:
        file.seek(at)
        head = file.read(2 * _BOX)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if at == 0 and kind not in _FIRST_BOXES:
            return
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            length = size - at
        if length < _BOX or not kind.isalnum() or (at + length > size and kind not in _CUT_OFF):
            return  # this is not a box: other data follows the last one
        yield Box(at, length, kind)
        at += length


def _beginnings(file: IO[bytes], reached: int, size: int) -> Iterator[int]:
    """Offsets at which another recording may begin, rising."""
    found: set[int] = set()
    overlap = max(len(signature) + before for signature, before in _SIGNATURES)
    until = min(size, reached + _SEARCHED)
    for at in range(reached, until, _BLOCK):
        file.seek(at)
        block = file.read(min(_BLOCK + overlap, size - at))
        for signature, before in _SIGNATURES:
            index = block.find(signature)
            while index >= 0:
                if index >= before:
                    found.add(at + index - before)
                index = block.find(signature, index + 1)
    yield from sorted(found)[:_CANDIDATES]


def _end_of_boxes(file: IO[bytes], reached: int, size: int) -> int | None:
    """Offset at which the boxes of an MP4 recording end; None if that is the end of the file, and for other files."""
    end = 0
    has_index = False
    for box in boxes(file, size):
        if box.start >= reached and (box.kind == b"ftyp" or (box.kind == b"moov" and has_index)):
            return box.start
        has_index |= box.kind == b"moov"
        end = box.start + box.length
    return end if 0 < end < size else None


def _is_reportable(file: IO[bytes], start: int, size: int) -> bool:
    if size - start < max(_FOREIGN_BYTES, _FOREIGN_SHARE * size):
        return False
    file.seek(start)
    # Recorders that preallocate files leave zeros.
    return any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b""))


class _Rest:
    """The part of a file from an offset on, as a file."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(self._start + offset if whence == io.SEEK_SET else offset, whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start
