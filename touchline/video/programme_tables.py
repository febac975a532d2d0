"""The codec of a transport stream's pictures at each position in the file, by the programme map tables.

Belongs here: parsing of these tables (ISO/IEC 13818-1, 2.4.4). FFmpeg reads the codec of a stream only once. After a
change it returns packets of the first codec, which do not decode.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

import numpy as np

_SYNC: Final = 0x47
"""First byte of each packet."""
_SIZES: Final = (188, 192, 204)
"""Possible sizes of packets: plain, with a time stamp before each, with parity after each [bytes]."""
_PACKETS: Final = 8192
"""Number of packets that are read at once."""
_IN_A_ROW: Final = 5
"""Number of successive packets from which packets are recognised."""
_PROGRAMMES: Final = 0
"""PID and table id of the programme association table."""
_PROGRAMME: Final = 2
"""Table id of programme map tables."""
_NAMES: Final = {
    0x01: "MPEG-1", 0x02: "MPEG-2", 0x10: "MPEG-4", 0x1B: "H.264", 0x24: "HEVC", 0x33: "VVC", 0x42: "AVS", 0xEA: "VC-1",
}  # fmt: skip


class ProgrammeTables:
    """Reads the tables of a transport stream from its beginning, as far as needed.

    `identity` is the PID of the video stream. Damaged tables are skipped. Raises OSError if the file cannot be read.
    """

    def __init__(self, path: Path, identity: int) -> None:
        self._packets = _packets(path)
        self._identity = identity
        self._tables: set[int] = set()
        self._sections: dict[int, bytes] = {}
        self._reached = 0
        self._offsets: list[int] = []
        self._kinds: list[int] = []

    def codec(self, offset: int) -> str | None:
        """The codec of the pictures whose packets begin at an offset [bytes]; None before the first table."""
        while self._reached <= offset:
            block = next(self._packets, None)
            if block is None:
                self._reached = offset + 1
                break
            self._read(*block)
        at = bisect_right(self._offsets, offset)
        return _name(self._kinds[at - 1]) if at else None

    def _read(self, offsets: np.ndarray, packets: np.ndarray) -> None:
        identities = (packets[:, 1].astype(int) & 31) << 8 | packets[:, 2]
        for index in np.flatnonzero(identities == _PROGRAMMES):
            self._add(0, int(offsets[index]), packets[index].tobytes())
        for index in np.flatnonzero(np.isin(identities, list(self._tables))):
            self._add(int(identities[index]), int(offsets[index]), packets[index].tobytes())
        self._reached = int(offsets[-1]) + packets.shape[1]

    def _add(self, identity: int, offset: int, packet: bytes) -> None:
        """Adds the next packet of a table, which may continue in later packets."""
        control = packet[3] >> 4 & 3
        payload = packet[4 + (1 + packet[4] if control & 2 else 0) : 188] if control & 1 else b""
        if packet[1] & 0x40:
            self._sections[identity] = payload[1 + payload[0] :] if payload else b""
        else:
            self._sections[identity] = self._sections.get(identity, b"") + payload
        section = self._sections[identity]
        length = 3 + (int.from_bytes(section[1:3], "big") & 0xFFF)
        if len(section) < max(length, 12) or _checksum(section[:length]):
            return
        if identity == 0 and section[0] == _PROGRAMMES:
            entries = (section[at : at + 4] for at in range(8, length - 4, 4))
            self._tables |= {int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if any(entry[:2])}
        elif identity and section[0] == _PROGRAMME and section[5] & 1:
            kind = dict(_streams(section[:length])).get(self._identity)
            if kind is not None and (not self._kinds or self._kinds[-1] != kind):
                self._offsets.append(offset)
                self._kinds.append(kind)


def _streams(section: bytes) -> Iterator[tuple[int, int]]:
    """(PID, stream type) of the streams of a programme map table."""
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while at + 5 <= len(section) - 4:
        yield int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF, section[at]
        at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)


def _packets(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(offsets of packets [bytes], packets as N x 188 uint8), block by block."""
    with path.open("rb") as file:
        at, size = 0, _packet_size(file, 0)
        while size:
            file.seek(at)
            data = np.frombuffer(file.read(size[1] * _PACKETS), np.uint8)
            whole = data[size[0] :]
            count = (len(whole) + size[1] - 188) // size[1]
            if count < 1:
                return
            rows = np.lib.stride_tricks.as_strided(whole, (count, 188), (size[1], 1), writeable=False)
            good = count if (rows[:, 0] == _SYNC).all() else int(np.argmax(rows[:, 0] != _SYNC))
            if good:
                yield at + size[0] + size[1] * np.arange(good), rows[:good]
            at += good * size[1]
            if good < count:
                size = _packet_size(file, at)
                at += size[0] if size else 0
                size = (0, size[1]) if size else None


def _packet_size(file: IO[bytes], at: int) -> tuple[int, int] | None:
    """(distance from `at` to the next packet, size of packets) [bytes]; None if no packets follow."""
    while True:
        file.seek(at)
        data = file.read(1 << 16)
        for first in range(max(0, len(data) - 188 * _IN_A_ROW)):
            for size in _SIZES:
                if data[first] == _SYNC and all(
                    byte == _SYNC for byte in data[first : first + size * _IN_A_ROW : size]
                ):
                    return first, size
        if len(data) < 1 << 16:
            return None
        at += len(data) - 204 * _IN_A_ROW


def _name(kind: int) -> str:
    return _NAMES.get(kind, f"a codec of kind 0x{kind:02x}")


@lru_cache(maxsize=64)
def _checksum(section: bytes) -> int:
    """CRC of a section (ISO/IEC 13818-1, Annex A), which is 0 if the section is undamaged."""
    value = 0xFFFFFFFF
    for byte in section:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value
