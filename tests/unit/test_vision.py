"""Pitch, boards, camera and overlays, on pictures drawn here whose geometry is known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from touchline.geometry import (
    area,
    bounds,
    box_quad,
    clipped,
    covered_share,
    ends_inside,
    inside,
    iou,
    line_length,
    quad_from,
    transform_quad,
)
from touchline.values import Board, Image, Quad, SampledFrame
from touchline.video.opening import decode_frame
from touchline.vision.bands import BandSettings, find_boards, straight_pieces
from touchline.vision.motion import camera_motion
from touchline.vision.overlays import StaticEdges
from touchline.vision.pitch import find_pitch
from touchline.vision.strips import (
    BOARD_LINES,
    MAX_ENLARGEMENT,
    MAX_PIXELS,
    StripPart,
    board_rows,
    enlargement,
    parts,
    rectify,
)

GRASS = (40, 140, 60)


def stadium(
    width: int = 1280, height: int = 720, tilt: float = 0.0, board: int = 60, seed: int = 1
) -> tuple[Image, Quad]:
    """Crowd above, a white board, grass below; the board's foot runs from (0, 300) with slope `tilt`."""
    rng = np.random.default_rng(seed)
    crowd = rng.integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    image = cv2.resize(crowd, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    foot = [(0.0, 300.0), (float(width), 300.0 + tilt * width)]
    quad: Quad = ((0.0, 300.0 - board), (float(width), foot[1][1] - board), foot[1], foot[0])
    cv2.fillPoly(image, [np.array([[0, 300], [width, foot[1][1]], [width, height], [0, height]], np.int32)], GRASS)
    cv2.fillPoly(image, [np.array(quad, np.int32)], (235, 235, 235))
    return image, quad


def test_the_pitch_is_the_grass_and_a_green_shirt_is_not() -> None:
    image, _ = stadium()
    cv2.rectangle(image, (100, 50), (160, 110), GRASS, -1)
    pitch = find_pitch(image)
    assert pitch.share == pytest.approx(420 / 720, abs=0.02)
    edge = pitch.upper_edge() / pitch.scale
    assert np.nanmedian(np.abs(edge - 300)) <= 3
    assert pitch.mask[round(80 * pitch.scale), round(130 * pitch.scale)] == 0


def test_a_picture_without_grass_has_no_pitch_and_no_boards() -> None:
    image = np.full((360, 640, 3), 127, np.uint8)
    pitch = find_pitch(image)
    assert pitch.share == 0.0
    assert np.isnan(pitch.upper_edge()).all()
    assert find_boards(pitch, BandSettings()) == []
    assert pitch.rows_beside() == (0.0, 1.0)


def test_the_rows_beside_the_pitch_leave_out_grass_and_players_but_no_graphic() -> None:
    image, _ = stadium()
    for x in (200, 560, 620, 1000):
        cv2.rectangle(image, (x, 450), (x + 30, 520), (40, 40, 200), -1)
    cv2.line(image, (0, 600), (1280, 560), (240, 240, 240), 4)
    top, bottom = find_pitch(image).rows_beside()
    assert top == 0
    # The board's foot is at 300 of 720; a board as green as the grass might stand below.
    assert bottom == pytest.approx(300 / 720 + 0.08, abs=0.01)
    cv2.rectangle(image, (500, 640), (780, 680), (160, 30, 30), -1)
    top, bottom = find_pitch(image).rows_beside()
    assert (top, bottom) == (0, 1.0)
    image[:] = GRASS
    assert find_pitch(image).rows_beside() == (0, 0)


@pytest.mark.parametrize("tilt", [0.0, 0.06, -0.08])
def test_a_board_is_found_where_it_stands_whatever_its_tilt(tilt: float) -> None:
    image, truth = stadium(tilt=tilt)
    boards = find_boards(find_pitch(image), BandSettings())
    best = min(boards, key=lambda b: np.abs(np.array(b.quad) - np.array(truth)).max())
    assert np.abs(np.array(best.quad) - np.array(truth)).max() <= 14
    assert best.confidence > 0.5


def test_players_before_the_board_do_not_break_it() -> None:
    image, truth = stadium(tilt=0.03)
    for x in (200, 420, 700, 1000):
        cv2.rectangle(image, (x, 270), (x + 30, 380), (200, 30, 30), -1)
    boards = find_boards(find_pitch(image), BandSettings())
    assert any(np.abs(np.array(b.quad) - np.array(truth)).max() <= 16 for b in boards)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1921, 1081), (2880, 1620)])
def test_a_frame_decoded_small_shows_the_same_in_pixels_of_the_stored_frame(width: int, height: int) -> None:
    image, truth = stadium(tilt=0.03)
    image = cv2.resize(image, (width, height)).astype(np.uint8)
    frame = SampledFrame(0, 0, 0.0, 0, (1, 2), width, height, "", "", 0)
    jpeg = bytes(cv2.imencode(".jpg", image)[1])
    full, small = decode_frame(jpeg, frame), decode_frame(jpeg, frame, 360)
    assert full is not None and small is not None
    assert full.shape == (height, width, 3)
    assert 360 <= small.shape[0] < 720
    pitch = find_pitch(small, height)
    assert pitch.share == pytest.approx(find_pitch(full).share, abs=0.01)
    expected = np.array(truth) * (width / 1280, height / 720)
    found = [np.abs(np.array(board.quad) - expected).max() for board in find_boards(pitch, BandSettings())]
    assert min(found) <= 7 * height / 360


