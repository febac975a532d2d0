"""Pictures that are in a recording and do not come out of the decoder, or come late: they are told, and when."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.support.recordings import TS_PACKET, extract, joined, noise, played, without_packets, write
from touchline.exposure.timeline import Timeline
from touchline.stages.extract_frames import deserialize, serialize
from touchline.values import SceneFrame
from touchline.video.predicted_pictures import PredictedPictures, Role

OPTIONS = {
    "libx265": {"crf": "20", "x265-params": "log-level=none:keyint=25"},
    "mpeg2video": {"b": "3000000"},
}


def shown_at(packet: av.Packet) -> float:
    return float((packet.pts or 0) * (packet.time_base or 0))


def lose_one(path: Path, role: Role) -> float:
    """Makes nonsense of one picture that no sample is taken of, but for its kind; returns when it is shown [s]."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = PredictedPictures(stream.codec_context.name, bytes(stream.codec_context.extradata or b""))
        packets = [packet for packet in container.demux(stream) if packet.size]
    lost = next(p for p in packets if 2.1 < shown_at(p) < 2.4 and pictures.role(bytes(p)) is role)
    data, packet = path.read_bytes(), bytes(lost)
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, packet[:6] + bytes([0xFF]) * (len(packet) - 6)))
    return shown_at(lost)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_frames_that_a_decoder_drops_are_told(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"disk.{suffix}", noise(150), codec="libx265", options=OPTIONS["libx265"])
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for packet in packets[80:84]:
        # The lengths and the kinds of the units stay: what they say of the picture is nonsense.
        data = data.replace(packet, packet[:6] + bytes([0xFF]) * (len(packet) - 6))
    path.write_bytes(data)
    _, stats, _ = played(path)
    assert 0.16 <= stats["damaged_s"] < 1.5 and stats["damaged_from_s"] == pytest.approx(3.3, abs=0.5)
    (warning,) = stats["warnings"]
    assert warning.startswith(f"disk.{suffix}: {stats['damaged_s']:.2f} s of the video are damaged")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mkv", "libx264", {"x264-params": "scenecut=0:b-adapt=0", "g": "50"}),
        ("a.mp4", "libx264", {"x264-params": "scenecut=0:b-adapt=0", "g": "50"}),
        ("a.mkv", "libx265", {"crf": "20", "x265-params": "log-level=none:keyint=50:scenecut=0:bframes=2"}),
        ("a.mp4", "libx265", {"crf": "20", "x265-params": "log-level=none:keyint=50:scenecut=0:bframes=2"}),
        ("a.mkv", "mpeg2video", {"b": "3000000", "g": "50"}),
    ],
)
def test_a_lost_picture_that_others_are_predicted_from_is_told_though_nobody_asked_for_it(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / name, noise(100), codec=codec, options=options)
    at = lose_one(path, Role.REFERENCED)
    _, stats, _ = played(path)
    assert stats["damaged_places"] == 1 and stats["damaged_from_s"] == pytest.approx(at, abs=0.13)
    assert 0.04 <= stats["damaged_s"] <= 4.0 - at + 0.13


def test_a_lost_picture_that_no_other_is_predicted_from_is_damage_of_its_own_length(tmp_path: Path) -> None:
    options = {"crf": "20", "x265-params": "log-level=none:keyint=50:scenecut=0:bframes=2"}
    path = write(tmp_path / "a.mp4", noise(100), codec="libx265", options=options)
    lose_one(path, Role.UNREFERENCED)
    _, _, stats, _ = extract(path, sample_fps=25)
    assert stats["damaged_s"] == pytest.approx(0.04)


def test_times_that_a_file_does_not_store_are_no_sign_of_lost_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", noise(100), options={"x264-params": "scenecut=0:b-adapt=0", "g": "50"})
    _, stats, _ = played(path)
    assert stats["warnings"] == [] and stats["damaged_s"] == 0.0


