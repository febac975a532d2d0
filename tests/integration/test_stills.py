"""Still pictures of every format: no length, shown as a viewer sees them, refused with true words where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from tests.unit.test_extract_frames import extract, marked
from tests.unit.test_seen_picture import bright_quarter, lettering
from touchline.errors import BadInputError
from touchline.values import Image
from touchline.video.opening import probe, probe_file
from touchline.vision.yolo import ENVIRONMENT

ULTRALYTICS_FIRST = """
import sys
import ultralytics.utils
from pathlib import Path
from touchline.video.opening import probe
assert not probe(Path(sys.argv[1])).is_image
"""
FORMATS = ("png", "jpg", "bmp", "tif", "gif", "webp", "avif")


def as_pillow(image: Image) -> Pillow.Image:
    return Pillow.fromarray(image[..., ::-1] if image.shape[2] == 3 else image[..., [2, 1, 0, 3]])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_still_has_no_length_in_any_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    as_pillow(marked(120, 80)).save(path)
    frames, kept, stats = extract(path)
    assert [(f.timestamp, f.shown_until, f.width, f.height) for f in frames] == [(0.0, 0.0, 120, 80)]
    assert bright_quarter(kept.image(0)) == (0, 0)
    assert stats["is_image"] and stats["duration_s"] == 0.0 and not stats["warnings"]
    info = probe(path)
    assert (info.is_image, info.duration_s, info.width, info.height) == (True, 0.0, 120, 80)
    with path.open("rb") as file:
        assert probe_file(file, Path(f"bucket/a.{suffix}")) == info


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_still_that_is_cut_off_is_refused_and_said_to_be(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(1).integers(0, 255, (80, 120, 3), dtype=np.uint8)
    as_pillow(noise).save(path)
    for share in (0.3, 0.7):
        part = tmp_path / f"part{share}.{suffix}"
        part.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(BadInputError, match="truncated") as refused:
            probe(part)
        assert str(part) in str(refused.value)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif", "gif"])
@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0)])
def test_a_see_through_still_is_filled_for_contrast(tmp_path: Path, suffix: str, ink: int, ground: int) -> None:
    path = tmp_path / f"logo.{suffix}"
    as_pillow(lettering(ink)).save(path, lossless=True)
    _, kept, _ = extract(path)
    assert abs(int(kept.image(0)[5, 60, 1]) - ground) < 12 and abs(int(kept.image(0)[20:60, 10:110].mean()) - 127) < 90


@pytest.mark.parametrize("mode", ["LA", "PA", "P", "L", "RGB"])
def test_see_through_greys_palettes_and_colour_keys_are_filled(tmp_path: Path, mode: str) -> None:
    rgba = as_pillow(lettering(0))
    if mode in ("LA", "PA"):
        grey = rgba.convert("LA")
        (grey if mode == "LA" else rgba.quantize(8)).save(tmp_path / "a.png")
    else:
        picture = Pillow.new("RGB", (120, 80), (9, 9, 9))
        picture.paste((1, 1, 1), (10, 20, 60, 60))
        key: Any = {"P": None, "L": 9, "RGB": (9, 9, 9)}[mode]
        out = picture.quantize(8) if mode == "P" else picture.convert(mode)
        out.save(tmp_path / "a.png", transparency=out.getpixel((0, 0)) if key is None else key)
    _, kept, _ = extract(tmp_path / "a.png")
    assert kept.image(0)[5, 5].min() > 240 and kept.image(0)[40, 10:60].min() < 40


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_the_orientation_by_exif_is_applied(tmp_path: Path, suffix: str, alpha: bool) -> None:
    if alpha and suffix == "jpg":
        suffix = "png"
    image = marked(96, 64)
    if alpha:
        image = np.dstack([image, np.full((64, 96), 250, np.uint8)])
    expected = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    for value, bright in expected.items():
        exif = Pillow.Exif()
        exif[0x0112] = value
        path = tmp_path / f"{value}.{suffix}"
        as_pillow(image).save(path, exif=exif)
        _, kept, _ = extract(path)
        assert kept.image(0).shape[:2] == ((64, 96) if value < 5 else (96, 64))
        assert bright_quarter(kept.image(0)) == bright, value


def test_modes_beyond_eight_bits_of_three_colours_are_read(tmp_path: Path) -> None:
    image = marked(120, 80)
    wide = image.astype(np.uint16) * 257
    for name, stored in {"rgb.png": wide, "grey.png": wide[..., 0], "rgb.tif": wide, "grey.tif": wide[..., 0]}.items():
        assert cv2.imwrite(str(tmp_path / name), stored)
    as_pillow(image).convert("CMYK").save(tmp_path / "cmyk.jpg")
    as_pillow(image).convert("CMYK").save(tmp_path / "cmyk.tif")
    as_pillow(image).convert("1").save(tmp_path / "bits.png")
    as_pillow(image).quantize(4).save(tmp_path / "palette.png")
    as_pillow(image).save(tmp_path / "two.mpo", save_all=True, append_images=[as_pillow(image)])
    for path in sorted(tmp_path.iterdir()):
        _, kept, _ = extract(path)
        assert bright_quarter(kept.image(0)) == (0, 0), path.name
        assert kept.image(0)[10, 10].min() > 190 and kept.image(0)[70, 110].max() < 70, path.name


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 300)])
def test_a_still_of_odd_size_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    Pillow.new("RGB", size, (200, 30, 30)).save(tmp_path / "a.png")
    assert len(extract(tmp_path / "a.png")[0]) == 1


def test_animated_webp_is_refused_for_what_it_is(tmp_path: Path) -> None:
    slides = [Pillow.new("RGB", (64, 48), (60 * i, 0, 0)) for i in range(3)]
    slides[0].save(tmp_path / "a.webp", save_all=True, append_images=slides[1:], duration=1000)
    with pytest.raises(BadInputError, match=r"animated WebP cannot be read\. Convert it"):
        probe(tmp_path / "a.webp")


def test_animated_avif_is_a_video(tmp_path: Path) -> None:
    slides = [as_pillow(marked(64, 48)).rotate(90 * i) for i in range(3)]
    slides[0].save(tmp_path / "a.avif", save_all=True, append_images=slides[1:], duration=2000)
    frames, _, stats = extract(tmp_path / "a.avif")
    assert [f.timestamp for f in frames] == [0.0, 2.0, 4.0] and not stats["is_image"]
    assert not stats["warnings"]


def test_pages_that_are_not_looked_at_are_named(tmp_path: Path) -> None:
    pages = [as_pillow(marked(64, 48)) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    _, _, stats = extract(tmp_path / "a.tif")
    assert stats["is_image"] and len(stats["warnings"]) == 1
    assert "a.tif" in stats["warnings"][0] and "first of its 3 pages" in stats["warnings"][0]


def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    as_pillow(marked(64, 48)).save(tmp_path / "a.dng", "TIFF", tiffinfo={254: 1})
    with pytest.raises(BadInputError, match=r"preview of another one.*Export it as JPEG"):
        probe(tmp_path / "a.dng")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_pillow(marked(64, 48)).save(tmp_path / "a.png")
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadInputError, match="too large"):
        probe(tmp_path / "a.png")


def test_motion_jpeg_is_a_video_though_it_begins_like_a_still(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", marked(64, 48))[1].tobytes()
    (tmp_path / "a.mjpeg").write_bytes(jpeg * 30)
    assert not probe(tmp_path / "a.mjpeg").is_image
    with av.open(str(tmp_path / "a.mjpeg")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30


@pytest.mark.parametrize(("size", "is_told"), [((9000, 120), True), ((120, 9000), True), ((2000, 120), False)])
def test_a_picture_too_long_to_be_read_is_told_of(tmp_path: Path, size: tuple[int, int], is_told: bool) -> None:
    Pillow.new("RGB", size, (200, 30, 30)).save(tmp_path / "strip.png")
    warnings = extract(tmp_path / "strip.png")[2]["warnings"]
    assert [f"strip.png: a picture of {size[0]} x {size[1]} px" in warning for warning in warnings] == [True] * is_told


def test_data_beside_the_picture_that_cannot_be_read_does_not_spoil_it(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("comment", "x" * 3_000_000, zip=True)
    as_pillow(marked(120, 80)).save(tmp_path / "text.png", pnginfo=text)
    as_pillow(marked(120, 80)).save(tmp_path / "exif.jpg", exif=b"Exif\0\0MM\0*garbage")
    as_pillow(marked(120, 80)).save(tmp_path / "exif.webp", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    for path in sorted(tmp_path.iterdir()):
        _, kept, _ = extract(path)
        assert bright_quarter(kept.image(0)) == (0, 0), path.name


@pytest.mark.skipif(find_spec("ultralytics") is None, reason="ultralytics is not installed (extra `yolo`)")
def test_a_video_is_read_though_ultralytics_changed_how_images_are_opened(clip: tuple[Path, object]) -> None:
    command = [sys.executable, "-c", ULTRALYTICS_FIRST, str(clip[0])]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}, check=False)
    assert done.returncode == 0, done.stderr
