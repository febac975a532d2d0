"""What lies in a file behind the last packet that is read from it: another recording, or bytes of an unknown kind.

Belongs here: finding it, and the sentence that tells of it. Files joined byte by byte are read as one where their
format allows it (transport streams, Matroska, AVI); in others the demuxer stops where the first of them ends.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

_SEARCHED: Final = 1 << 26
"""How many bytes behind the last packet are searched for another recording's beginning."""
_BLOCK: Final = 1 << 20
_SIGNATURES: Final = ((b"FLV\1", 0), (b"ftyp", 4), (b"\x1a\x45\xdf\xa3", 0), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0))
"""With what files of FLV, MP4, Matroska and ASF begin, and so many bytes after their beginning."""
_CANDIDATES: Final = 8
"""How many places are opened to see whether a recording begins there."""
_FOREIGN_BYTES: Final = 1 << 16
"""The least number of unknown bytes that is told: cameras and tools append small notes of their own."""
_FOREIGN_SHARE: Final = 0.01
"""The least share of the file that is told."""
_BOX: Final = 8
_CUT_OFF: Final = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof", b"sidx", b"mfra", b"uuid")
"""Boxes that may go beyond the file's end, where it is cut off. Others are taken for other data."""
_FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp")
"""With which a file of the MP4 family begins."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last `size` bytes of a file of `of` bytes, which are not read; `is_recording`: they hold pictures."""

    size: int
    of: int
    is_recording: bool

    def sentence(self, name: str) -> str:
        """What an analyst must know. `name` is the file's."""
        share = f"{self.size:,} bytes, {100 * self.size / self.of:.0f} % of the file"
        if self.is_recording:
            return (
                f"{name}: the file is joined from several recordings, of which the last part ({share}) is not looked "
                "at. Join them with a tool that writes the file anew (ffmpeg's concat demuxer, mkvmerge), or give each "
                "recording as a file of its own."
            )
        return (
            f"{name}: the end of the file ({share}) belongs to no recording that can be read, and is not looked at. "
            "If pictures are missing, copy or export the file again."
        )


class Box(NamedTuple):
    """A box of an MP4 file: where it begins, its length (to the end of the file where it says 0), and its kind."""

    start: int
    length: int
    kind: bytes


def unread_tail(path: Path, reached: int, holds_pictures: Callable[[IO[bytes]], bool]) -> Tail | None:
    """What of a file is not read, whose last packet ends at byte `reached`; none where that is nothing worth telling.

    `holds_pictures` says of an open file whether it is a recording. Raises OSError where the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in _beginnings(file, reached, size):
            if holds_pictures(cast("IO[bytes]", _Rest(file, start))):
                return Tail(size - start, size, True)
        end = _end_of_boxes(file, reached, size)
        if end is not None and _is_worth_telling(file, end, size):
            return Tail(size - end, size, False)
    return None


def boxes(file: IO[bytes], size: int) -> Iterator[Box]:
    """The boxes of a file of the MP4 family, one after the other; of other files none.

    Ends behind the last box. Its length may go beyond the file's `size`.
    """
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
            return  # no box: other data follows the last one
        yield Box(at, length, kind)
        at += length


def _beginnings(file: IO[bytes], reached: int, size: int) -> Iterator[int]:
    """Where another recording may begin, the first place first."""
    found: set[int] = set()
    overlap = max(len(signature) + before for signature, before in _SIGNATURES)
    until = min(size, reached + _SEARCHED)
    for at in range(reached, until, _BLOCK):
        file.seek(at)
        block = file.read(min(_BLOCK + overlap, size - at))
        for signature, before in _SIGNATURES:
            place = block.find(signature)
            while place >= 0:
                if place >= before:
                    found.add(at + place - before)
                place = block.find(signature, place + 1)
    yield from sorted(found)[:_CANDIDATES]


def _end_of_boxes(file: IO[bytes], reached: int, size: int) -> int | None:
    """Where the boxes of an MP4 recording end; none where that is the end of the file, and for other files."""
    end = 0
    has_index = False
    for box in boxes(file, size):
        if box.start >= reached and (box.kind == b"ftyp" or (box.kind == b"moov" and has_index)):
            return box.start
        has_index |= box.kind == b"moov"
        end = box.start + box.length
    return end if 0 < end < size else None


def _is_worth_telling(file: IO[bytes], start: int, size: int) -> bool:
    if size - start < max(_FOREIGN_BYTES, _FOREIGN_SHARE * size):
        return False
    file.seek(start)
    # Recorders that reserve room leave zeros.
    return any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b""))


class _Rest:
    """A file from one place on, to be read as a file of its own."""

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
