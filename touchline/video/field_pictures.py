"""Detection of H.264 packets that hold one field of an interlaced picture instead of a whole picture.

Belongs here: parsing of the headers that say so (ITU-T H.264, 7.3.2.1.1, 7.3.2.2 and 7.3.3). FFmpeg's demuxers may
return the two fields of a picture as two packets, without marking them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from touchline.video.coded_units import annex_b, length_size, units

_SLICES: Final = (1, 5)
"""Types of NAL units of H.264 that are slices (non-IDR and IDR) without data partitioning."""
_SEQUENCE: Final = 7
"""Type of NAL units of H.264 that are sequence parameter sets."""
_PICTURE: Final = 8
"""Type of NAL units of H.264 that are picture parameter sets."""
_SIZE_AT: Final = 4
"""Offset of the byte of an `avcC` box that has the size of units' lengths [bytes]."""
_CONFIGURATION_HEAD: Final = 5
"""Size of the part of an `avcC` box before the sequence parameter sets [bytes]."""
_SLICE_HEAD: Final = 40
"""Number of bytes of a slice that are read. Its header up to the field flags is shorter."""
_COLOUR_PROFILES: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Numbers of the H.264 profiles whose sequence parameter set has the chroma format."""


class Holds(Enum):
    """What a packet holds."""

    FRAME = auto()
    ONE_FIELD = auto()
    BOTH_FIELDS = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class _Format:
    """The values of a sequence parameter set that are needed to read a slice header up to its field flags."""

    frame_number_bits: int
    colour_planes: bool
    frames_only: bool


class FieldPictures:
    """Reads the packets of one H.264 stream in order. `extradata` are its headers, as `avcC` box or Annex B."""

    def __init__(self, extradata: bytes) -> None:
        self._formats: dict[int, _Format] = {}
        self._format_of: dict[int, int] = {}
        self._length_size = length_size(extradata, _SIZE_AT)
        for unit in _configured(extradata) if self._length_size else annex_b(extradata):
            self._learn(unit)

    def holds(self, packet: bytes) -> Holds:
        """What the next packet holds; UNKNOWN if its headers are missing or damaged."""
        fields: set[bool] = set()
        for unit in units(packet, self._length_size):
            if unit[0] & 31 not in _SLICES:
                self._learn(unit)
                continue
            try:
                bottom = self._bottom(unit)
            except (EOFError, KeyError):
                return Holds.UNKNOWN
            if bottom is None:
                return Holds.FRAME
            fields.add(bottom)
            if len(fields) > 1:
                return Holds.BOTH_FIELDS
        return Holds.ONE_FIELD if fields else Holds.UNKNOWN

    def _bottom(self, unit: bytes) -> bool | None:
        """Whether a slice belongs to a bottom field; None if it belongs to a frame."""
        bits = _Bits(unit[1:_SLICE_HEAD])
        bits.golomb()
        bits.golomb()
        form = self._formats[self._format_of[bits.golomb()]]
        if form.frames_only:
            return None
        bits.read(2 * form.colour_planes + form.frame_number_bits)
        return bits.read(1) == 1 if bits.read(1) else None

    def _learn(self, unit: bytes) -> None:
        bits = _Bits(unit[1:])
        try:
            if unit[0] & 31 == _SEQUENCE:
                identity, form = _format(bits)
                self._formats[identity] = form
            elif unit[0] & 31 == _PICTURE:
                identity = bits.golomb()
                self._format_of[identity] = bits.golomb()
        except EOFError:
            return  # Slices that refer to a damaged header give UNKNOWN.


def _format(bits: _Bits) -> tuple[int, _Format]:
    profile = bits.read(8)
    bits.read(16)
    identity = bits.golomb()
    colour_planes = False
    if profile in _COLOUR_PROFILES:
        chroma = bits.golomb()
        colour_planes = chroma == 3 and bits.read(1) == 1
        bits.golomb()
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _scaling_list(bits, 16 if index < 6 else 64)
    frame_number_bits = bits.golomb() + 4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.read(1)
    bits.golomb()
    bits.golomb()
    return identity, _Format(frame_number_bits, colour_planes, bits.read(1) == 1)


def _scaling_list(bits: _Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            change = (code + 1) // 2 if code % 2 else -(code // 2)
            following = (last + change) % 256
        last = following or last


class _Bits:
    """Reads the bits of one NAL unit, most significant bit first. Raises EOFError past its end."""

    def __init__(self, unit: bytes) -> None:
        plain = unit.replace(b"\0\0\3", b"\0\0")  # without emulation prevention bytes
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def read(self, count: int) -> int:
        if count > self._left:
            raise EOFError
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """One unsigned Exp-Golomb code."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def _configured(data: bytes) -> Iterator[bytes]:
    """The parameter sets of an `avcC` box."""
    at, left = _CONFIGURATION_HEAD, 0
    for mask in (31, 255):
        left = data[at] & mask if at < len(data) else 0
        at += 1
        for _ in range(left):
            begin = at + 2
            at = begin + int.from_bytes(data[at:begin], "big")
            if data[begin:at]:
                yield data[begin:at]
