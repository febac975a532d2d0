"""Pictures that are in a recording and do not come out of the decoder, or come late: they are told, and when."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.recordings import TS_PACKET, extract, joined, noise, played, without_packets, write
from touchline.predicted_pictures import PredictedPictures, Role

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


@pytest.mark.parametrize("second", ["mpeg2video", "libx265"])
def test_a_change_of_the_codec_costs_no_second_without_a_word(tmp_path: Path, second: str) -> None:
    first = write(tmp_path / "first.ts", noise(75))
    other = write(tmp_path / "second.ts", noise(100), codec=second, options=OPTIONS[second], start_s=3.0)
    _, stats, _ = played(joined(tmp_path / "air.ts", first, other))
    assert stats["damaged_s"] == pytest.approx(4.0, abs=0.3)
    assert stats["damaged_from_s"] == pytest.approx(3.0, abs=0.3)


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
