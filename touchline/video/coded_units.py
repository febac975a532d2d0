"""The units of which packets of H.264 and HEVC are made, and where they begin.

Belongs here: how units are kept apart (ITU-T H.264 and H.265, Annex B; ISO/IEC 14496-15). What is in them is the
business of `touchline/video/field_pictures.py` and `touchline/video/predicted_pictures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_START_CODE: Final = b"\0\0\1"


def units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The units of a packet, which follow their lengths of so many bytes, or with 0 start codes."""
    return sized(packet, length_size) if length_size else annex_b(packet)


def annex_b(data: bytes) -> Iterator[bytes]:
    """The units between start codes."""
    begin = data.find(_START_CODE)
    while begin >= 0:
        end = data.find(_START_CODE, begin + 3)
        unit = data[begin + 3 : end if end >= 0 else len(data)]
        if unit:
            yield unit
        begin = end


def sized(data: bytes, length_size: int) -> Iterator[bytes]:
    """The units that each follow their length, a number of `length_size` bytes."""
    at = 0
    while at + length_size < len(data):
        begin = at + length_size
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > begin:
            yield data[begin:at]


def length_size(extradata: bytes, at: int) -> int:
    """Bytes of a unit's length, by byte `at` of the stream's configuration box; 0 where start codes keep units apart.

    4, the usual size, where the box is cut off.
    """
    if extradata[:1] != b"\1":
        return 0
    return (extradata[at] & 3) + 1 if len(extradata) > at + 1 else 4
