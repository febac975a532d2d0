"""The picture that is looked at is the one that a viewer sees: mirrored, turned, of another shape, see-through."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image as Pillow

from tests.unit.test_extract_frames import extract, grey, marked, write_video
from touchline.values import Image
from touchline.video.opening import probe
from touchline.video.upright import flattened

SHOWN: dict[str, tuple[tuple[int, int, int, int], tuple[int, int]]] = {
    "as it is": ((1, 0, 0, 1), (0, 0)),
    "mirrored": ((-1, 0, 0, 1), (0, 1)),
    "upside down and mirrored": ((1, 0, 0, -1), (1, 0)),
    "turned by half": ((-1, 0, 0, -1), (1, 1)),
    "turned clockwise": ((0, 1, -1, 0), (0, 1)),
    "turned counter-clockwise": ((0, -1, 1, 0), (1, 0)),
    "along one diagonal": ((0, 1, 1, 0), (0, 0)),
    "along the other diagonal": ((0, -1, -1, 0), (1, 1)),
}
"""tkhd matrix (a, b, c, d), and the row and column of the quarter that is top left in the file."""


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Overwrites the matrix in the track header of an MP4 that has one track."""
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[at : at + 36] = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    return path


def bright_quarter(image: Image) -> tuple[int, int]:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    quarters = [[image[y * height :][:height, x * width :][:, :width].mean() for x in (0, 1)] for y in (0, 1)]
    return divmod(int(np.argmax(quarters)), 2)


@pytest.mark.parametrize("way", SHOWN)
def test_a_picture_is_turned_and_mirrored_as_its_track_header_asks(tmp_path: Path, way: str) -> None:
    matrix, bright = SHOWN[way]
    path = with_matrix(write_video(tmp_path / "a.mp4", [marked(96, 64)] * 5), matrix)
    frames, kept, stats = extract(path)
    assert kept.image(0).shape == ((64, 96, 3) if matrix[0] else (96, 64, 3))
    assert (frames[0].height, frames[0].width) == kept.image(0).shape[:2] == (probe(path).height, probe(path).width)
    assert bright_quarter(kept.image(0)) == bright
    a, b, c, d = matrix
    assert stats["is_mirrored"] is probe(path).is_mirrored is (a * d - b * c < 0)


def lettering(ink: int, alpha: int = 255) -> Image:
    """Bars of one grey on a ground that is see-through, black underneath; BGRA."""
    image = np.zeros((80, 120, 4), np.uint8)
    image[20:60, 10:110:4, :3] = ink
    image[20:60, 10:110:4, 3] = alpha
    return image


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (90, 255), (255, 0), (220, 0), (110, 255)])
def test_what_can_be_seen_through_is_filled_for_contrast(ink: int, ground: int) -> None:
    image = flattened(lettering(ink))
    assert image[0, 0].tolist() == [ground] * 3 and image[40, 10].tolist() == [ink] * 3


def test_black_and_white_letters_on_nothing_are_both_seen() -> None:
    image = lettering(0)
    image[40:60, 10:110:4, :3] = 255
    assert flattened(image)[0, 0].tolist() == [128] * 3


def test_what_is_half_see_through_is_mixed_and_what_says_nothing_is_left() -> None:
    assert flattened(lettering(0, 51))[40, 10].tolist() == [204] * 3
    nothing = lettering(200, 0)
    assert np.array_equal(flattened(nothing), nothing[..., :3])


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        ("mov", "qtrle", "argb"),
        ("mov", "prores_ks", "yuva444p10le"),
        ("mov", "png", "rgba"),
        ("webm", "libvpx", "yuva420p"),
        ("webm", "libvpx-vp9", "yuva420p"),
    ],
)
def test_a_see_through_video_is_filled(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 120, 80, pixels
        options: dict[str, dict[str, str]] = {
            "prores_ks": {"profile": "4444", "alpha_bits": "16"},
            "libvpx": {"auto-alt-ref": "0"},
        }
        stream.options = dict[str, object](options.get(codec, {}))
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(lettering(0)[..., [2, 1, 0, 3]], format="rgba")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    _, kept, _ = extract(path)
    assert kept.image(0)[5, 60].min() > 240 and kept.image(0)[25:55, 10].max() < 60


def test_an_animation_is_a_video_of_its_pictures_and_times(tmp_path: Path) -> None:
    slides = [Pillow.fromarray(lettering(ink)[..., [2, 1, 0, 3]]) for ink in (0, 255, 60, 200)]
    for name in ("a.png", "a.gif"):
        slides[0].save(
            tmp_path / name, save_all=True, append_images=slides[1:], duration=[3000, 1000, 2000, 500], disposal=1
        )
        frames, _, stats = extract(tmp_path / name)
        assert not stats["is_image"]
        assert [(f.timestamp, f.shown_until) for f in frames] == [(0, 3), (3, 4), (4, 6), (6, 6.5)]
        assert stats["duration_s"] == pytest.approx(6.5)


def concatenated(folder: Path, *parts: tuple[Image, Fraction | None]) -> Path:
    """A transport stream of two seconds of each picture, with pixels of that shape: the coder starts anew."""
    data = b""
    for number, (image, aspect) in enumerate(parts):
        times = [10 + 2 * number + i / 25 for i in range(50)]
        data += write_video(folder / f"{number}.ts", [image] * 50, times, aspect=aspect).read_bytes()
    (folder / "whole.ts").write_bytes(data)
    return folder / "whole.ts"


def test_a_frame_has_its_own_shape_of_pixels(tmp_path: Path) -> None:
    path = concatenated(tmp_path, (marked(128, 96), Fraction(1)), (marked(128, 96), Fraction(4, 3)))
    frames, kept, stats = extract(path)
    assert [(f.width, f.height) for f in frames] == [(128, 96)] * 4 + [(171, 96)] * 4
    assert kept.image(7).shape == (96, 171, 3)
    rest, _, again = extract(path, 0, chunk_s=1)
    assert [(f.width, f.height) for f in rest] == [(128, 96)] * 2 + [(171, 96)] * 4
    assert again["duration_s"] == stats["duration_s"]


def test_a_frame_of_another_size_is_stored_at_its_own(tmp_path: Path) -> None:
    frames, kept, _ = extract(concatenated(tmp_path, (grey(60, 160, 90), None), (grey(200, 72, 58), Fraction(64, 45))))
    assert [kept.image(f.sequence).shape[:2] for f in frames] == [(90, 160)] * 4 + [(58, 102)] * 4
