"""Recordings with damage in them: what decodes is kept, the same every time, and how much is damaged is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recordings import TS_PACKET, cut, joined, noise, played, with_bit_errors, without_packets, write
from touchline.stages.extract_frames import ExtractFrames, ExtractFramesConfig
from touchline.video.opening import open_video, picture_stream
from touchline.video.playback import Playback

CODECS = {
    "libx264": {"crf": "18"},
    "mpeg2video": {"b": "3000000"},
    "libx265": {"crf": "20", "x265-params": "log-level=none:keyint=12"},
}


@pytest.mark.parametrize("codec", CODECS)
def test_packets_lost_from_a_transport_stream_are_told_in_seconds(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "air.ts", noise(150), codec=codec, options=CODECS[codec])
    packets = path.stat().st_size // TS_PACKET
    frames, stats, _ = played(without_packets(path, [packets // 2, packets // 2 + 30]))
    assert len(frames) == 12
    assert 0.04 <= stats["damaged_s"] <= 2.0 and stats["damaged_places"] >= 1
    assert stats["damaged_from_s"] == pytest.approx(3.0, abs=0.8)
    (warning,) = stats["warnings"]
    assert warning.startswith(f"air.ts: {stats['damaged_s']:.2f} s of the video are damaged")
    assert f"{stats['damaged_from_s']:.2f} s" in warning


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "mpeg2video")]
)
def test_bit_errors_are_told_and_decode_alike_every_time(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write(tmp_path / f"disk.{suffix}", noise(150), codec=codec, options=CODECS.get(codec, {"b": "3000000"}))
    path = with_bit_errors(path, 0.4, 0.6, 40)
    _, stats, pictures = played(path)
    assert stats["damaged_s"] > 0.2 and 1.5 < stats["damaged_from_s"] < 4.0
    assert any("are damaged" in warning for warning in stats["warnings"])
    assert played(path)[2] == pictures


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
def test_a_whole_recording_is_not_said_to_be_damaged(tmp_path: Path, suffix: str, codec: str) -> None:
    _, stats, _ = played(write(tmp_path / f"whole.{suffix}", noise(100), codec=codec, options=CODECS[codec]))
    assert stats["warnings"] == [] and stats["damaged_s"] == 0.0 and stats["damaged_from_s"] is None


@pytest.mark.parametrize("gop", ["open-gop=1:keyint=12:bframes=3:b-adapt=0", "interlaced=1:bframes=2:b-adapt=0"])
def test_a_recording_that_begins_between_key_pictures_is_not_said_to_be_damaged(tmp_path: Path, gop: str) -> None:
    path = write(tmp_path / "tuned_in.ts", noise(150), options={"x264-params": gop})
    data = path.read_bytes()
    packets = len(data) // TS_PACKET
    # The tables at the start are kept, so that the file can be opened.
    path.write_bytes(data[: 3 * TS_PACKET] + data[packets // 3 * TS_PACKET :])
    worker = ExtractFrames(path, ExtractFramesConfig(), save=lambda sequence, jpeg: str(sequence))
    list(worker.chunks())
    assert worker.stats()["warnings"] == []
    assert worker.stats()["duration_s"] > 2.0


def test_frames_near_lost_packets_are_decoded_alike_though_none_is_known_to_be_damaged(tmp_path: Path) -> None:
    whole = write(tmp_path / "air.ts", noise(100), codec="libx265", options=CODECS["libx265"])
    twice = joined(tmp_path / "twice.ts", whole, whole)
    lossy = without_packets(joined(tmp_path / "lossy.ts", whole), [whole.stat().st_size // TS_PACKET // 2])
    for path, is_suspect in ((whole, False), (twice, False), (lossy, True)):
        with open_video(path) as container:
            playback = Playback(container, picture_stream(container, path))
            shown = [playback.is_doubtful(frame.time) for frame in playback.frames()]
        assert shown[-1] is is_suspect and not shown[0]
        assert shown == sorted(shown)


def test_a_hole_in_a_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "hole.mkv", noise(150), options=CODECS["libx264"])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 6] = bytes(len(data) // 6)
    path.write_bytes(data)
    _, stats, _ = played(path)
    assert any(
        "hole.mkv" in warning and ("damaged" in warning or "no new picture" in warning) for warning in stats["warnings"]
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("index_first.mp4", {"movflags": "faststart"}),
        ("cut.mkv", {}),
        ("cut.avi", {}),
    ],
)
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_a_file_that_is_cut_off_is_told(tmp_path: Path, name: str, options: dict[str, str], share: float) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = cut(write(tmp_path / name, noise(150), codec=codec, muxer=options), share)
    _, stats, _ = played(path)
    assert share * 6 - 1.2 < stats["duration_s"] < share * 6 + 0.3
    if name != "cut.mkv" or share < 0.9:
        (warning,) = stats["warnings"]
        assert f"{name}: the video ends early, at {stats['duration_s']:.2f} s" in warning
