"""Reading of HEIC files: still pictures that phones store as coded tiles (ISO/IEC 23008-12).

Belongs here: the container's items, and assembling tiles, which PyAV does not do. Other still pictures are read in
`touchline/video/stills.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePath
from typing import IO, Final, cast

import av
import numpy as np
from av.video.frame import VideoFrame

from touchline.errors import BadInputError
from touchline.values import Image
from touchline.video.upright import Orientation, upright

_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"mif1"}
"""Major brands of HEIF files of one picture. Image sequences have others."""
_MOST_BYTES: Final = 16_000_000
"""Largest valid size of a `meta` box, which describes the items [bytes]."""
_MOST_SIDE: Final = 32_768
"""Largest side of a picture; larger ones are refused [px]."""


@dataclass(slots=True)
class _Items:
    """The container's items, by number: primary item, types, tiles, locations and properties."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    tiles: dict[int, list[int]] = field(default_factory=dict)
    locations: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    """By item, construction method (0: in the file, 1: in `stored`), and offsets and lengths [bytes]."""
    stored: bytes = b""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    of_item: dict[int, list[int]] = field(default_factory=dict)


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these 16 bytes is a HEIF still picture (AVIF has other brands)."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def read_heif(file: IO[bytes], path: PurePath) -> Image:
    """The primary picture of an open HEIF file, upright: H x W x 3, BGR, uint8.

    Raises BadInputError, with a remedy, for a file that is truncated or damaged, or whose picture is derived from
    others in another way than by tiles.
    """
    try:
        items = _items(file)
        kind = items.kinds.get(items.primary)
        if kind == b"grid":
            return _tiled(items, file, path)
        frame = _decoded(file, [items.primary]).get(items.primary)
    except (av.FFmpegError, struct.error, IndexError, ValueError) as error:
        raise BadInputError(
            f"{path}: expected a complete picture, but it is truncated or damaged ({error}). Copy it again, or export "
            "it as JPEG."
        ) from error
    if frame is None:
        raise BadInputError(
            f"{path}: the picture is stored in a form of HEIF that cannot be read here "
            f"({(kind or b'?').decode('latin-1')}), or it is truncated. Export it as JPEG."
        )
    return upright(frame, Fraction(1))


def _tiled(items: _Items, file: IO[bytes], path: PurePath) -> Image:
    grid = _bytes_of(items, items.primary, file)
    rows, columns = grid[2] + 1, grid[3] + 1
    width, height = struct.unpack_from(">II" if grid[1] & 1 else ">HH", grid, 4)
    if max(width, height) > _MOST_SIDE:
        raise BadInputError(f"{path}: the picture is too large ({width} x {height} px). Save it at a smaller size.")
    numbers = items.tiles.get(items.primary, [])
    frames = _decoded(file, numbers)
    missing = sum(number not in frames for number in numbers)
    if len(numbers) != rows * columns or missing:
        raise ValueError(f"{rows} x {columns} tiles expected, {len(numbers) - missing} found")
    tiles = [cast(Image, frames[number].to_ndarray(format="bgr24")) for number in numbers]
    if any(tile.shape != tiles[0].shape for tile in tiles):
        raise ValueError("tiles of different sizes")
    whole = np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])
    if whole.shape[0] < height or whole.shape[1] < width:
        raise ValueError(f"tiles do not fill {width} x {height} px")
    image = np.asarray(whole[:height, :width], np.uint8)
    for index in items.of_item.get(items.primary, ()):
        kind, payload = items.properties[index - 1]
        if kind == b"irot":
            # Quarter turns counter-clockwise, as in rot90.
            image = np.rot90(image, payload[0] & 3)
        elif kind == b"imir":
            image = Orientation(mirrored=bool(payload[0] & 1), flipped=not payload[0] & 1).applied(image)
    return np.ascontiguousarray(image)


