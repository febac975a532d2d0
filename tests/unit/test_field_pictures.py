"""Interlaced H.264 whose pictures are two fields each: no field is left out, and a picture is as long as two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.support.field_coded import write_field_coded
from tests.support.recordings import extract, joined, noise, played, write
from touchline.video.field_pictures import FieldPictures, Holds

LEVELS = [30 + 17 * index % 200 for index in range(100)]
HALVES = [0.0, 0.52, 1.0, 1.52, 2.0, 2.52, 3.0, 3.52]


@pytest.mark.parametrize("references", [3, 0], ids=["every third referenced", "key pictures alone"])
@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4", "h264"])
def test_samples_of_field_coded_video_are_the_wanted_pictures_both_fields_of_them(
    tmp_path: Path, suffix: str, references: int
) -> None:
    path = write_field_coded(tmp_path / f"air.{suffix}", LEVELS, references=references)
    frames, stats, pictures = played(path)
    assert [frame.timestamp for frame in frames] == pytest.approx(HALVES, abs=2e-3)
    assert stats["duration_s"] == pytest.approx(4.0, abs=2e-3)
    for frame in frames:
        image = np.asarray(cv2.imdecode(np.frombuffer(pictures[frame.sequence], np.uint8), cv2.IMREAD_GRAYSCALE))
        # Samples of 16 to 235 become 0 to 255.
        assert image.mean() == pytest.approx((LEVELS[round(frame.timestamp * 25)] - 16) * 255 / 219, abs=4)
        assert image.std() < 2, "lines of another picture are mixed in"
    assert stats["warnings"] == []


@pytest.mark.parametrize("references", [3, 0], ids=["every third referenced", "key pictures alone"])
@pytest.mark.parametrize("starts", [0.0, 1.0, 7200.0], ids=["begins again", "back", "two hours"])
def test_fields_stay_together_where_the_clock_steps(tmp_path: Path, references: int, starts: float) -> None:
    first = write_field_coded(tmp_path / "p.ts", LEVELS, references=references)
    second = write_field_coded(tmp_path / "q.ts", LEVELS[::-1], references=references, start_s=starts)
    frames, stats, pictures = played(joined(tmp_path / "air.ts", first, second))
    assert [frame.timestamp for frame in frames] == pytest.approx([*HALVES, *(4.0 + at for at in HALVES)], abs=2e-3)
    assert stats["duration_s"] == pytest.approx(8.0, abs=2e-3) and stats["damaged_s"] == 0.0
    ((at, _by),) = stats["clock_steps"]
    assert at == pytest.approx(4.0, abs=0.01)
    for frame in frames:
        image = np.asarray(cv2.imdecode(np.frombuffer(pictures[frame.sequence], np.uint8), cv2.IMREAD_GRAYSCALE))
        level = [*LEVELS, *LEVELS[::-1]][round(frame.timestamp * 25)]
        assert image.mean() == pytest.approx((level - 16) * 255 / 219, abs=4)
        assert image.std() < 2, "lines of another picture are mixed in"


def kinds(path: Path) -> Counter[Holds]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fields = FieldPictures(bytes(stream.codec_context.extradata or b""))
        return Counter(fields.holds(bytes(packet)) for packet in container.demux(stream) if packet.size)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4", "h264", "avi"])
@pytest.mark.parametrize("interlaced", ["interlaced=0", "interlaced=1"])
def test_packets_that_hold_whole_pictures_are_known(tmp_path: Path, suffix: str, interlaced: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(30, (64, 64)), options={"x264-params": interlaced})
    assert kinds(path) == {Holds.FRAME: 30}


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_packets_that_hold_a_field_are_known(tmp_path: Path, suffix: str) -> None:
    assert kinds(write_field_coded(tmp_path / f"a.{suffix}", LEVELS[:30])) == {Holds.ONE_FIELD: 60}


def test_a_packet_without_its_headers_is_not_known() -> None:
    assert FieldPictures(b"").holds(b"\0\0\1\x65\x88\x84") is Holds.UNKNOWN
    assert FieldPictures(b"\1").holds(b"") is Holds.UNKNOWN


@pytest.mark.parametrize("interlaced", ["interlaced=0", "interlaced=1"])
def test_of_whole_pictures_those_are_left_out_that_nobody_asks_for(tmp_path: Path, interlaced: str) -> None:
    path = write(
        tmp_path / "a.ts",
        noise(1, (64, 64)) * 150,
        options={"x264-params": f"{interlaced}:bframes=2:b-adapt=0:b-pyramid=none"},
    )
    _, _, stats, _ = extract(path)
    assert stats["decoded"] < 90
