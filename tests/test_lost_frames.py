"""Pictures that are in a recording and do not come out of the decoder, or come late: they are told, and when."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.recordings import TS_PACKET, extract, joined, noise, played, without_packets, write

OPTIONS = {
    "libx265": {"crf": "20", "x265-params": "log-level=none:keyint=25"},
    "mpeg2video": {"b": "3000000"},
}


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
