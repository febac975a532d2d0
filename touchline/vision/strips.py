"""Rectified strips of perimeter board rows, enlarged for OCR.

Belongs here: the geometry between the picture and a strip. OCR engines read the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from touchline.geometry import area, quad_from
from touchline.values import Board, Image, Quad
from touchline.vision.perspective import cut, sides, upright

BOARD_LINES: Final = 64.0
"""Height to which a board is enlarged [pixels]. Letters fill half to two thirds of it, and PP-OCR reads letters of 30
to 48 px best."""
TEXT_LINES: Final = 40.0
"""Height of a line of text on a board that was enlarged to BOARD_LINES [pixels of the strip]."""
MAX_ENLARGEMENT: Final = 3.5
"""Largest factor of enlargement. Letters of about 6 px are the smallest that can be read, so more does not help."""
MAX_PIXELS: Final = 0.9e6
"""Largest area of all strips of one frame together, which bounds the time of OCR [pixels]."""
MAX_LENGTH: Final = 4096
"""Length of the longest strip [pixels]."""
MARGIN: Final = 2
"""Number of cells that are added on both sides of a new part, because words begin before it. A cell is as wide as the
board row is high."""
HEADROOM: Final = 0.35
"""Height that is added above a board row, for banners [share of the lowest board's height]."""


@dataclass(frozen=True)
class Strip:
    """A rectified board row: `image` (H x W x 3, BGR, uint8) and the 3 x 3 homography from strip to frame pixels."""

    image: Image
    to_frame: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StripPart:
    """A part of a board row, in frame pixels. At an open end the row continues, and a word may be cut."""

    quad: Quad
    left_open: bool = False
    right_open: bool = False


def parts(row: Quad, new: NDArray[np.bool_]) -> list[StripPart]:
    """The parts of a board row under its new cells (left to right, of equal width), with MARGIN cells on either side.

    Parts that touch are joined.
    """
    cells = np.convolve(new, np.ones(2 * MARGIN + 1), "full")[MARGIN:-MARGIN] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], cells.astype(np.int8), [0]])))
    found = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        tl, tr, br, bl = (np.array(corner) for corner in row)
        a, b = start / new.size, end / new.size
        corners = (tl + a * (tr - tl), tl + b * (tr - tl), bl + b * (br - bl), bl + a * (br - bl))
        found.append(StripPart(quad_from(corners), bool(start > 0), bool(end < new.size)))
    return found


def board_rows(boards: Sequence[Board]) -> list[Quad]:
    """One quad (frame pixels) for all boards at the same piece of the pitch's edge, which are behind one another.

    These share their edges. Boards behind the pitch and in front of it may span the same columns, and are two rows.
    """
    groups: list[list[Board]] = []
    for board in boards:
        touching = (group for group in groups if any(_share_an_edge(board.quad, other.quad) for other in group))
        if (group := next(touching, None)) is not None:
            group.append(board)
        else:
            groups.append([board])
    joined: list[Quad] = []
    for rows in groups:
        corners = np.array([row.quad for row in rows], np.float64)
        top, bottom = corners[:, 0, 1].argmin(), corners[:, 3, 1].argmax()
        lift = HEADROOM * min(float(c[3, 1] - c[0, 1]) for c in corners)
        tl, tr = corners[top, 0], corners[top, 1]
        br, bl = corners[bottom, 2], corners[bottom, 3]
        joined.append(((tl[0], tl[1] - lift), (tr[0], tr[1] - lift), (br[0], br[1]), (bl[0], bl[1])))
    return joined


def _share_an_edge(a: Quad, b: Quad) -> bool:
    """Whether the upper edge of one quad is the lower edge of the other, within a pixel."""
    return any(
        abs(x1 - x2) < 1 and abs(y1 - y2) < 1 and abs(x3 - x4) < 1 and abs(y3 - y4) < 1
        for ((x1, y1), (x3, y3), _, _), (_, _, (x4, y4), (x2, y2)) in ((a, b), (b, a))
    )


def board_height(boards: Sequence[Board]) -> float:
    """Median height of the boards [pixels of the stored frame]; 0 without boards."""
    heights = [(b.quad[3][1] - b.quad[0][1] + b.quad[2][1] - b.quad[1][1]) / 2 for b in boards]
    return float(np.median(heights)) if heights else 0.0


def enlargement(boards: Sequence[Board]) -> float:
    """Factor of enlargement of the strips of these boards, 1 to MAX_ENLARGEMENT.

    The median board gets BOARD_LINES lines, or fewer if the strips would exceed MAX_PIXELS.
    """
    typical = max(1.0, board_height(boards)) if boards else BOARD_LINES
    pixels = sum(area(quad) for quad in board_rows(boards))
    largest = float(np.sqrt(MAX_PIXELS / pixels)) if pixels > 0 else 1.0
    return float(np.clip(min(BOARD_LINES / typical, largest), 1.0, MAX_ENLARGEMENT))


def rectify(image: Image, quad: Quad, scale: float) -> Strip:
    """The strip of a quad of `image` (H x W x 3, BGR, uint8), enlarged `scale` times, at most MAX_LENGTH px long."""
    corners = np.array(quad, np.float32)
    length, height = sides(corners)
    scale = min(scale, MAX_LENGTH / max(1.0, length))
    width, lines = max(8, round(length * scale)), max(8, round(height * scale))
    forward = upright(corners, width, lines)
    return Strip(cut(image, forward, width, lines), np.linalg.inv(forward).astype(np.float64))
