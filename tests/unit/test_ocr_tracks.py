"""Linking lines of text over frames, and what a track's readings agree on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchline.geometry import bounds, iou, quad_iou
from touchline.ocr.consensus import vote
from touchline.ocr.tracks import Tracker, same_place
from touchline.values import Quad


def line(x: float, y: float, width: float = 100, height: float = 20) -> Quad:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def test_a_line_that_moves_with_the_camera_keeps_its_track() -> None:
    tracker = Tracker()
    first = tracker.step(0, 0.0, None, [(line(100, 50), "PEPSI", 0.9), (line(300, 50), "VISA", 0.9)])
    pan = (1.0, 0.0, -150.0, 0.0, 1.0, 4.0)
    second = tracker.step(0, 0.5, pan, [(line(150, 54), "VISA", 0.9), (line(-50, 54), "EPSI", 0.8)])
    assert first == [0, 1]
    assert second == [1, 0]


def test_a_board_that_changes_starts_a_new_track_in_the_same_place() -> None:
    tracker = Tracker()
    [before] = tracker.step(0, 0.0, None, [(line(100, 50), "HEINEKEN", 0.95)])
    [after] = tracker.step(0, 0.5, (1, 0, 0, 0, 1, 0), [(line(100, 50), "QATAR AIRWAYS", 0.95)])
    assert before != after


def test_a_weak_misreading_in_the_same_place_stays_in_the_track() -> None:
    tracker = Tracker()
    [before] = tracker.step(0, 0.0, None, [(line(100, 50), "HEINEKEN", 0.95)])
    [after] = tracker.step(0, 0.5, (1, 0, 0, 0, 1, 0), [(line(100, 50), "IIOIMOXC", 0.4)])
    assert before == after


def test_two_passes_over_one_line_share_a_track_and_two_lines_do_not() -> None:
    tracker = Tracker()
    numbers = tracker.step(
        0, 0.0, None, [(line(100, 50), "NISSAN", 0.9), (line(102, 51), "NISSAN", 0.8), (line(300, 50), "NISSAN", 0.9)]
    )
    assert numbers == [0, 0, 1]
    again = tracker.step(0, 0.5, None, [(line(101, 50), "NISSAN", 0.9), (line(301, 50), "NISSAN", 0.9)])
    assert again == [0, 1]


def test_a_cut_and_a_long_absence_end_a_track() -> None:
    tracker = Tracker()
    [first] = tracker.step(0, 0.0, None, [(line(100, 50), "NISSAN", 0.9)])
    [after_cut] = tracker.step(1, 0.5, None, [(line(100, 50), "NISSAN", 0.9)])
    [much_later] = tracker.step(1, 9.5, None, [(line(100, 50), "NISSAN", 0.9)])
    assert len({first, after_cut, much_later}) == 3


def test_a_tracker_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    whole, halted = Tracker(), Tracker()
    for tracker in (whole, halted):
        tracker.step(0, 0.0, None, [(line(100, 50), "NISSAN", 0.9)])
    resumed = Tracker(halted.state())
    lines = [(line(103, 50), "NISSAN", 0.9), (line(300, 50), "VISA", 0.9)]
    assert resumed.step(0, 0.5, None, lines) == whole.step(0, 0.5, None, lines)
    assert resumed.state() == whole.state()


def test_same_place_is_half_of_the_smaller_line() -> None:
    assert same_place(line(0, 0, 100), line(10, 0, 40))
    assert not same_place(line(0, 0, 100), line(90, 0, 40))


def test_slanted_lines_below_one_another_are_not_in_the_same_place() -> None:
    upper: Quad = ((100, 200), (500, 60), (510, 95), (110, 235))
    lower: Quad = ((100, 250), (500, 110), (510, 145), (110, 285))
    assert iou(bounds(upper), bounds(lower)) > 0.5
    assert not same_place(upper, lower)
    assert quad_iou(upper, lower) == 0.0
    assert same_place(upper, upper)
    assert quad_iou(upper, upper) == pytest.approx(1.0)
    assert quad_iou(line(0, 0), line(50, 0)) == pytest.approx(1 / 3)


def test_readings_vote_letter_by_letter() -> None:
    readings = [("apotalds", 0.9), ("apotgl.de", 0.9), ("apotal.de", 0.9), ("apotaide", 0.8), ("apotal.de", 0.7)]
    text, agreement = vote(readings)
    assert text == "apotal.de"
    assert 0.7 < agreement <= 1.0


def test_a_vote_can_find_a_text_that_nobody_read() -> None:
    text, _ = vote([("Hxineken", 0.9), ("Heinexen", 0.9), ("Heinekem", 0.9)])
    assert text == "Heineken"


def test_what_only_some_read_behind_a_word_is_voted_away_letter_by_letter() -> None:
    # A wordmark's pictorial mark is read as another letter each time; the last letter is put in by most.
    readings = ["Pum", "PUma", "Pum", "PuminX", "PUmAX", "PUMR", "PumAX", "PumG", "PUmRY"]
    text, agreement = vote([(text, 0.65) for text in readings])
    assert text.casefold() == "puma"
    assert 0.7 < agreement < 0.9


def test_nobody_votes() -> None:
    assert vote([]) == ("", 0.0)
    assert vote([("", 0.5)]) == ("", 0.0)


@given(st.text(min_size=1, max_size=20), st.integers(1, 6), st.floats(0.1, 1.0))
def test_a_unanimous_vote_changes_nothing(text: str, voters: int, weight: float) -> None:
    voted, agreement = vote([(text, weight)] * voters)
    assert voted == text
    assert abs(agreement - 1.0) < 1e-6


@given(st.lists(st.tuples(st.text(max_size=12), st.floats(0.0, 1.0)), max_size=8))
def test_a_vote_on_anything_is_a_text_and_a_share(readings: list[tuple[str, float]]) -> None:
    text, agreement = vote(readings)
    assert isinstance(text, str)
    assert 0.0 <= agreement <= 1.0 + 1e-9