def test_a_frame_is_decoded_whole_where_half_its_lines_are_too_few() -> None:
    frame = SampledFrame(0, 0, 0.0, 0, (1, 2), 848, 478, "", "", 0)
    jpeg = bytes(cv2.imencode(".jpg", np.zeros((478, 848, 3), np.uint8))[1])
    image = decode_frame(jpeg, frame, 360)
    assert image is not None and image.shape == (478, 848, 3)
    assert decode_frame(b"no picture", frame, 360) is None


def test_what_is_far_from_the_grass_changes_no_board() -> None:
    image, _ = stadium(tilt=0.03)
    boards = find_boards(find_pitch(image), BandSettings())
    for y in range(4, 80, 8):
        cv2.line(image, (0, y), (1279, y), (240, 240, 240), 2)
    assert boards and find_boards(find_pitch(image), BandSettings()) == boards


def test_the_edge_of_the_grass_is_split_at_its_corner() -> None:
    edge = np.concatenate([np.linspace(100, 90, 400), np.linspace(90, 150, 240)]).astype(np.float32)
    edge[100:130] = np.nan
    pieces = straight_pieces(edge, 60)
    assert next(round(p.left, -1) for p in pieces) == 0
    assert len(pieces) == 2
    assert abs(pieces[0].right - 400) <= 15


def test_a_strip_is_straight_and_its_quads_lead_back_to_the_frame() -> None:
    image, quad = stadium(tilt=0.1)
    cv2.putText(image, "PEPSI", (600, 350), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 4)
    strip = rectify(image, quad, 2.0)
    assert abs(strip.image.shape[1] - 2 * 1286) < 12
    whole: Quad = ((0, 0), (strip.image.shape[1], 0), strip.image.shape[1::-1], (0, strip.image.shape[0]))
    back = transform_quad(whole, strip.to_frame)
    assert np.abs(np.array(back) - np.array(quad)).max() < 0.1


def test_the_new_parts_of_a_board_row_come_with_a_margin_and_know_where_it_goes_on() -> None:
    row: Quad = ((0, 100), (1000, 80), (1000, 130), (0, 150))
    new = np.zeros(20, np.bool_)
    assert parts(row, new) == []
    new[[0, 12]] = True
    left, middle = parts(row, new)
    assert (left.left_open, left.right_open) == (False, True)
    assert np.allclose(left.quad, ((0, 100), (150, 97), (150, 147), (0, 150)))
    assert (middle.left_open, middle.right_open) == (True, True)
    assert np.allclose(middle.quad[0], (500, 90))
    assert np.allclose(middle.quad[1], (750, 85))
    [whole] = parts(row, np.ones(3, np.bool_))
    assert whole == StripPart(row)


def test_rows_over_one_piece_of_the_edge_are_one_board_row() -> None:
    low = Board(((0, 100), (200, 100), (200, 120), (0, 120)), 1.0)
    high = Board(((0, 80), (200, 80), (200, 100), (0, 100)), 1.0)
    other = Board(((300, 80), (400, 80), (400, 100), (300, 100)), 1.0)
    joined = board_rows([low, high, other])
    assert len(joined) == 2
    assert bounds(joined[0])[1] < 80 and bounds(joined[0])[3] == 120


def test_boards_behind_the_pitch_and_in_front_of_it_are_rows_of_their_own() -> None:
    behind = Board(((0, 80), (800, 84), (800, 104), (0, 100)), 1.0)
    in_front = Board(((0, 400), (800, 396), (800, 440), (0, 444)), 1.0)
    assert [bounds(row)[3] for row in board_rows([behind, in_front])] == [104, 444]


def test_strips_are_enlarged_until_the_middling_board_has_the_recognisers_lines() -> None:
    def board(height: float, width: float = 200) -> Board:
        return Board(((0, 100), (width, 100), (width, 100 + height), (0, 100 + height)), 1.0)

    assert enlargement([board(20), board(24), board(200)]) == pytest.approx(BOARD_LINES / 24)
    # Never made smaller, and never made of nothing.
    assert enlargement([board(2 * BOARD_LINES)]) == 1.0
    assert enlargement([]) == 1.0
    assert enlargement([board(1)]) == MAX_ENLARGEMENT
    # A long row of boards is enlarged as far as its pixels afford: four times the boards, half the scale.
    wide, wider = (enlargement([board(20, width)]) for width in (MAX_PIXELS / 180, MAX_PIXELS / 45))
    assert wide / wider == pytest.approx(2.0, rel=0.1)
    assert 1.0 < wider < wide < BOARD_LINES / 20


