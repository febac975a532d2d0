"""Text that is still there is recognised by its pixels; what changed, left or was covered is not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from touchline.geometry import bounds, box_quad
from touchline.ocr.engine import StripText, TextPlace
from touchline.ocr.persistence import Line, StripsSearched, follow, pixels_of
from touchline.values import Box

BOARD: Box = (100, 100, 420, 150)
STRIP: Box = (0, 95, 640, 155)


def frame(text: str = "HEINEKEN", pan: int = 0, seed: int = 1) -> NDArray[np.uint8]:
    """A board with text in front of a stand, 640 x 360, everything but the overlay moved by the camera."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.integers(30, 120, (60, 160), np.uint8), (1280, 360), interpolation=cv2.INTER_CUBIC)
    scene[95:155] = 40
    cv2.putText(scene, text, (320 + 105, 140), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 230, 3, cv2.LINE_AA)
    picture = scene[:, 320 - pan : 960 - pan].copy()
    cv2.rectangle(picture, (20, 20), (160, 50), 20, -1)
    cv2.putText(picture, "FAL 1-0", (25, 44), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return picture.astype(np.uint8)


def line(box: Box = BOARD, text: str = "HEINEKEN") -> Line:
    return Line(TextPlace(box_quad(box)), text, 0.92, "strip", 0.0)


LINES = [line(), line((20, 20, 160, 50), "FAL 1-0")]


@pytest.fixture
def searched() -> StripsSearched:
    searched = StripsSearched()
    searched.remember(frame())
    return searched


def panned(pixels: int) -> tuple[float, float, float, float, float, float]:
    return (1.0, 0.0, float(pixels), 0.0, 1.0, 0.0)


def matrix(pixels: int) -> NDArray[np.float64]:
    return np.array(panned(pixels)).reshape(2, 3)


def new_share(searched: StripsSearched, gray: NDArray[np.uint8]) -> float:
    [cells] = searched.new_cells(gray, [box_quad(STRIP)])
    return float(cells.mean())


def test_a_line_is_found_where_the_camera_put_it_and_an_overlay_where_it_was() -> None:
    # The camera's motion is known to two pixels or so.
    found = follow(LINES, frame(), frame(pan=37), matrix(35))
    assert [f.text for f in found] == ["HEINEKEN", "FAL 1-0"]
    assert bounds(found[0].quad) == pytest.approx((137, 100, 457, 150), abs=1)
    assert bounds(found[1].quad) == pytest.approx((20, 20, 160, 50), abs=1)
    assert [f.origin(0.5) for f in found] == ["carried", "carried"]


def test_a_line_is_found_back_where_it_was() -> None:
    here = replace(line(), place=line().place.moved(37, 0))
    [found] = follow([here], frame(pan=37), frame(), matrix(-37))
    assert bounds(found.quad) == pytest.approx(BOARD, abs=1)


@pytest.mark.parametrize("zoom", [0.94, 1.03, 1.08])
def test_a_line_is_found_while_the_camera_zooms(zoom: float) -> None:
    camera = np.array([[zoom, 0.0, 12.0], [0.0, zoom, -5.0]])
    after = cv2.warpAffine(frame(), camera, (640, 360), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    [found] = [f for f in follow(LINES, frame(), after, camera) if f.text == "HEINEKEN"]
    expected = tuple(zoom * v + by for v, by in zip(BOARD, (12.0, -5.0) * 2, strict=True))
    assert bounds(found.quad) == pytest.approx(expected, abs=2)


def test_a_board_that_changed_is_not_followed() -> None:
    assert [f.text for f in follow(LINES, frame(), frame("QATAR"), matrix(0))] == ["FAL 1-0"]


def test_a_board_that_somebody_covers_is_not_followed() -> None:
    covered = frame()
    covered[60:300, 150:330] = 200
    assert [f.text for f in follow(LINES, frame(), covered, matrix(0))] == ["FAL 1-0"]


def test_of_a_line_that_the_pictures_edge_cuts_the_rest_is_to_be_read_again() -> None:
    found = {f.text: f for f in follow(LINES, frame(), frame(pan=-200), matrix(-200))}
    cut = found["HEINEKEN"]
    assert cut.cut
    assert not cut.settled
    assert bounds(cut.quad) == pytest.approx((0, 100, 220, 150), abs=1)
    assert [f.text for f in follow(LINES, frame(), frame(pan=-320), matrix(-320))] == ["FAL 1-0"]


def test_a_board_that_dissolves_into_another_is_not_followed_to_the_end() -> None:
    start, end = frame(), frame("QATAR")
    known = replace(line(), pixels=pixels_of(start, line().quad))
    frames = [cv2.addWeighted(start, 1 - n / 12, end, n / 12, 0).astype(np.uint8) for n in range(13)]
    for pixels, followed in ((None, True), (known.pixels, False)):
        lines = [replace(known, pixels=pixels)]
        steps = 0
        for before, after in itertools.pairwise(frames):
            lines = follow(lines, before, after, matrix(0))
            steps += bool(lines)
        assert (steps == 12) is followed
        assert steps >= 5


def test_a_plain_patch_is_no_text_that_could_be_recognised() -> None:
    plain = np.full((360, 640), 90, np.uint8)
    assert not follow([line()], plain, plain, matrix(0))


def test_where_the_camera_is_lost_standing_text_is_still_found() -> None:
    assert [f.text for f in follow(LINES, frame(), frame(pan=200), None)] == ["FAL 1-0"]


@pytest.mark.parametrize(
    ("readings", "settled"),
    [
        ([("HEINEKEN", 0.98)], True),
        ([("HEINEKEN", 0.95)] * 9, False),
        ([("HEIMEKCN", 0.7), ("HEINEKEN", 0.99)], True),
        ([("HEINEKEN", 0.98), ("HEIMEKCN", 0.9)], False),
        ([("HEINEKEN", 0.92), ("", 0.0)], False),
        ([("IllI", 0.45)] * 2, True),
    ],
    ids=["certain", "never certain", "certain in the end", "no longer certain", "unreadable", "no text"],
)
def test_a_line_is_settled_once_another_reading_is_worth_nothing(
    readings: list[tuple[str, float]], settled: bool
) -> None:
    (text, confidence), *others = readings
    known = Line(TextPlace(box_quad(BOARD)), text, confidence, "frame", 0.0)
    for number, (text, confidence) in enumerate(others, 1):
        known = known.read_again([StripText(text, confidence)] if text else [], number / 2)
    assert known.settled is settled


@pytest.mark.parametrize(
    ("after", "pan", "least", "most"),
    [("HEINEKEN", 0, 0.0, 0.05), ("HEINEKEN", 40, 0.02, 0.15), ("HEINEKEN", 200, 0.25, 0.45), ("QATAR", 0, 0.25, 0.7)],
    ids=["the same", "a little new at the side", "a third new at the side", "another text"],
)
def test_the_share_of_new_board_is_measured(
    searched: StripsSearched, after: str, pan: int, least: float, most: float
) -> None:
    searched.move(panned(pan))
    assert least <= new_share(searched, frame(after, pan)) <= most


def test_what_the_camera_uncovers_is_new_and_the_rest_is_not(searched: StripsSearched) -> None:
    searched.move(panned(200))
    [cells] = searched.new_cells(frame(pan=200), [box_quad(STRIP)])
    assert cells[:3].all()
    assert not cells[5:].any()


def test_small_motions_add_up_until_the_strips_are_searched_again(searched: StripsSearched) -> None:
    shares = []
    for step in range(1, 6):
        searched.move(panned(40))
        shares.append(new_share(searched, frame(pan=40 * step)))
    assert shares == sorted(shares)
    assert shares[-1] > 0.25
    searched.remember(frame(pan=200))
    searched.move(panned(0))
    assert new_share(searched, frame(pan=200)) < 0.05


def test_where_the_camera_is_lost_everything_is_new(searched: StripsSearched) -> None:
    searched.move(None)
    assert new_share(searched, frame(pan=200)) == 1.0