@pytest.mark.parametrize(("second", "name"), [("mpeg2video", "MPEG-2"), ("libx265", "HEVC")])
def test_a_change_of_the_codec_is_told_and_no_picture_counts_for_what_follows(
    tmp_path: Path, second: str, name: str
) -> None:
    first = write(tmp_path / "first.ts", noise(75))
    other = write(tmp_path / "second.ts", noise(100), codec=second, options=OPTIONS[second], start_s=3.0)
    frames, stats, _ = played(joined(tmp_path / "air.ts", first, other))
    assert stats["undecoded_s"] == pytest.approx(4.0, abs=0.1) and stats["damaged_s"] == 0.0
    assert frames[-1].timestamp < stats["duration_s"] == pytest.approx(3.0, abs=0.1)
    (warning,) = stats["warnings"]
    assert (
        warning.startswith(("air.ts: from 2.9", "air.ts: from 3.0"))
        and f"coded as {name}, no longer as H.264" in warning
    )


def test_what_comes_back_after_another_codec_is_looked_at(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "0.ts", noise(60)),
        write(tmp_path / "1.ts", noise(100), codec="libx265", options=OPTIONS["libx265"], start_s=2.4),
        write(tmp_path / "2.ts", noise(60), start_s=6.4),
    ]
    frames, stats, _ = played(joined(tmp_path / "air.ts", *parts))
    assert stats["duration_s"] == pytest.approx(8.8, abs=0.1)
    assert stats["undecoded_s"] == pytest.approx(4.0, abs=0.1) and stats["held_s"] == 0.0
    (warning,) = stats["warnings"]
    assert warning.startswith("air.ts: from 2.") and "coded as HEVC" in warning
    (back,) = [frame for frame in frames if frame.missing_since is not None]
    assert back.timestamp == pytest.approx(6.4, abs=0.1) and back.missing_since == pytest.approx(2.4, abs=0.1)
    assert deserialize(serialize(back)) == back and "missing_since" not in serialize(frames[0])
    scenes = [SceneFrame(frame.sequence, frame.timestamp, 0, True, None, "", 90.0, 90.0) for frame in frames]
    timeline = Timeline(frames, scenes, duration_s=stats["duration_s"], sample_fps=2.0)
    stands = sum(timeline.seconds(frame.sequence) for frame in frames)
    assert float(stands) == pytest.approx(stats["duration_s"] - stats["undecoded_s"], abs=0.1)


def test_pictures_that_go_on_in_another_track_are_told(tmp_path: Path) -> None:
    path = tmp_path / "air.flv"
    first = write(tmp_path / "a.flv", noise(75))
    second = write(tmp_path / "b.flv", noise(75), codec="flv", options={"bf": "0"}, start_s=3.0)
    path.write_bytes(first.read_bytes() + second.read_bytes()[13:])
    _, stats, _ = played(path)
    assert stats["duration_s"] == pytest.approx(3.0, abs=0.01)
    assert stats["undecoded_s"] == pytest.approx(3.0, abs=0.1)
    assert any("in another picture track (flv)" in warning for warning in stats["warnings"])


def test_damage_behind_a_gap_is_counted_alike_when_a_run_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "air.ts", noise(200), options={"g": "75", "bf": "3", "crf": "18"})
    packets = path.stat().st_size // TS_PACKET
    _, stats, _ = played(without_packets(path, range(round(packets * 0.4), round(packets * 0.55))), chunk_s=1.0)
    assert stats["damaged_s"] > 0 or stats["held_s"] > 0


def test_the_shape_of_pixels_changes_with_the_picture_it_comes_with(tmp_path: Path) -> None:
    first = write(tmp_path / "first.ts", noise(50), options={"x264-params": "sar=1/1"})
    wide = write(tmp_path / "wide.ts", noise(50), start_s=2.0, options={"x264-params": "sar=2/1"})
    frames, _, _, _ = extract(joined(tmp_path / "air.ts", first, wide), sample_fps=25)
    widths = [frame.width for frame in frames]
    assert widths == sorted(widths) and widths.count(64) == 50


@pytest.mark.parametrize("suffix", ["flv", "mkv", "mp4"])
def test_slides_that_are_held_for_long_are_not_said_to_break_off(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"slides.{suffix}", noise(5), times=[0.0, 4.0, 9.0, 12.0, 16.0])
    _, stats, _ = played(path)
    assert stats["warnings"] == []