def _decoded(file: IO[bytes], numbers: list[int]) -> dict[int, VideoFrame]:
    """The first decoded frame of each of these items, by number. Items that do not decode are left out."""
    file.seek(0)
    frames: dict[int, VideoFrame] = {}
    options = {"protocol_whitelist": "file"}
    with av.open(file, "r", format="mov", options=options, metadata_errors="replace") as container:
        streams = [s for s in container.streams.video if s.id in numbers and s.codec_context is not None]
        for packet in container.demux(streams) if streams else ():
            for frame in packet.decode():
                frames.setdefault(packet.stream.id, cast(VideoFrame, frame))
    return frames


def _items(file: IO[bytes]) -> _Items:
    items = _Items()
    for kind, payload in _boxes(_meta(file)):
        match kind:
            case b"pitm":
                items.primary = struct.unpack_from(">I" if payload[0] else ">H", payload, 4)[0]
            case b"iinf":
                for _, entry in _boxes(payload, 8 if payload[0] else 6):
                    number = struct.unpack_from(">I" if entry[0] >= 3 else ">H", entry, 4)[0]
                    at = 10 if entry[0] >= 3 else 8
                    items.kinds[number] = entry[at : at + 4]
            case b"iref":
                width = "I" if payload[0] else "H"
                for reference, entry in _boxes(payload, 4):
                    if reference == b"dimg":
                        source, count = struct.unpack_from(f">{width}H", entry)
                        at = struct.calcsize(f">{width}H")
                        items.tiles[source] = list(struct.unpack_from(f">{count}{width}", entry, at))
            case b"iloc":
                items.locations = _locations(payload)
            case b"idat":
                items.stored = payload
            case b"iprp":
                for part, inner in _boxes(payload):
                    if part == b"ipco":
                        items.properties = list(_boxes(inner))
                    elif part == b"ipma":
                        items.of_item |= _associations(inner)
    return items


def _meta(file: IO[bytes]) -> bytes:
    """Content of the top-level `meta` box after its version and flags."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", head, 8)[0], 16
        if kind == b"meta":
            if not header + 4 <= size <= _MOST_BYTES:
                raise ValueError(f"its meta box has an invalid size of {size} bytes")
            file.seek(at + header + 4)
            return file.read(size - header - 4)
        if size < header:
            raise ValueError("it has no meta box")
        at += size


def _boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(type, payload) of the boxes in `data` from `at` on."""
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            raise ValueError(f"a box has an invalid size of {size} bytes")
        yield kind, data[at + 8 : at + size]
        at += size


def _locations(payload: bytes) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """The items' locations in an `iloc` box, by number: construction method, and offsets and lengths [bytes]."""
    version = payload[0]
    sizes = (payload[4] >> 4, payload[4] & 15, payload[5] >> 4, payload[5] & 15 if version else 0)
    offset_size, length_size, base_size, index_size = sizes
    at = 6

    def take(size: int) -> int:
        nonlocal at
        if at + size > len(payload):
            raise ValueError("its iloc box is truncated")
        at += size
        return int.from_bytes(payload[at - size : at], "big")

    locations: dict[int, tuple[int, list[tuple[int, int]]]] = {}
    wide = 4 if version == 2 else 2
    for _ in range(take(wide)):
        number = take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        extents = []
        for _ in range(take(2)):
            take(index_size)
            extents.append((base + take(offset_size), take(length_size)))
        locations[number] = (method, extents)
    return locations


def _associations(payload: bytes) -> dict[int, list[int]]:
    """Numbers (from 1) of each item's properties, by item, in the order in which they apply."""
    wide, large = payload[0] >= 1, bool(payload[3] & 1)
    (entries,) = struct.unpack_from(">I", payload, 4)
    at = 8
    found: dict[int, list[int]] = {}
    for _ in range(entries):
        number, count = struct.unpack_from(">IB" if wide else ">HB", payload, at)
        at += 5 if wide else 3
        values = struct.unpack_from(f">{count}{'H' if large else 'B'}", payload, at)
        at += count * (2 if large else 1)
        found[number] = [value & (0x7FFF if large else 0x7F) for value in values]
    return found


def _bytes_of(items: _Items, number: int, file: IO[bytes]) -> bytes:
    method, extents = items.locations.get(number, (0, []))
    data = b""
    for offset, length in extents:
        if method == 1:
            data += items.stored[offset : offset + length]
        else:
            file.seek(offset)
            data += file.read(min(length, 64))
    return data
