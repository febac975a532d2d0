"""Makes H.264 whose pictures are coded as two fields each, as broadcasters send interlaced video.

Belongs here: a bitstream writer for tests (ITU-T H.264, uncompressed macroblocks). No encoder at hand codes fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

_GROUP = 12
"""Pictures from one key picture to the next."""
_MACROBLOCK = bytes([0x0D, 0x00])
"""The type of an uncompressed macroblock, filled up to a whole byte."""


class _Bits(list[int]):
    def plain(self, *pairs: tuple[int, int]) -> None:
        """(value, number of bits)."""
        for value, count in pairs:
            self.extend(value >> shift & 1 for shift in reversed(range(count)))

    def golomb(self, *values: int) -> None:
        for value in values:
            self.plain((value + 1, 2 * (value + 1).bit_length() - 1))

    def packed(self) -> bytes:
        return np.packbits([*self, *[0] * (-len(self) % 8)]).tobytes()


def _unit(kind: int, importance: int, payload: bytes) -> bytes:
    kept, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            kept.append(3)
            zeros = 0
        kept.append(byte)
        zeros = 0 if byte else zeros + 1
    return b"\0\0\0\1" + bytes([importance << 5 | kind]) + bytes(kept)


def _headers(width: int, height: int) -> bytes:
    sequence = _Bits()
    sequence.plain((77, 8), (0, 8), (40, 8))
    sequence.golomb(0, 0, 0, 4, 1)  # frame numbers of 4 bits, order counts of 8, one reference picture
    sequence.plain((0, 1))
    sequence.golomb(width // 16 - 1, height // 32 - 1)
    sequence.plain((0, 1), (0, 1), (1, 1), (0, 1))  # fields allowed
    sequence.plain((1, 1), (0, 4), (1, 1), (1, 32), (50, 32), (1, 1), (0, 4), (1, 1))  # 50 fields a second
    picture = _Bits()
    picture.golomb(0, 0)
    picture.plain((0, 2))
    picture.golomb(0, 0, 0)
    picture.plain((0, 3))
    picture.golomb(0, 0, 0)
    picture.plain((1, 1), (0, 2), (1, 1))
    return _unit(7, 3, sequence.packed()) + _unit(8, 3, picture.packed())


def _field(level: int, index: int, bottom: int, width: int, height: int, references: int) -> bytes:
    """One field of one grey level: a key picture first, every `references`-th referenced (0: key pictures alone)."""
    place = index % _GROUP
    is_key = place == 0 and not bottom
    referenced = place == 0 or (references > 0 and place % references == 0)
    before = -(-place // references) if references else min(place, 1)
    head = _Bits()
    head.golomb(0, 7, 0)
    head.plain((before, 4), (1, 1), (bottom, 1))
    if is_key:
        head.golomb(0)
    head.plain((2 * place + bottom, 8))
    if referenced:
        head.plain((0, 2 if is_key else 1))
    head.golomb(0, 1, 25)
    # No byte of the samples is small, so that none need be kept apart from a start code.
    samples = bytes([level]) * 256 + bytes([128]) * 128
    blocks = width // 16 * (height // 32)
    return _unit(5 if is_key else 1, int(referenced), head.packed()) + _MACROBLOCK.join([samples] * blocks) + b"\x80"


def field_coded(levels: Sequence[int], *, references: int = 3, size: tuple[int, int] = (64, 64)) -> bytes:
    """25 pictures a second of these grey levels (16 to 240), each as two fields; Annex B. `references` as `_field`."""
    stream = bytearray()
    for index, level in enumerate(levels):
        if index % _GROUP == 0:
            stream += _headers(*size)
        for bottom in (0, 1):
            stream += _field(level, index, bottom, *size, references)
    return bytes(stream)


def write_field_coded(path: Path, levels: Sequence[int], *, references: int = 3, start_s: float = 0.0) -> Path:
    """The same as a file: as it is where the name ends in .h264, else in that container with a clock of fields.

    The clock begins at `start_s` [s].
    """
    raw = path.with_suffix(".h264")
    raw.write_bytes(field_coded(levels, references=references))
    if raw == path:
        return path
    with av.open(str(raw)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        assert isinstance(stream, VideoStream)
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, Fraction(1, 50)
            packet.pts = packet.dts = round(start_s * 50) + index
            packet.duration = 1
            target.mux(packet)
    return path
