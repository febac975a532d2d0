"""`extract_frames` on videos made for the purpose: what is taken, when, which way up, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from touchline.errors import BadInputError
from touchline.stages.extract_frames import ExtractFrames, ExtractFramesConfig, deserialize, probe, serialize
from touchline.values import Image, SampledFrame


def grey(level: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), level, np.uint8)


def level_of(index: int) -> int:
    return 20 + 17 * index % 200


def marked(width: int, height: int) -> Image:
    """A dark picture with a bright top left quarter: shows which way up it stands."""
    image = grey(30, width, height)
    image[: height // 2, : width // 2] = 220
    return image


def write_video(
    path: Path,
    images: Sequence[Image],
    times: Sequence[float] | None = None,
    *,
    codec: str = "libx264",
    rotation: int = 0,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Images at given times [s, to the millisecond]; 25 a second unless told."""
    stamps = [i / 25 for i in range(len(images))] if times is None else list(times)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.height, stream.width = images[0].shape[:2] if images else (48, 64)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"g": "12", "bf": "2", "crf": "4"}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        base = Fraction(1, 1000) if times is not None else Fraction(1, 25)
        if not images:
            container.start_encoding()
        for image, stamp in zip(images, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(stamp / base), base
            container.mux(stream.encode(frame))
        if images:
            container.mux(stream.encode(None))
    return path


class Kept(dict[int, bytes]):
    """A frame store in memory."""

    def save(self, sequence: int, jpeg: bytes) -> str:
        assert sequence not in self
        self[sequence] = jpeg
        return f"frames/{sequence:06d}.jpg"

    def image(self, sequence: int) -> Image:
        image: Any = cv2.imdecode(np.frombuffer(self[sequence], np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(image, np.uint8)


def extract(path: Path, after: int | None = None, **settings: Any) -> tuple[list[SampledFrame], Kept, dict[str, Any]]:
    kept = Kept()
    worker = ExtractFrames(path, ExtractFramesConfig(**settings), save=kept.save)
    frames = []
    for chunk_id, chunk in worker.chunks(after):
        assert chunk and all(frame.chunk_id == chunk_id for frame in chunk)
        frames += chunk
    return frames, kept, worker.stats()


@pytest.fixture
def levels() -> list[Image]:
    """Ten seconds of frames whose grey leaps, so that a picture tells which of its neighbours it is not."""
    return [grey(level_of(i)) for i in range(250)]


def test_samples_are_the_first_frames_at_or_after_each_half_second(tmp_path: Path, levels: list[Image]) -> None:
    frames, kept, stats = extract(write_video(tmp_path / "a.mp4", levels))
    assert [frame.sequence for frame in frames] == list(range(20))
    assert [frame.timestamp for frame in frames[:4]] == [0.0, 0.52, 1.0, 1.52]
    shown = [float(kept.image(frame.sequence).mean()) for frame in frames]
    assert shown == pytest.approx([level_of(round(frame.timestamp * 25)) for frame in frames], abs=5)
    assert stats["sampled"] == 20 and stats["warnings"] == []
    # B-frames that nobody asks for are not decoded.
    assert stats["decoded"] < 200 and stats["duration_s"] == 10.0
    assert stats["duration_s"] == pytest.approx(10.0) and stats["fps"] == pytest.approx(25.0)
    assert all(f.pts * f.time_base[0] / f.time_base[1] == pytest.approx(f.timestamp) for f in frames)
    assert deserialize(serialize(frames[3])) == frames[3]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_keeps_true_times(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 0.1, 0.45, 0.61, 0.7, 1.9, 2.05, 2.06, 4.4, 4.45]
    frames, kept, _ = extract(write_video(tmp_path / f"v.{suffix}", [grey(20 * i + 5) for i in range(10)], times))
    assert [f.timestamp for f in frames] == pytest.approx([0.0, 0.61, 1.9, 2.05, 4.4], abs=1e-3)
    assert [f.sequence for f in frames] == [0, 1, 3, 4, 8]
    assert [round(kept.image(f.sequence).mean() / 20 - 0.25) for f in frames] == [0, 3, 5, 6, 8]


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_times_count_from_the_first_frame_wherever_the_clock_starts(
    tmp_path: Path, levels: list[Image], suffix: str
) -> None:
    path = write_video(tmp_path / f"late.{suffix}", levels[:100], [7.36 + i / 25 for i in range(100)])
    frames, _, stats = extract(path)
    assert frames[0].timestamp == 0.0 and frames[0].pts > 0
    assert [f.timestamp for f in frames] == pytest.approx([0, 0.52, 1, 1.52, 2, 2.52, 3, 3.52], abs=2e-3)
    assert stats["duration_s"] == pytest.approx(4.0, abs=0.05) and not stats["warnings"]


@pytest.mark.parametrize(("rotation", "bright"), [(90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_rotation_in_the_metadata_is_applied(tmp_path: Path, rotation: int, bright: tuple[int, int]) -> None:
    path = write_video(tmp_path / "turned.mp4", [marked(96, 64)] * 5, rotation=rotation)
    frames, kept, _ = extract(path)
    image = kept.image(0)
    turned = rotation % 180 != 0
    assert image.shape == ((96, 64, 3) if turned else (64, 96, 3))
    assert (frames[0].width, frames[0].height) == (image.shape[1], image.shape[0])
    height, width = image.shape[0] // 2, image.shape[1] // 2
    quarters = [[image[y * height :][:height, x * width :][:, :width].mean() for x in (0, 1)] for y in (0, 1)]
    assert divmod(int(np.argmax(quarters)), 2) == bright
    assert probe(path).rotation == rotation if rotation != 180 else abs(probe(path).rotation) == 180


def test_pixels_become_square_and_large_frames_small(tmp_path: Path) -> None:
    path = write_video(tmp_path / "anamorphic.mkv", [marked(144, 116)] * 3, aspect=Fraction(16, 9))
    assert (probe(path).width, probe(path).height) == (256, 116)
    frames, kept, stats = extract(path, max_side=128)
    assert kept.image(0).shape == (58, 128, 3)
    assert (frames[0].width, frames[0].height, stats["width"], stats["height"]) == (128, 58, 128, 58)


def test_tall_pixels_stretch_the_height(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "tall.mkv", [marked(128, 96)] * 3, aspect=Fraction(8, 9)))
    assert (info.width, info.height) == (128, 108)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_is_a_video_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"still.{suffix}"
    assert cv2.imwrite(str(path), marked(120, 80))
    frames, kept, stats = extract(path)
    assert [(f.sequence, f.timestamp, f.chunk_id) for f in frames] == [(0, 0.0, 0)]
    assert kept.image(0).shape == (80, 120, 3)
    assert stats["duration_s"] == 0.0 and stats["is_image"] and probe(path).is_image
    assert extract(path, after=0)[0] == []


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("avi", "mpeg4")]
)
@pytest.mark.parametrize("chunk_s", [2.0, 1.3])
def test_going_on_after_a_chunk_gives_what_an_undisturbed_run_gives(
    tmp_path: Path, levels: list[Image], suffix: str, codec: str, chunk_s: float
) -> None:
    path = write_video(tmp_path / f"a.{suffix}", levels, codec=codec)
    whole, pictures, stats = extract(path, chunk_s=chunk_s)
    for after in (0, 2, whole[-1].chunk_id):
        rest, some, again = extract(path, after, chunk_s=chunk_s)
        assert rest == [frame for frame in whole if frame.chunk_id > after]
        assert all(some[sequence] == pictures[sequence] for sequence in some)
        assert again["duration_s"] == stats["duration_s"] and again["warnings"] == []
    assert again["decoded"] < stats["decoded"]


def test_a_video_that_breaks_off_keeps_what_decodes_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    noise = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(150)]
    path = write_video(tmp_path / "cut.mp4", noise, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, _, stats = extract(path)
    assert 4 <= len(frames) <= 8
    assert 2.0 < stats["duration_s"] < 4.0
    assert any("ends early" in warning and "cut.mp4" in warning for warning in stats["warnings"])


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    path = write_video(tmp_path / "a.ts", [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(150)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(data)
    frames, _, stats = extract(path)
    assert frames[0].timestamp == 0.0 and frames[-1].timestamp > 5.0
    assert stats["sampled"] == len(frames)


def text_file(path: Path) -> None:
    path.write_text("this is no video\n" * 50)


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/etc/hostname\n#EXT-X-ENDLIST\n")


def frameless(path: Path) -> None:
    write_video(path, [])


def indexless(path: Path) -> None:
    whole = write_video(path, [grey(i) for i in range(50)])
    whole.write_bytes(whole.read_bytes()[:600])


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.touch(), "empty"),
        (text_file, "neither"),
        (playlist, "neither"),
        (frameless, "no"),
        (indexless, "truncated"),
        (sound, "no moving picture"),
    ],
)
def test_bad_input_is_refused_before_any_work(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "input.mp4"
    make(path)
    with pytest.raises(BadInputError, match=says) as caught:
        probe(path)
    assert str(path) in str(caught.value)
    with pytest.raises(BadInputError):
        next(iter(ExtractFrames(path, ExtractFramesConfig(), save=Kept().save).chunks()))


def test_a_failing_store_fails_the_extraction(tmp_path: Path, levels: list[Image]) -> None:
    def refuse(sequence: int, jpeg: bytes) -> str:
        raise OSError("store is gone")

    chunks: Iterator[Any] = ExtractFrames(
        write_video(tmp_path / "a.mp4", levels), ExtractFramesConfig(), save=refuse
    ).chunks()
    with pytest.raises(OSError, match="store is gone"):
        list(chunks)
