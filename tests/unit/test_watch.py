"""How long something has stood still, and from when on that is too long."""

from __future__ import annotations

import math

import pytest

from touchline.errors import BadInputError
from touchline.nodes import NODE_NAMES, REPORT, downstream
from touchline.progress import WORK, share_done
from touchline.watch import SLOWER, USUAL_S, Bounds, Watch, in_minutes, stood_still


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_time_counts_as_long_as_the_sign_is_the_same() -> None:
    clock = Clock()
    watch = Watch(60.0, clock)
    assert watch.look("a", 1) == 0.0
    clock.now += 10
    assert watch.look("a", 1) == 10.0
    assert watch.look("b", 1) == 0.0
    clock.now += 5
    assert watch.look("a", 1) == 15.0
    assert watch.look("a", 2) == 0.0
    clock.now += 3
    watch.keep(["b"])
    assert (watch.look("a", 2), watch.look("b", 1)) == (0.0, 8.0)


def test_a_watcher_that_slept_has_not_seen_anybody_stand_still() -> None:
    clock = Clock()
    watch = Watch(40.0, clock)
    watch.look("a", 1)
    # The machine was suspended, or the watcher stopped, for ten hours.
    clock.now += 36_000
    assert watch.look("a", 1) == 40.0


def test_stages_that_wait_for_others_have_longer() -> None:
    bounds = Bounds.parse("", "X")
    assert bounds.of("run_ocr") == bounds.of(None) == bounds.of(REPORT) == USUAL_S
    assert all(bounds.of(stage) == seconds > USUAL_S for stage, seconds in SLOWER.items())


def test_one_number_is_for_all_stages_and_pairs_are_for_some() -> None:
    assert {Bounds.parse("60", "X").of(stage) for stage in (*NODE_NAMES, REPORT, None)} == {60.0}
    some = Bounds.parse(" run_ocr=5 , extract_frames=0", "X")
    assert (some.of("run_ocr"), some.of("extract_frames"), some.of("filter_scenes")) == (5.0, math.inf, USUAL_S)


@pytest.mark.parametrize("text", ["soon", "run_ocr=", "-1", "inf", "nan", "run_ocr=x", "read_text=5", "=5"])
def test_what_is_no_bound_is_refused_with_the_name_of_the_variable(text: str) -> None:
    with pytest.raises(BadInputError, match="^X: "):
        Bounds.parse(text, "X")


def test_times_are_said_as_people_say_them() -> None:
    assert [in_minutes(s) for s in (0.4, 59.0, 60.0, 3599.0, 3600.0, 7500.0)] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "1 h 00 min",
        "2 h 05 min",
    ]
    assert stood_still(725.0, "run_ocr") == "no progress for 12 min in run_ocr"


def test_the_share_done_rises_from_stage_to_stage_to_one() -> None:
    stages = (*NODE_NAMES, REPORT)
    shares = [share_done(stages, stage, share) for stage in stages for share in (0.0, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(1.0)
    assert set(WORK) == set(stages)


def test_a_replay_begins_at_nothing() -> None:
    assert share_done(downstream("run_ocr"), "run_ocr", 0.0) == 0.0
    assert share_done(["run_ocr"], "run_ocr", 0.25) == 0.25
