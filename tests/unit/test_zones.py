"""All lines of a track stand on the same thing: what most frames say, a board that was missed counting less."""

from __future__ import annotations

from collections.abc import Sequence

import bson
import cv2
import numpy as np

from touchline.geometry import box_quad
from touchline.ocr.engine import StripText, TextPlace
from touchline.ocr.zones import ZoneVotes
from touchline.stages.run_ocr import RunOcr, RunOcrConfig
from touchline.values import (
    Board,
    Box,
    Chunk,
    DetectedObject,
    FrameEdges,
    FrameObjects,
    Image,
    Overlay,
    Reading,
    SampledFrame,
    SceneFrame,
    Zone,
)

WORD: Box = (300, 200, 500, 240)
ROW = box_quad((0, 190, 960, 250))
SOMEBODY = DetectedObject("person", 0.9, (280, 150, 520, 400))

FRAMES_ALONE = RunOcrConfig(strips=False)
"""Words on boards are found in the frame too."""


class Engine:
    """Finds one word in every picture and reads it."""

    identity = "test"

    def find(self, image: Image, rows: object = None, target_height: float | None = None) -> list[TextPlace]:
        return [TextPlace(box_quad(WORD))]

    def read(self, image: Image, places: Sequence[TextPlace]) -> list[StripText]:
        return [StripText("HEINEKEN", 0.99) for _ in places]


def picture(sequence: int, lines: int | None = None) -> Image:
    image = np.full((540, 960, 3), 90, np.uint8)
    cv2.putText(image, "HEINEKEN", (305, 235), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3)
    return image


def chunk(
    boards: str, people: dict[int, tuple[DetectedObject, ...]] | None = None, *, number: int = 0, overlay: bool = False
) -> Chunk:
    """Frames of one shot, half a second apart: "b" where the board row was found, "." where it was missed."""
    first = number * len(boards)
    frames, scenes, edges = [], [], []
    for n, found in enumerate(boards, start=first):
        frames.append(SampledFrame(n, number, n / 2, n * 500, (1, 1000), 960, 540, "", "", 0))
        scenes.append(SceneFrame(n, n / 2, 0, True, None, "", 100.0, 100.0))
        rows = (Board(ROW, 0.9),) if found == "b" else ()
        over = (Overlay(WORD, 0.9),) if overlay else ()
        edges.append(FrameEdges(n, n / 2, 0, 0.5, rows, over, (1, 0, 0, 0, 1, 0) if n > first else None))
    objects = [FrameObjects(n, n / 2, seen) for n, seen in (people or {}).items()]
    return Chunk(
        number, tuple(frames), picture, {"filter_scenes": scenes, "detect_edges": edges, "detect_objects": objects}
    )


def zones(chunk: Chunk, worker: RunOcr | None = None) -> list[Zone]:
    readings = list((worker or RunOcr(FRAMES_ALONE, Engine())).run_chunk(chunk))
    assert len({r.track for r in readings}) == 1
    return [r.zone for r in readings]


def test_a_board_row_that_is_missed_in_some_frames_is_a_board_in_all() -> None:
    assert zones(chunk("b.b..b")) == ["board"] * 6
    assert zones(chunk(".b..")) == ["board"] * 4
    assert zones(chunk("......")) == ["other"] * 6


def test_one_find_among_many_misses_is_chance() -> None:
    assert zones(chunk("." * 12 + "b")) == ["other"] * 13


def test_a_player_who_runs_past_does_not_make_a_board_a_jersey_but_covers_it() -> None:
    people: dict[int, tuple[DetectedObject, ...]] = {n: (SOMEBODY,) if n == 2 else () for n in range(6)}
    readings: list[Reading] = list(RunOcr(FRAMES_ALONE, Engine()).run_chunk(chunk("bbbbbb", people)))
    assert [r.zone for r in readings] == ["board"] * 6
    assert [r.unoccluded for r in readings] == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]


def test_a_shirt_in_front_of_boards_is_a_jersey_though_its_wearer_is_missed_in_a_frame() -> None:
    people: dict[int, tuple[DetectedObject, ...]] = {n: () if n == 3 else (SOMEBODY,) for n in range(6)}
    assert zones(chunk("bbbbbb", people)) == ["jersey"] * 6


def test_frames_in_which_nobody_looked_for_people_do_not_outvote_those_in_which_somebody_did() -> None:
    assert zones(chunk("bbbbbb", {0: (SOMEBODY,), 3: (SOMEBODY,)})) == ["jersey"] * 6
    assert zones(chunk("bbbbbb", {0: (), 3: ()})) == ["board"] * 6


def test_an_overlay_stays_one_whatever_is_behind_it() -> None:
    people: dict[int, tuple[DetectedObject, ...]] = dict.fromkeys(range(4), (SOMEBODY,))
    assert zones(chunk("bbbb", people, overlay=True)) == ["overlay"] * 4


def test_a_track_takes_its_votes_into_the_next_chunk_and_process() -> None:
    first = RunOcr(FRAMES_ALONE, Engine())
    assert zones(chunk("bb"), first) == ["board"] * 2
    state = bson.decode(bson.encode(first.state()))
    assert zones(chunk("..", number=1), RunOcr(FRAMES_ALONE, Engine(), state)) == ["board"] * 2


def test_votes_of_tracks_that_ended_are_let_go_of() -> None:
    votes = ZoneVotes()
    votes.add(1, "board", people_known=True)
    votes.add(2, "jersey", people_known=True)
    assert ZoneVotes(votes.state({2})).winner(2) == "jersey"
    assert set(votes.state({2})) == {"2"}
    assert ZoneVotes().winner(1) == "other"
