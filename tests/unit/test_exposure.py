"""Exposure on cases worked out by hand, and its invariants on any."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from touchline.errors import CheckpointError
from touchline.exposure.candidates import text_key
from touchline.exposure.intervals import subtract, total, union
from touchline.exposure.measure import Exposure, Observation, expose, observation
from touchline.exposure.timeline import Timeline
from touchline.geometry import box_quad
from touchline.values import Box, BrandDetection, SampledFrame, SceneFrame, Zone

SIZE = (1000, 500)


def frame(sequence: int, pts: int, base: tuple[int, int] = (1, 1000), first: int = 0) -> SampledFrame:
    stamp = round(float((pts - first) * Fraction(*base)), 6)
    return SampledFrame(sequence, 0, stamp, pts, base, *SIZE, f"k{sequence}", "", 0)


def scene(sequence: int, shot: int = 0, represented_by: int | None = None, kept: bool | None = None) -> SceneFrame:
    kept = represented_by is None if kept is None else kept
    return SceneFrame(sequence, sequence / 2, shot, kept, represented_by, "" if kept else "duplicate", 100, 100)


def timeline(
    count: int, scenes: Sequence[SceneFrame] = (), duration_s: float | None = None, is_image: bool = False
) -> Timeline:
    """`count` samples, half a second apart."""
    return Timeline(
        [frame(i, i * 500) for i in range(count)],
        scenes or [scene(i) for i in range(count)],
        duration_s=count / 2 if duration_s is None else duration_s,
        sample_fps=2.0,
        is_image=is_image,
    )


def seen(
    sequence: int, brand: str = "a", box: Box = (400, 225, 600, 275), zone: Zone = "board", **values: float
) -> tuple[int, Observation]:
    detection = BrandDetection(
        sequence=sequence,
        timestamp=sequence / 2,
        shot=0,
        track=0,
        brand_id=brand,
        brand_name=brand,
        source="ocr",
        text=brand,
        confidence=values.get("confidence", 1.0),
        quad=box_quad(box),
        zone=zone,
        unoccluded=values.get("unoccluded", 1.0),
        clarity=values.get("clarity", 1.0),
    )
    return sequence, observation(detection, SIZE)


def exposures(line: Timeline, *all_seen: tuple[int, Observation], gap: float = 1.0) -> list[Exposure]:
    by_frame: dict[int, list[Observation]] = defaultdict(list)
    for sequence, one in all_seen:
        by_frame[sequence].append(one)
    return expose(by_frame, line, bridge_gap=Fraction(gap), full_size_share=0.08)


def seconds(spans: Sequence[tuple[Fraction, Fraction]]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in spans]


def test_a_sample_stands_halfway_to_its_neighbours_the_first_from_the_start_the_last_until_the_end() -> None:
    line = timeline(10, duration_s=5.3)
    (exposure,) = exposures(line, seen(2), seen(3), seen(9))
    assert seconds(exposure.intervals) == [(0.75, 1.75), (4.25, 5.3)]
    (exposure,) = exposures(line, seen(0))
    assert seconds(exposure.intervals) == [(0.0, 0.25)]
    assert float(line.time(3)) == 1.5, "the moment of the picture itself"


@settings(deadline=None)
@given(st.fractions(Fraction(1, 25), 9, max_denominator=25), st.fractions(0, 9, max_denominator=25))
def test_a_boundary_is_never_further_off_than_half_a_sample(begins: Fraction, ends: Fraction) -> None:
    shown = [i for i in range(20) if begins <= Fraction(i, 2) < ends]
    assume(shown)
    (exposure,) = exposures(timeline(20), *[seen(i) for i in shown])
    ((start, end),) = exposure.intervals
    assert abs(start - begins) <= Fraction(1, 4)
    assert abs(end - ends) <= Fraction(1, 4)


def test_the_last_sample_of_a_video_of_unknown_length_stands_for_one_sample() -> None:
    line = timeline(4, duration_s=0.0)
    assert float(line.duration) == 2.0
    assert seconds(exposures(line, seen(3))[0].intervals) == [(1.25, 2.0)]


def test_a_still_has_an_interval_of_no_length() -> None:
    line = timeline(1, duration_s=0.0, is_image=True)
    (exposure,) = exposures(line, seen(0))
    assert seconds(exposure.intervals) == [(0.0, 0.0)]
    assert total(exposure.intervals) == 0
    assert exposure.mean.factors.visibility > 0
    assert [float(s.span[1]) for s in exposure.stretches] == [0.0]


def test_odd_clocks_stay_exact() -> None:
    ntsc = (1001, 30000)
    frames = [frame(i, 7 + i * 15, ntsc, first=7) for i in range(4)]
    line = Timeline(frames, [scene(i) for i in range(4)], duration_s=2.002, sample_fps=2.0)
    (exposure,) = exposures(line, seen(1), seen(2))
    assert exposure.intervals == ((Fraction(1001, 4000), Fraction(5005, 4000)),)


def test_frames_that_a_kept_frame_represents_count_as_it() -> None:
    scenes = [scene(0), scene(1, represented_by=0), scene(2, represented_by=0), scene(3), scene(4, represented_by=0)]
    line = timeline(5, scenes)
    assert float(line.seconds(0)) == 2.0
    assert seconds(exposures(line, seen(0), gap=0.0)[0].intervals) == [(0.0, 1.25), (1.75, 2.5)]


def test_black_frames_stand_for_nothing_but_a_short_gap_in_a_shot_is_bridged() -> None:
    scenes = [scene(i, kept=i not in {2, 3}) for i in range(6)]
    line = timeline(6, scenes)
    observations = [seen(i) for i in (0, 1, 4, 5)]
    assert seconds(exposures(line, *observations, gap=1.0)[0].intervals) == [(0.0, 3.0)]
    assert seconds(exposures(line, *observations, gap=0.9)[0].intervals) == [(0.0, 0.75), (1.75, 3.0)]


def test_a_gap_is_never_bridged_across_a_cut() -> None:
    line = timeline(6, [scene(i, shot=int(i >= 3)) for i in range(6)])
    (exposure,) = exposures(line, seen(1), seen(3), gap=5.0)
    assert seconds(exposure.intervals) == [(0.25, 0.75), (1.25, 1.75)]
    assert [float(cut) for cut in line.cuts()] == [1.25]


def test_presence_on_both_sides_of_a_cut_is_one_occurrence() -> None:
    line = timeline(4, [scene(i, shot=int(i >= 2)) for i in range(4)])
    assert seconds(exposures(line, *[seen(i) for i in range(4)])[0].intervals) == [(0.0, 2.0)]


def test_alone_are_the_seconds_without_any_other_brand() -> None:
    line = timeline(6)
    a, b, c = exposures(line, *[seen(i) for i in range(5)], *[seen(i, "b") for i in (1, 2)], seen(5, "c"), gap=0)
    assert [(e.brand_id, float(e.solus)) for e in (a, b, c)] == [("a", 1.25), ("b", 0.0), ("c", 0.75)]


def test_several_boards_add_to_the_share_but_not_to_the_seconds() -> None:
    line = timeline(2)
    one, other = (0, 0, 100, 50), (500, 0, 700, 50)
    (exposure,) = exposures(line, seen(0, box=one), seen(0, box=other), seen(1, box=one))
    assert total(exposure.intervals) == 1
    assert exposure.largest_share == pytest.approx(0.03)
    assert exposure.mean.share == pytest.approx(0.25 * 0.03 + 0.75 * 0.01), (
        "the first of two stands for a quarter second"
    )


def test_two_readings_of_one_board_count_once_and_the_share_never_exceeds_the_picture() -> None:
    line = timeline(1)
    (exposure,) = exposures(line, seen(0, box=(100, 100, 300, 150)), seen(0, box=(104, 100, 300, 150)))
    assert exposure.mean.share == pytest.approx(0.02)
    (exposure,) = exposures(line, seen(0, box=(-500, -500, 1500, 1000)))
    assert exposure.mean.share == 1.0


def test_the_factors_follow_their_formulas() -> None:
    line = timeline(1)
    corner = (900, 450, 1000, 500)
    a, b = exposures(
        line,
        seen(0, "a", clarity=0.6, unoccluded=0.5, confidence=0.7),
        seen(0, "b", box=corner, clarity=0.9),
    )
    assert a.mean.share == pytest.approx(0.02)
    assert b.mean.share == pytest.approx(0.01)
    assert a.mean.factors == pytest.approx((math.sqrt(0.02 / 0.08), 1.0, 0.6, 0.5, 2 / 3))
    distance = math.hypot(450, 225) / math.hypot(500, 250)
    assert b.mean.factors == pytest.approx((math.sqrt(0.01 / 0.08), 1 - distance**2, 0.9, 1.0, 1 / 3))
    assert a.mean.factors.visibility == pytest.approx(0.5 * 1.0 * 0.6 * 0.5 * 2 / 3)
    assert a.mean.confidence == 0.7


def test_averages_weigh_by_the_seconds_a_frame_stands_for() -> None:
    line = timeline(4, [scene(0), scene(1, represented_by=0), scene(2, represented_by=0), scene(3)])
    (exposure,) = exposures(line, seen(0, confidence=0.8), seen(3, confidence=0.4))
    assert exposure.mean.confidence == pytest.approx((1.25 * 0.8 + 0.75 * 0.4) / 2)


def test_a_bridged_gap_between_two_zones_belongs_to_the_first() -> None:
    line = timeline(4)
    (exposure,) = exposures(line, seen(0), seen(2, zone="jersey"), seen(3, zone="jersey"))
    assert seconds(exposure.zones["board"]) == [(0.0, 0.75)]
    assert seconds(exposure.zones["jersey"]) == [(0.75, 2.0)]


def test_documents_of_other_frames_are_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="filter_scenes has a document of frame 7"):
        timeline(3, [scene(7)])
    with pytest.raises(CheckpointError, match="frame 5"):
        exposures(timeline(3), seen(5))


@pytest.mark.parametrize(
    ("one", "same"),
    [("Starcasinò.SPORT", "STARCASINO SPORT"), ("ＫＩＡ", "kia"), ("Газпром", "ГАЗПРОМ"), ("!!", "!! ")],
)
def test_texts_that_say_the_same_have_one_key(one: str, same: str) -> None:
    assert text_key(one) == text_key(same) != ""


zones = st.sampled_from(("board", "jersey", "overlay", "other"))
sightings = st.lists(st.tuples(st.integers(0, 19), st.sampled_from("abc"), zones), min_size=1, max_size=40)


@settings(deadline=None)
@given(sightings, st.lists(st.booleans(), min_size=20, max_size=20), st.sampled_from((0.0, 0.5, 1.0, 3.0)))
def test_whatever_is_seen_the_sums_agree(some: list[tuple[int, str, Zone]], cuts: list[bool], gap: float) -> None:
    shots = [sum(cuts[: i + 1]) for i in range(20)]
    line = timeline(20, [scene(i, shot=shots[i]) for i in range(20)], duration_s=9.9)
    found = exposures(line, *(seen(i, brand, zone=zone) for i, brand, zone in some), gap=gap)
    assert {e.brand_id for e in found} == {brand for _, brand, _ in some}
    for exposure in found:
        assert union(*exposure.zones.values()) == exposure.intervals, "zones cover the exposure, and no more"
        for zone, stretches in groupby(sorted(exposure.stretches, key=lambda s: s.zone), key=lambda s: s.zone):
            assert tuple(s.span for s in stretches) == exposure.zones[zone]
        assert exposure.intervals[0][0] >= 0
        assert exposure.intervals[-1][1] <= line.duration
        others = union(*(e.intervals for e in found if e is not exposure))
        assert exposure.solus == total(subtract(exposure.intervals, others))
        assert all(0 <= value <= 1 for value in (*exposure.mean.factors, exposure.mean.share, exposure.mean.confidence))
    observed = {(i, brand) for i, brand, _ in some}
    if gap == 0.0:
        for exposure in found:
            frames = [line.moments(i)[0][1] for i, brand in observed if brand == exposure.brand_id]
            assert exposure.intervals == union(frames)
