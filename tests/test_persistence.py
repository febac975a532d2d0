"""Text that is still there is recognised by its pixels; what changed, left or was covered is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from touchline.geometry import bounds, box_quad
from touchline.ocr.persistence import Line, Persistence, RibbonsRead
from touchline.values import Box

BOARD: Box = (100, 100, 420, 150)
RIBBON: Box = (0, 95, 640, 155)


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


def line(box: Box = BOARD, read_at: float = 0.0, text: str = "HEINEKEN") -> Line:
    return Line(box_quad(box), text, 0.9, "strip", read_at)


@pytest.fixture
def persistence() -> Persistence:
    known = Persistence()
    known.remember(frame(), [line(), line((20, 20, 160, 50), text="FAL 1-0")])
    return known


@pytest.fixture
def ribbons_read() -> RibbonsRead:
    read = RibbonsRead()
    read.remember(frame())
    return read


def panned(pixels: int) -> tuple[float, float, float, float, float, float]:
    return (1.0, 0.0, float(pixels), 0.0, 1.0, 0.0)


def test_a_line_is_found_where_the_camera_put_it_and_an_overlay_where_it_was(persistence: Persistence) -> None:
    # The camera's motion is known to two pixels or so.
    found = persistence.follow(frame(pan=37), panned(35), 0.5)
    assert [(f.text, f.origin, f.confidence) for f in found] == [
        ("HEINEKEN", "carried", 0.9),
        ("FAL 1-0", "carried", 0.9),
    ]
    assert bounds(found[0].quad) == pytest.approx((137, 100, 457, 150), abs=1)
    assert bounds(found[1].quad) == pytest.approx((20, 20, 160, 50), abs=1)


def test_a_board_that_changed_is_not_carried_on(persistence: Persistence) -> None:
    assert [f.text for f in persistence.follow(frame("QATAR"), panned(0), 0.5)] == ["FAL 1-0"]


def test_a_board_that_somebody_covers_is_not_carried_on(persistence: Persistence) -> None:
    covered = frame()
    covered[60:300, 150:330] = 200
    assert [f.text for f in persistence.follow(covered, panned(0), 0.5)] == ["FAL 1-0"]


def test_a_line_that_leaves_the_picture_is_not_carried_on(persistence: Persistence) -> None:
    assert [f.text for f in persistence.follow(frame(pan=-150), panned(-150), 0.5)] == ["FAL 1-0"]


def test_nothing_is_carried_on_for_ever() -> None:
    for longest in (0.0, 3.0):
        known = Persistence(longest)
        known.remember(frame(), [line(read_at=10.0)])
        assert known.follow(frame(), panned(0), 10.0 + longest)
        assert not known.follow(frame(), panned(0), 10.0 + longest + 0.1)


def test_a_plain_patch_is_no_text_that_could_be_recognised() -> None:
    known = Persistence()
    known.remember(np.full((360, 640), 90, np.uint8), [line()])
    assert not known.follow(np.full((360, 640), 90, np.uint8), panned(0), 0.5)


@pytest.mark.parametrize(
    ("after", "pan", "least", "most"),
    [("HEINEKEN", 0, 0.0, 0.05), ("HEINEKEN", 40, 0.02, 0.15), ("HEINEKEN", 200, 0.25, 0.45), ("QATAR", 0, 0.25, 0.7)],
    ids=["the same", "a little new at the side", "a third new at the side", "another text"],
)
def test_the_share_of_new_board_is_measured(
    ribbons_read: RibbonsRead, after: str, pan: int, least: float, most: float
) -> None:
    ribbons_read.move(panned(pan))
    assert least <= ribbons_read.new_share(frame(after, pan), [box_quad(RIBBON)]) <= most


def test_small_motions_add_up_until_the_ribbons_are_read_again(ribbons_read: RibbonsRead) -> None:
    shares = []
    for step in range(1, 6):
        ribbons_read.move(panned(40))
        shares.append(ribbons_read.new_share(frame(pan=40 * step), [box_quad(RIBBON)]))
    assert shares == sorted(shares)
    assert shares[-1] > 0.25
    ribbons_read.remember(frame(pan=200))
    ribbons_read.move(panned(0))
    assert ribbons_read.new_share(frame(pan=200), [box_quad(RIBBON)]) < 0.05


def test_where_the_camera_is_lost_everything_is_new_and_standing_text_still_found(
    persistence: Persistence, ribbons_read: RibbonsRead
) -> None:
    now = frame(pan=200)
    assert [f.text for f in persistence.follow(now, None, 0.5)] == ["FAL 1-0"]
    ribbons_read.move(None)
    assert ribbons_read.new_share(now, [box_quad(RIBBON)]) == 1.0
