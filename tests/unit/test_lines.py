"""Lines are searched for seldom, read until they are sure, and propagated both ways: on an engine that keeps count."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.test_persistence import BOARD, frame, panned
from touchline.geometry import bounds, box_quad
from touchline.ocr.engine import OcrEngine, StripText, TextPlace
from touchline.ocr.lines import LineReader, Searched
from touchline.ocr.persistence import Line
from touchline.values import Box, Image, Origin, Quad

STEP_S = 0.5


class Engine:
    """Says what it was told to, in turn, and where it was asked to read."""

    identity = "test"

    def __init__(self, *texts: tuple[str, float]) -> None:
        self.texts, self.asked = list(texts), list[Box]()

    def find(self, image: Image, rows: object = None, target_height: object = None) -> list[TextPlace]:
        return []

    def read(self, image: Image, places: Sequence[TextPlace]) -> list[StripText]:
        self.asked += [bounds(place.quad) for place in places]
        return [StripText(*(self.texts.pop(0) if self.texts else ("HEINEKEN", 0.99))) for _ in places]


def lines_of(
    engine: Engine,
    grays: list[NDArray[np.uint8]],
    found: dict[int, list[Box]],
    pans: list[int],
    carry_s: float = 3.0,
    read_s: float = 0.0,
) -> list[list[Line]]:
    """The lines of frames half a second apart, in which places were `found` by a search."""
    with ThreadPoolExecutor(1) as pool:
        reader = LineReader(
            cast(OcrEngine, engine), pool, carry_s=carry_s, min_confidence=0.4, min_height=5, read_s=read_s
        )
        read = []
        for number, gray in enumerate(grays):
            places: list[tuple[TextPlace, Origin]] = [(TextPlace(box_quad(b)), "strip") for b in found.get(number, ())]
            camera = panned(pans[number]) if number else None
            image = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8)
            read.append(reader.read(Searched(number * STEP_S, image, gray, camera, number == 0, places)))
    return read


def shifted(pan: int) -> Box:
    return (BOARD[0] + pan, BOARD[1], BOARD[2] + pan, BOARD[3])


def test_a_line_found_once_is_there_before_and_after() -> None:
    engine = Engine()
    grays = [frame(pan=20 * n) for n in range(7)]
    lines = lines_of(engine, grays, {3: [shifted(60)]}, [20] * 7)
    assert [[line.text for line in here] for here in lines] == [["HEINEKEN"]] * 7
    for number, [line] in enumerate(lines):
        assert bounds(line.quad) == pytest.approx(shifted(20 * number), abs=3)
        assert line.origin(number * STEP_S) == ("strip" if number == 3 else "carried")
    assert len(engine.asked) == 1


def test_it_is_carried_back_no_further_than_asked_and_on_by_being_read_again() -> None:
    engine = Engine()
    lines = lines_of(engine, [frame()] * 11, {4: [BOARD]}, [0] * 11, carry_s=1.0)
    assert [len(here) for here in lines] == [0, 0] + [1] * 9
    origins = [line.origin(n * STEP_S) for n, [line] in enumerate(lines[2:], start=2)]
    assert origins == ["carried"] * 2 + ["strip"] + ["carried"] * 2 + ["strip"] + ["carried"] * 2 + ["strip"]
    lines = lines_of(Engine(), [frame()] * 3, {1: [BOARD]}, [0] * 3, carry_s=0.0)
    assert [len(here) for here in lines] == [0, 1, 0]


def test_it_ends_where_reading_it_again_fails_or_says_nothing_good() -> None:
    for second in (("", 0.0), ("HEINEKEN", 0.3)):
        lines = lines_of(Engine(("HEINEKEN", 0.99), second), [frame()] * 6, {0: [BOARD]}, [0] * 6, carry_s=1.0)
        assert [len(here) for here in lines] == [1, 1, 1, 0, 0, 0]


def test_what_never_was_read_well_is_not_read_again_for_ever() -> None:
    engine = Engine(*[("NETZ", 0.5)] * 20)
    lines = lines_of(engine, [frame()] * 12, {0: [BOARD]}, [0] * 12, carry_s=1.0)
    assert [len(here) for here in lines] == [1] * 4 + [0] * 8
    assert len(engine.asked) == 2


def test_it_is_not_carried_into_frames_that_show_something_else() -> None:
    grays = [frame("QATAR"), frame("QATAR"), frame(), frame(), frame("QATAR")]
    lines = lines_of(Engine(), grays, {2: [BOARD]}, [0] * 5)
    assert [len(here) for here in lines] == [0, 0, 1, 1, 0]


def test_a_line_is_read_in_each_frame_until_it_is_read_surely() -> None:
    engine = Engine(("HEIMEKEN", 0.7), ("HEINEKEN", 0.92), ("HEINEKEN", 0.98))
    lines = lines_of(engine, [frame()] * 6, {0: [BOARD]}, [0] * 6)
    assert [line.text for [line] in lines] == ["HEIMEKEN"] + ["HEINEKEN"] * 5
    assert [line.origin(n * STEP_S) for n, [line] in enumerate(lines)] == ["strip"] * 3 + ["carried"] * 3
    assert len(engine.asked) == 3


def test_a_settled_line_that_is_found_again_is_not_read_again() -> None:
    engine = Engine()
    lines = lines_of(engine, [frame()] * 4, {0: [BOARD], 2: [BOARD]}, [0] * 4)
    assert [len(here) for here in lines] == [1, 1, 1, 1]
    assert len(engine.asked) == 1


def test_a_line_that_grew_is_read_anew() -> None:
    engine = Engine(("HEIN", 0.99), ("HEINEKEN", 0.99))
    lines = lines_of(engine, [frame()] * 2, {0: [(100, 100, 240, 150)], 1: [BOARD]}, [0] * 2)
    assert [[line.text for line in here] for here in lines] == [["HEIN"], ["HEINEKEN"]]


def test_a_sure_line_whose_end_was_missing_is_read_again() -> None:
    engine = Engine(("HEINEKE", 0.99), ("HEINEKEN", 0.99))
    lines = lines_of(engine, [frame()] * 2, {0: [(100, 100, 385, 150)], 1: [BOARD]}, [0] * 2)
    assert [[line.text for line in here] for here in lines] == [["HEINEKE"], ["HEINEKEN"]]


def test_what_the_whole_frame_shows_in_a_board_row_counts_where_nothing_else_is_known() -> None:
    engine = Engine(("HEINEKEN", 0.99), ("SANTANDER", 0.99), ("HEINEKEN", 0.99))
    beside: Box = (450, 100, 620, 150)
    spare = [TextPlace(box_quad(box)) for box in ((104, 101, 418, 149), beside)]
    image = cv2.cvtColor(frame(), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    strip: list[tuple[TextPlace, Origin]] = [(TextPlace(box_quad(BOARD)), "strip")]
    for found in (strip, []):
        engine.asked.clear()
        with ThreadPoolExecutor(1) as pool:
            reader = LineReader(cast(OcrEngine, engine), pool, carry_s=3.0, min_confidence=0.4, min_height=5)
            lines = reader.read(Searched(0.0, image, frame(), None, True, found, spare))
        assert len(lines) == 2
        assert [line.found for line in lines] == (["strip", "frame"] if found else ["frame"] * 2)
        assert bounds(lines[-1].quad) == beside


def test_a_slanted_line_is_read_in_two_ways_and_both_count() -> None:
    slanted: Quad = ((115.0, 262.0), (172.0, 232.2), (190.0, 267.0), (134.0, 296.8))
    image = np.zeros((360, 640, 3), np.uint8)

    def read(*texts: tuple[str, float]) -> list[Line]:
        engine = Engine(*texts)
        with ThreadPoolExecutor(1) as pool:
            reader = LineReader(cast(OcrEngine, engine), pool, carry_s=3.0, min_confidence=0.4, min_height=5)
            found: list[tuple[TextPlace, Origin]] = [(TextPlace(slanted), "frame")]
            lines = reader.read(Searched(0.0, image, image[..., 0], None, True, found))
        assert len(engine.asked) == 2
        assert all(line.quad == slanted for line in lines)
        return lines

    [line] = read(("LEVESIMA", 0.79), ("LEVISSIMA", 0.96))
    assert (line.text, line.other) == ("LEVISSIMA", StripText("LEVESIMA", 0.79))
    [line] = read(("LEVESIMA", 0.79), ("Vl", 0.3))
    assert (line.text, line.other) == ("LEVESIMA", None)
    assert read(("", 0.0), ("Vl", 0.3)) == []


def test_an_unsure_line_is_read_again_as_often_as_asked() -> None:
    engine = Engine(*[("HEINEKEN", 0.9)] * 20)
    lines_of(engine, [frame()] * 7, {0: [BOARD]}, [0] * 7, read_s=1.0)
    assert len(engine.asked) == 4


def test_what_the_edge_cuts_is_read_or_dropped() -> None:
    grays = [frame(), frame(pan=-200)]
    kept = lines_of(Engine(("HEINEKEN", 0.99), ("NEKEN", 0.9)), grays, {0: [BOARD]}, [0, -200])
    assert [[line.text for line in here] for here in kept] == [["HEINEKEN"], ["NEKEN"]]
    dropped = lines_of(Engine(("HEINEKEN", 0.99), ("", 0.0)), grays, {0: [BOARD]}, [0, -200])
    assert [len(here) for here in dropped] == [1, 0]


def test_low_lines_and_unsure_readings_do_not_count() -> None:
    low: Quad = box_quad((100, 100, 420, 104))
    engine = Engine(("xx", 0.2))
    lines = lines_of(engine, [frame()], {0: [bounds(low), BOARD]}, [0])
    assert lines == [[]]
    assert len(engine.asked) == 1
