"""Splitting of H.264 and HEVC packets into NAL units.

Belongs here: the delimiters of units (ITU-T H.264 and H.265, Annex B; ISO/IEC 14496-15).
`touchline/video/field_pictures.py` and `touchline/video/predicted_pictures.py` read the units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_START_CODE: Final = b"\0\0\1"


def units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The NAL units of a packet, each after its length of `length_size` bytes, or, if that is 0, after a start code."""
    return sized(packet, length_size) if length_size else annex_b(packet)


def annex_b(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes."""
    begin = data.find(_START_CODE)
    while begin >= 0:
        end = data.find(_START_CODE, begin + 3)
        unit = data[begin + 3 : end if end >= 0 else len(data)]
        if unit:
            yield unit
        begin = end


def sized(data: bytes, length_size: int) -> Iterator[bytes]:
    """The NAL units that each follow their length, a number of `length_size` bytes."""
    at = 0
    while at + length_size < len(data):
        begin = at + length_size
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > begin:
            yield data[begin:at]


def length_size(extradata: bytes, at: int) -> int:
    """Size of the lengths of NAL units [bytes], from byte `at` of the stream's configuration box.

    0 if units are separated by start codes; 4, the usual size, if the box is truncated.
    """
    if extradata[:1] != b"\1":
        return 0
    return (extradata[at] & 3) + 1 if len(extradata) > at + 1 else 4
