"""A frame is on screen until the next one takes its place: slide shows, animations, and videos of few frames."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.unit.test_extract_frames import extract, grey, level_of, write_video
from touchline.exposure.timeline import Timeline
from touchline.stages.extract_frames import deserialize, serialize
from touchline.values import SampledFrame, SceneFrame


def scenes(frames: Sequence[SampledFrame]) -> list[SceneFrame]:
    return [SceneFrame(f.sequence, f.timestamp, 0, True, None, "", 100.0, 100.0) for f in frames]


def spans(frames: Sequence[SampledFrame], duration_s: float, sample_fps: float = 2.0) -> list[tuple[float, float]]:
    """For what each sample stands [s]."""
    timeline = Timeline(frames, scenes(frames), duration_s=duration_s, sample_fps=sample_fps)
    return [(round(float(a), 3), round(float(b), 3)) for f in frames for _, (a, b) in timeline.moments(f.sequence)]


def sample(sequence: int, at: float, until: float | None) -> SampledFrame:
    return SampledFrame(sequence, 0, at, round(at * 1000), (1, 1000), 64, 48, "", "", 0, until)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_slides_of_unequal_length_stand_for_their_own_time(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 4.0, 9.0, 11.96]
    frames, _, stats = extract(write_video(tmp_path / f"slides.{suffix}", [grey(50 * i) for i in range(4)], times))
    assert spans(frames, stats["duration_s"])[:3] == [(0.0, 4.0), (4.0, 9.0), (9.0, 11.96)]


def test_pictures_of_an_animated_gif_stand_for_their_own_time(tmp_path: Path) -> None:
    slides = [Pillow.new("RGB", (64, 48), (60 * i, 40, 200 - 40 * i)) for i in range(4)]
    slides[0].save(tmp_path / "a.gif", save_all=True, append_images=slides[1:], duration=3000)
    frames, _, stats = extract(tmp_path / "a.gif")
    assert spans(frames, stats["duration_s"]) == [(0.0, 3.0), (3.0, 6.0), (6.0, 9.0), (9.0, 12.0)]


def test_a_video_of_one_frame_a_second_is_not_halved(tmp_path: Path) -> None:
    frames, _, stats = extract(write_video(tmp_path / "slow.mp4", [grey(20 * i) for i in range(8)], range(8)))
    assert spans(frames, stats["duration_s"])[:-1] == [(float(i), i + 1.0) for i in range(7)]


def test_frames_passed_over_are_counted_though_they_are_not_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", [grey(level_of(i)) for i in range(100)])
    frames, _, stats = extract(path)
    assert stats["decoded"] < 80
    assert [f.shown_until for f in frames] == pytest.approx([f.timestamp + 0.04 for f in frames])
    # What changed, changed between the first frame that was passed over and the next sample.
    edges = [(a.timestamp + 0.04 + b.timestamp) / 2 for a, b in pairwise(frames)]
    assert [end for _, end in spans(frames, stats["duration_s"])] == pytest.approx([*edges, 4.0], abs=1e-3)


def test_a_frame_held_for_long_before_quick_ones_keeps_its_seconds(tmp_path: Path) -> None:
    times = [0.0, 5.9, 5.94, 5.98, 6.02, 6.06]
    frames, _, stats = extract(write_video(tmp_path / "v.mkv", [grey(40 * i) for i in range(6)], times))
    assert [f.timestamp for f in frames] == pytest.approx([0.0, 5.9, 6.02], abs=2e-3)
    assert spans(frames, stats["duration_s"])[0] == pytest.approx((0.0, 5.9), abs=2e-3)


@pytest.mark.parametrize("chunk_s", [2.0, 1.3])
def test_until_when_a_frame_is_shown_is_the_same_after_an_interruption(tmp_path: Path, chunk_s: float) -> None:
    times = [i / 25 for i in range(60)] + [3.0 + i for i in range(8)] + [11.0 + i / 25 for i in range(50)]
    path = write_video(tmp_path / "mixed.mp4", [grey(level_of(i)) for i in range(len(times))], times)
    whole, _, _ = extract(path, chunk_s=chunk_s)
    for after in sorted({f.chunk_id for f in whole}):
        assert extract(path, after, chunk_s=chunk_s)[0] == [f for f in whole if f.chunk_id > after]


def test_a_checkpoint_that_does_not_say_until_when_frames_are_shown_is_halved() -> None:
    document = serialize(sample(0, 0.0, None))
    del document["shown_until"]
    frames = [deserialize(document), sample(1, 0.52, None), sample(2, 1.0, None)]
    assert spans(frames, 1.5) == [(0.0, 0.26), (0.26, 0.76), (0.76, 1.5)]


@pytest.mark.parametrize("until", [-1.0, 0.3, 0.500004, 7.0])
def test_no_sample_ends_before_it_starts_or_after_the_next_one_starts(until: float) -> None:
    timeline = Timeline(
        [sample(0, 0.25, until), sample(1, 0.5, 0.52)],
        scenes([sample(0, 0.25, until), sample(1, 0.5, 0.52)]),
        duration_s=1.0,
        sample_fps=2.0,
    )
    ((_, (start, end)),), ((_, (after, _)),) = timeline.moments(0), timeline.moments(1)
    assert start == Fraction(1, 4) < end == after <= Fraction(1, 2)
