"""Detection of reference pictures. If one is lost, the pictures that are predicted from it are damaged as well.

Belongs here: parsing of the headers that say so (ITU-T H.264, 7.4.1; H.265, 7.4.2.2; H.262, 6.2.3). Decoders of other
codecs raise an error for a lost picture.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from touchline.video.coded_units import length_size, units

_H264_SLICES: Final = (1, 5)
"""Types of NAL units of H.264 that are slices (non-IDR and IDR) without data partitioning."""
_H264_SIZE_AT: Final = 4
"""Offset of the byte of an `avcC` box that has the size of units' lengths [bytes]."""
_HEVC_SIZE_AT: Final = 21
"""Offset of the byte of an `hvcC` box that has the size of units' lengths [bytes]."""
_HEVC_LAST_LEADING: Final = 15
"""Type of NAL units of HEVC below which even types are pictures that are not references in their sub-layer."""
_HEVC_LAST_PICTURE: Final = 31
"""Highest type of NAL units of HEVC that are slices."""
_MPEG_PICTURE: Final = b"\0\0\1\0"
"""Start code of a picture in MPEG-1 and MPEG-2."""
_MPEG_EXTENSION: Final = b"\0\0\1\xb5"
"""Start code of an extension in MPEG-2."""
_MPEG_CODING: Final = 8
"""Type of the picture coding extension of MPEG-2, which says whether a picture is a field."""
_MPEG_TYPES: Final = (1, 2, 3, 4)
"""Valid picture coding types of MPEG-1 and MPEG-2: I, P, B and D."""
_MPEG_B: Final = 3
"""Picture coding type of B-pictures in MPEG-1 and MPEG-2."""
_WHOLE: Final = 3
"""Picture structure of a frame, which is not a field, in MPEG-2."""


class Role(IntEnum):
    """The role of a packet's picture in prediction. UNKNOWN if its headers are missing or damaged."""

    REFERENCED = auto()
    UNREFERENCED = auto()
    ONE_FIELD = auto()
    UNKNOWN = auto()


class PredictedPictures:
    """Reads packets of one stream, each independently. `extradata` are the stream's headers.

    `is_known` says whether packets of `codec` (FFmpeg's name) can be read and hold one displayed picture each.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        reads = {"h264": self._h264, "hevc": self._hevc, "mpeg2video": self._mpeg, "mpeg1video": self._mpeg}
        self.is_known = codec in reads
        self._read = reads.get(codec)
        self._size = length_size(extradata, _HEVC_SIZE_AT if codec == "hevc" else _H264_SIZE_AT)

    def role(self, packet: bytes) -> Role:
        """The role of the packet's picture in prediction."""
        return self._read(packet) if self._read is not None else Role.UNKNOWN

    def _h264(self, packet: bytes) -> Role:
        for unit in units(packet, self._size):
            if unit[0] & 31 in _H264_SLICES:
                return Role.REFERENCED if unit[0] >> 5 & 3 else Role.UNREFERENCED
        return Role.UNKNOWN

    def _hevc(self, packet: bytes) -> Role:
        for unit in units(packet, self._size):
            kind = unit[0] >> 1 & 63
            if kind <= _HEVC_LAST_PICTURE:
                return Role.UNREFERENCED if kind < _HEVC_LAST_LEADING and kind % 2 == 0 else Role.REFERENCED
        return Role.UNKNOWN

    def _mpeg(self, packet: bytes) -> Role:
        at = packet.find(_MPEG_PICTURE)
        kind = packet[at + 5] >> 3 & 7 if 0 <= at < len(packet) - 5 else 0
        if kind not in _MPEG_TYPES:
            return Role.UNKNOWN
        extension = packet.find(_MPEG_EXTENSION, at)
        if 0 <= extension < len(packet) - 6 and packet[extension + 4] >> 4 == _MPEG_CODING:
            is_field = packet[extension + 6] & 3 != _WHOLE
            if is_field and packet.find(_MPEG_PICTURE, at + 4) < 0:
                return Role.ONE_FIELD
        return Role.UNREFERENCED if kind == _MPEG_B else Role.REFERENCED
