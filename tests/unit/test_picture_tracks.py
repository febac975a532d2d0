"""Of several picture tracks the one is looked at that a player shows; the report names it where there was a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.unit.test_extract_frames import extract, grey
from touchline.errors import BadInputError
from touchline.values import Image
from touchline.video.opening import probe


@dataclass(frozen=True)
class Track:
    """Pictures of one grey: `count` of them, `fps` a second."""

    level: int
    width: int = 96
    height: int = 64
    count: int = 50
    fps: int = 25
    codec: str = "libx264"
    marks: int | None = None

    def pictures(self) -> Sequence[Image]:
        return [grey(self.level, self.width, self.height)] * self.count


def write_tracks(path: Path, *tracks: Track) -> Path:
    """The tracks in one file, interleaved by time."""
    with av.open(str(path), "w") as container:
        packets = []
        streams = []
        for track in tracks:
            stream = cast(VideoStream, container.add_stream(track.codec, rate=track.fps))
            stream.width, stream.height = track.width, track.height
            stream.pix_fmt = "yuvj420p" if track.codec == "mjpeg" else "yuv420p"
            if track.marks is not None:
                stream.disposition = Disposition(track.marks)
            streams.append(stream)
        for track, stream in zip(tracks, streams, strict=True):
            for number, image in enumerate(track.pictures()):
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, track.fps)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    return path


def seen(path: Path) -> tuple[int, list[str]]:
    """The grey that is looked at (to the nearest 50), and what the report is told."""
    _, kept, stats = extract(path)
    return round(float(kept.image(0).mean()) / 50) * 50, stats["warnings"]


VIDEO = Track(200)
CASES: dict[str, tuple[str, tuple[Track, ...], int, bool]] = {
    "the default one, not the first": ("mkv", (Track(50, marks=0), Track(200, marks=1)), 200, True),
    "the enabled one, not the first": ("mp4", (Track(50, marks=0), Track(200, marks=1)), 200, True),
    "the default one, not the larger": ("mkv", (Track(50, 192, 128, marks=0), Track(200, marks=1)), 200, True),
    "the larger of two alike": ("ts", (Track(50), Track(200, 192, 128)), 200, True),
    "the first of two equal ones": ("ts", (Track(200), Track(50)), 200, True),
    "not a poster of one picture": ("mov", (Track(50, 320, 320, count=1), VIDEO), 200, False),
    "not a poster that is a JPEG": ("mov", (Track(50, 320, 320, count=1, codec="mjpeg"), VIDEO), 200, False),
    "not a JPEG in Matroska": ("mkv", (Track(50, 320, 320, count=1, codec="mjpeg"), VIDEO), 200, False),
    "not a poster in Matroska": ("mkv", (Track(50, 320, 320, count=1), VIDEO), 200, False),
    "not a poster in a transport stream": ("ts", (Track(50, 320, 320, count=1), VIDEO), 200, False),
    "not previews in JPEG": ("mov", (Track(50, 320, 320, codec="mjpeg"), VIDEO), 200, False),
    "not thumbnails, one a second": ("mov", (Track(50, 320, 320, count=2, fps=1), VIDEO), 200, True),
    "not slides, though they are the default": (
        "mkv",
        (Track(50, 320, 320, 4, 1, marks=1), Track(200, marks=0, count=100)),
        200,
        True,
    ),
    "not a much shorter one": ("mp4", (Track(50, 320, 320, count=30), Track(200, count=350)), 200, True),
    "not cover art, though it is larger": (
        "mp4",
        (VIDEO, Track(50, 320, 320, 1, codec="mjpeg", marks=1024)),
        200,
        False,
    ),
    "motion JPEG where all tracks are": ("mov", (Track(200, codec="mjpeg"), Track(50, codec="mjpeg")), 200, True),
    "a track alone, even of one picture": ("mov", (Track(200, count=1),), 200, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_track_that_a_player_shows_is_looked_at(tmp_path: Path, case: str) -> None:
    suffix, tracks, level, is_told = CASES[case]
    path = write_tracks(tmp_path / f"a.{suffix}", *tracks)
    grey_level, warnings = seen(path)
    assert grey_level == level
    assert bool(warnings) is is_told
    if is_told:
        assert "a." in warnings[0] and f"of its {len(tracks)} video tracks" in warnings[0]


def test_the_choice_is_told_with_numbers_and_sizes(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.ts", Track(50), Track(200, 192, 128))
    info = probe(path)
    assert (info.track, info.tracks, info.width, info.height) == (2, 2, 192, 128)
    (note,) = info.notes
    assert "number 2 (192 x 128 px) was analysed, not number 1 (96 x 64 px)" in note
    stats = extract(path)[2]
    assert (stats["track"], stats["tracks"]) == (2, 2)


def test_a_track_is_chosen_alike_after_an_interruption(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", Track(50, marks=0), Track(200, marks=1))
    whole, _, stats = extract(path, chunk_s=1)
    rest, _, again = extract(path, 0, chunk_s=1)
    assert rest == [frame for frame in whole if frame.chunk_id > 0]
    assert again["warnings"] == stats["warnings"]


def unknown(path: Path, count: int) -> Path:
    """Makes the codec of the first `count` tracks of a Matroska file one that nobody knows."""
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_UNKNOWN/CODEC", count))
    return path


def test_a_track_that_cannot_be_decoded_is_passed_over_and_named(tmp_path: Path) -> None:
    path = unknown(write_tracks(tmp_path / "a.mkv", Track(50), Track(200)), 1)
    level, warnings = seen(path)
    assert level == 200
    assert "number 1 (in a codec that cannot be decoded here)" in warnings[0]


def test_a_poster_is_not_looked_at_in_place_of_a_video_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = unknown(write_tracks(tmp_path / "a.mkv", Track(200), Track(50, count=1, codec="mjpeg")), 1)
    with pytest.raises(BadInputError, match="codec that cannot be decoded here"):
        probe(path)
