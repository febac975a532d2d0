"""Recordings whose clock steps: nothing of them is lost, no second is counted that was not recorded, and it is told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.recordings import joined, played, write
from touchline.stages.extract_frames import ExtractFrames, ExtractFramesConfig, probe
from touchline.values import Image


def levels(count: int, first: int = 0) -> list[Image]:
    """Pictures whose grey leaps, so that each tells which one it is not."""
    return [np.full((48, 64, 3), level(index), np.uint8) for index in range(first, first + count)]


def level(index: int) -> int:
    return 20 + 17 * index % 200


def shown(pictures: dict[int, bytes]) -> list[float]:
    decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for _, jpeg in sorted(pictures.items())]
    return [float(np.mean(np.asarray(image))) for image in decoded]


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("mkv", "libx264"), ("mpg", "mpeg2video")])
def test_a_recording_that_begins_again_in_the_same_file_is_looked_at_twice(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    part = write(tmp_path / f"part.{suffix}", levels(100), codec=codec)
    frames, stats, pictures = played(joined(tmp_path / f"twice.{suffix}", part, part))
    assert [frame.sequence for frame in frames] == list(range(16))
    assert [frame.timestamp for frame in frames] == pytest.approx(
        [0, 0.52, 1, 1.52, 2, 2.52, 3, 3.52, 4, 4.52, 5, 5.52, 6, 6.52, 7, 7.52], abs=2e-3
    )
    assert shown(pictures)[8:] == pytest.approx(shown(pictures)[:8], abs=1)
    assert stats["duration_s"] == pytest.approx(8.0, abs=0.01) and stats["damaged_s"] == 0.0
    assert stats["clock_steps"] == [[pytest.approx(4.0, abs=0.01), pytest.approx(-4.0, abs=0.01)]]
    (warning,) = stats["warnings"]
    assert f"twice.{suffix}" in warning and "back by 4.00 s at 4.00 s" in warning


@pytest.mark.parametrize(
    "starts", [1.0, 36_004.0, 64.0, 95_000.0], ids=["back", "ten hours", "a minute", "past the wrap"]
)
def test_a_step_of_the_clock_is_closed_as_players_close_it(tmp_path: Path, starts: float) -> None:
    first = write(tmp_path / "p.ts", levels(100))
    second = write(tmp_path / "q.ts", levels(100, first=100), start_s=starts)
    frames, stats, pictures = played(joined(tmp_path / "step.ts", first, second))
    assert [frame.timestamp for frame in frames] == pytest.approx([(25 * k + 1) // 2 / 25 for k in range(16)], abs=1e-3)
    assert shown(pictures) == pytest.approx([level(round(frame.timestamp * 25)) for frame in frames], abs=6)
    assert all(
        frame.pts * frame.time_base[0] / frame.time_base[1] - frames[0].pts / 90_000 == pytest.approx(frame.timestamp)
        for frame in frames
    )
    assert stats["duration_s"] == pytest.approx(8.0, abs=0.01)
    ((at, _by),) = stats["clock_steps"]
    assert at == pytest.approx(4.0, abs=0.01) and "4.00 s" in stats["warnings"][0]


def test_two_steps_are_both_closed(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / f"{i}.ts", levels(75, first=75 * i), start_s=starts) for i, starts in enumerate((50, 4000, 7))
    ]
    frames, stats, pictures = played(joined(tmp_path / "steps.ts", *parts))
    assert len(frames) == 18 and stats["duration_s"] == pytest.approx(9.0, abs=0.01)
    assert shown(pictures) == pytest.approx([level(round(frame.timestamp * 25)) for frame in frames], abs=6)
    assert [at for at, _ in stats["clock_steps"]] == pytest.approx([3.0, 6.0], abs=0.01)
    (warning,) = stats["warnings"]
    assert "1 more time" in warning


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pictures_that_are_held_long_keep_their_times(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 4.0, 9.0, 12.0, 27.0, 31.0]
    frames, stats, _ = played(write(tmp_path / f"slides.{suffix}", levels(6), times=times))
    assert [frame.timestamp for frame in frames] == times
    assert stats["clock_steps"] == [] and stats["warnings"] == []


def test_a_gap_in_a_recording_is_told(tmp_path: Path) -> None:
    first = write(tmp_path / "p.ts", levels(100))
    second = write(tmp_path / "q.ts", levels(50, first=100), start_s=9.0)
    frames, stats, _ = played(joined(tmp_path / "gap.ts", first, second))
    assert frames[8].timestamp == pytest.approx(8.92, abs=0.01) and stats["clock_steps"] == []
    assert stats["held_s"] == pytest.approx(4.96, abs=0.01)
    (warning,) = stats["warnings"]
    assert "gap.ts: 4.96 s of the video have no new picture, at 3.96 s" in warning


def test_a_picture_that_stands_for_hours_among_others_is_told(tmp_path: Path) -> None:
    times = [*(i / 25 for i in range(50)), *(7200 + i / 25 for i in range(50))]
    _, stats, _ = played(write(tmp_path / "long.mp4", levels(100), times=times), chunk_s=3600)
    assert stats["held_s"] == pytest.approx(7198.04, abs=0.1)
    assert "long.mp4" in stats["warnings"][0] and "at 1.96 s" in stats["warnings"][0]


def test_the_fps_of_raw_dv_is_that_of_its_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dv", [np.full((576, 720, 3), 90, np.uint8)] * 30, codec="dvvideo", options={"bf": "0"})
    assert probe(path).fps == 25.0
    frames, stats, _ = played(path)
    assert stats["fps"] == 25.0 and stats["duration_s"] == pytest.approx(1.2) and len(frames) == 3


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_begins_before_the_pictures_is_told_and_is_no_damage(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"late.{suffix}", levels(100), start_s=2.0, sound_s=6.0)
    _, stats, _ = played(path)
    assert stats["duration_s"] == pytest.approx(4.0, abs=0.05)
    assert stats["start_s"] == pytest.approx(2.0, abs=0.05)
    (warning,) = stats["warnings"]
    assert "the first picture is shown 2.0" in warning and "ends early" not in warning


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_sound_that_goes_on_after_the_pictures_is_no_damage(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"sound.{suffix}", levels(75), sound_s=6.0)
    worker = ExtractFrames(path, ExtractFramesConfig(), save=lambda sequence, jpeg: str(sequence))
    list(worker.chunks())
    assert worker.stats()["warnings"] == [] and worker.stats()["duration_s"] == pytest.approx(3.0, abs=0.05)
