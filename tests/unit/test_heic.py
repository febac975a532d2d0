"""HEIC, as phones write it: whole pictures, pictures of tiles, turned and mirrored ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.unit.test_extract_frames import extract, marked
from tests.unit.test_seen_picture import bright_quarter
from touchline.errors import BadInputError
from touchline.values import Image
from touchline.video.opening import probe


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", len(data) + 8, kind) + data


def coded(image: Image) -> tuple[bytes, bytes]:
    """A picture in AV1, which HEIF holds as it holds HEVC: the decoder's configuration, and the coded bytes."""
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(image[..., ::-1])).save(file, "AVIF", speed=10)
    data = file.getvalue()
    at, start = data.index(b"av1C"), data.index(b"mdat")
    return (
        data[at + 4 : at - 4 + struct.unpack_from(">I", data, at - 4)[0]],
        data[start + 4 : start - 4 + struct.unpack_from(">I", data, start - 4)[0]],
    )


def write_heic(
    path: Path,
    tiles: Sequence[Image],
    columns: int = 1,
    size: tuple[int, int] | None = None,
    turned: Sequence[bytes] = (),
    thumbnail: Image | None = None,
    kind: bytes = b"grid",
) -> Path:
    """One picture, of tiles where there are several, which are shown at `size`; `turned` are boxes irot and imir."""
    codes = [coded(tile) for tile in [*tiles, *([] if thumbnail is None else [thumbnail])]]
    grid = len(tiles) if size else 0
    numbers = [2 + i for i in range(len(codes))]
    primary = 1 if grid else 2
    infos = [(primary, kind)] * bool(grid) + [(number, b"av01") for number in numbers]
    properties = [box(b"av1C", config) for config, _ in codes]
    shapes = [*tiles, *([] if thumbnail is None else [thumbnail])]
    properties += [box(b"ispe", struct.pack(">III", 0, image.shape[1], image.shape[0])) for image in shapes]
    links = [[1 + i, 1 + len(codes) + i] for i in range(len(codes))]
    first_turn = len(properties) + 1
    properties += turned
    links_of = dict(zip(numbers, links, strict=True))
    if size:
        properties.append(box(b"ispe", struct.pack(">III", 0, *size)))
        links_of[1] = [len(properties)]
    links_of[primary] = links_of[primary] + [first_turn + i for i in range(len(turned))]
    cells = b"" if not size else struct.pack(">BBBBHH", 0, 0, len(tiles) // columns - 1, columns - 1, *size)

    def meta(start: int) -> bytes:
        extents = [struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(cells))] if size else []
        at = start
        for number, (_, data) in zip(numbers, codes, strict=True):
            extents.append(struct.pack(">HHHHII", number, 0, 0, 1, at, len(data)))
            at += len(data)
        references = [box(b"dimg", struct.pack(f">HH{grid}H", 1, grid, *numbers[:grid]))] if size else []
        if thumbnail is not None:
            references.append(box(b"thmb", struct.pack(">HHH", numbers[-1], 1, primary)))
        handler = struct.pack(">II4s", 0, 0, b"pict") + bytes(13)
        entries = [box(b"infe", struct.pack(">IHH4sB", 2 << 24, number, 0, what, 0)) for number, what in infos]
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", handler),
            box(b"pitm", struct.pack(">IH", 0, primary)),
            box(b"iinf", struct.pack(">IH", 0, len(infos)), *entries),
            *([box(b"iref", bytes(4), *references)] if references else []),
            box(
                b"iprp",
                box(b"ipco", *properties),
                box(
                    b"ipma",
                    struct.pack(">II", 0, len(links_of)),
                    *(struct.pack(f">HB{len(own)}B", n, len(own), *own) for n, own in sorted(links_of.items())),
                ),
            ),
            *([box(b"idat", cells)] if cells else []),
            box(b"iloc", struct.pack(">IBBH", 1 << 24, 0x44, 0, len(extents)), *extents),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + box(b"mdat", *(data for _, data in codes)))
    return path


def quarters(image: Image) -> list[Image]:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return [np.ascontiguousarray(image[y : y + height, x : x + width]) for y in (0, height) for x in (0, width)]


def irot(quarter_turns: int) -> bytes:
    return box(b"irot", bytes([quarter_turns]))


def imir(left_right: bool) -> bytes:
    return box(b"imir", bytes([left_right]))


TURNS = {
    "as it is": ([], (0, 0)),
    "turned left": ([irot(1)], (1, 0)),
    "turned by half": ([irot(2)], (1, 1)),
    "turned right": ([irot(3)], (0, 1)),
    "mirrored left to right": ([imir(True)], (0, 1)),
    "mirrored top to bottom": ([imir(False)], (1, 0)),
    "turned and mirrored": ([irot(1), imir(True)], (1, 1)),
}


@pytest.mark.parametrize("way", TURNS)
@pytest.mark.parametrize("tiled", [False, True])
def test_a_picture_is_whole_and_upright(tmp_path: Path, tiled: bool, way: str) -> None:
    turned, bright = TURNS[way]
    image = marked(256, 192)
    path = tmp_path / "a.heic"
    if tiled:
        write_heic(path, quarters(image), 2, (250, 180), turned, thumbnail=marked(64, 48))
    else:
        write_heic(path, [image], turned=turned)
    info = probe(path)
    size = (250, 180) if tiled else (256, 192)
    assert (info.width, info.height) == (
        size[::-1] if way in ("turned left", "turned right", "turned and mirrored") else size
    )
    assert info.is_image and info.duration_s == 0.0 and info.codec == "heic"
    frames, kept, stats = extract(path)
    assert len(frames) == 1 and stats["is_image"] and stats["duration_s"] == 0.0 and not stats["warnings"]
    assert bright_quarter(kept.image(0)) == bright
    if tiled and way == "as it is":
        assert abs(kept.image(0).astype(int) - marked(256, 192)[:180, :250]).mean() < 8


def test_a_picture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    for name, tiles, size in (("one", [noise], None), ("tiles", quarters(noise), (256, 192))):
        data = write_heic(tmp_path / f"{name}.heic", tiles, 2, size).read_bytes()
        for share in (0.0, 0.01, 0.3, 0.6):
            path = tmp_path / f"{name}{share}.heic"
            path.write_bytes(data[: 24 + int(share * len(data))])
            with pytest.raises(BadInputError, match="truncated") as refused:
                probe(path)
            assert str(path) in str(refused.value)


def test_a_picture_made_of_others_in_another_way_is_refused(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heic", quarters(marked(256, 192)), 2, (256, 192), kind=b"iovl")
    with pytest.raises(BadInputError, match=r"cannot be read here \(iovl\).*Export it as JPEG"):
        probe(path)