def blurred(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> NDArray[np.uint8]:
    """Noise in which there is something to follow."""
    return cv2.GaussianBlur(rng.integers(0, 255, shape, np.uint8), (0, 0), sigma).astype(np.uint8)


def test_the_camera_moves_as_it_was_moved() -> None:
    rng = np.random.default_rng(5)
    world = blurred(rng, (900, 1600, 3), 3)
    before, after = world[100:820, 100:1380], world[112:832, 160:1440]
    motion = camera_motion(find_pitch(before).gray, find_pitch(after).gray, 720)
    assert motion is not None
    moved = transform_quad(box_quad((600, 300, 700, 350)), np.array(motion).reshape(2, 3))
    assert np.allclose(moved[0], (540, 288), atol=1.5)


def pan(*offsets: int, size: tuple[int, int] = (640, 360)) -> list[NDArray[np.uint8]]:
    """Smooth, strong noise that moves to the left by so many pixels in all, under a score bug that does not."""
    rng = np.random.default_rng(9)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (size[1], size[0] + max(offsets)), np.uint8), (0, 0), 2)
    world = cv2.normalize(noise, np.empty_like(noise), 0, 255, cv2.NORM_MINMAX)
    pictures = []
    for offset in offsets:
        picture = world[:, offset : offset + size[0]].copy()
        cv2.rectangle(picture, (40, 20), (240, 60), 10, -1)
        cv2.putText(picture, "INT 0-0 NAP", (46, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 250, 2)
        pictures.append(picture.astype(np.uint8))
    return pictures


def test_the_cameras_motion_is_not_that_of_the_overlays() -> None:
    before, after = pan(0, 30)
    motion = camera_motion(before, after, 360)
    assert motion is not None
    assert (motion[2], motion[5]) == pytest.approx((-30, 0), abs=1)


def test_a_camera_that_stands_still_is_not_moved_by_what_moves_before_it() -> None:
    before = pan(0)[0]
    after = before.copy()
    after[200:330, 300:420] = before[200:330, 290:410]
    motion = camera_motion(before, after, 360)
    assert motion is not None
    assert (motion[2], motion[5]) == pytest.approx((0, 0), abs=0.5)


def test_a_pan_too_fast_to_be_seen_goes_on_as_before_or_is_unknown_but_never_still() -> None:
    before, after = pan(150, 310)
    found = camera_motion(before, after, 360)
    assert found is None or found[2] == pytest.approx(-160, abs=2)
    motion = camera_motion(before, after, 360, (1.0, 0.0, -150.0, 0.0, 1.0, 0.0))
    assert motion is not None
    assert motion[2] == pytest.approx(-160, abs=2)


def test_no_motion_is_claimed_across_a_cut() -> None:
    rng = np.random.default_rng(6)
    a, b = (blurred(rng, (720, 1280, 3), 3) for _ in range(2))
    assert camera_motion(find_pitch(a).gray, find_pitch(b).gray, 720) is None


def test_what_is_static_while_the_camera_moves_is_an_overlay() -> None:
    rng = np.random.default_rng(7)
    world = blurred(rng, (400, 1400), 2)
    static = StaticEdges()
    for step in range(8):
        picture = world[:360, step * 30 : step * 30 + 640].copy()
        cv2.rectangle(picture, (40, 20), (160, 50), 10, -1)
        cv2.putText(picture, "INT 0-0", (46, 42), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 250, 2)
        static.add(picture, moving=step > 0)
        if step == 3:
            static = StaticEdges(static.state())
    [overlay] = static.overlays(1280, 720)
    assert iou(overlay.box, (80, 40, 320, 100)) > 0.5


def test_a_still_camera_is_no_evidence_of_overlays() -> None:
    picture = np.random.default_rng(8).integers(0, 255, (360, 640), np.uint8)
    static = StaticEdges()
    for _ in range(10):
        static.add(picture, moving=False)
    assert static.overlays(640, 360) == ()


def test_arithmetic_of_quads() -> None:
    quad = quad_from([0, 0, 10, 0, 10, 5, 0, 5])
    assert area(quad) == 50
    assert inside((5, 2), quad) and not inside((11, 2), quad)
    assert covered_share(quad, [(0, 0, 5, 5)]) == pytest.approx(0.5)
    assert covered_share(quad, []) == 0.0
    assert ends_inside(box_quad((1, 1, 9, 4)), quad)
    assert not ends_inside(box_quad((1, 1, 12, 4)), quad)
    assert line_length(quad) == 10
    assert clipped(box_quad((-5, 1, 12, 4)), 8, 20) == box_quad((0, 1, 8, 4))


def test_a_player_before_the_camera_is_no_board_in_front_of_the_pitch() -> None:
    image, _ = stadium()
    cv2.rectangle(image, (480, 450), (800, 719), (30, 30, 200), -1)
    boards = find_boards(find_pitch(image), BandSettings())
    assert all(bounds(board.quad)[3] < 450 for board in boards)
    cv2.rectangle(image, (0, 600), (1279, 719), (30, 30, 200), -1)
    boards = find_boards(find_pitch(image), BandSettings())
    assert any(bounds(board.quad)[3] > 620 for board in boards)
