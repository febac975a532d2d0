"""Detection of perimeter board rows: the bands along the edge of the pitch.

Belongs here: fitting line segments to the edge of the grass, finding the edges of boards parallel to it with Canny and
Hough, and turning pairs of edges into quads. Cutting strips out of the picture is in `strips.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Board, Quad
from touchline.vision.pitch import Pitch

MIN_PIECE: Final = 0.12
"""Length of the shortest straight piece of the pitch's edge [share of the picture's width]."""
EDGE_TOLERANCE: Final = 3.0
"""Largest distance of the edge of the grass from a fitted line, caused by mowing, feet and noise [mask pixels, of 360
lines]."""
MIN_EXPLAINED: Final = 0.7
"""Least share of two neighbouring pieces that one line must fit for them to be joined [0-1]."""
FITTED_POINTS: Final = 100
"""Number of points to which a long edge is subsampled before a line is fitted. More points do not change the result."""
HOUGH_ANGLE: Final = np.pi / 180
"""Angular resolution of the Hough transform: the shortest line (32 px) deviates by half a pixel at most [radians]."""
FIT_ROUNDS: Final = 12
"""Largest number of iterations of a line fit."""
SLOPE_TOLERANCE: Final = 2e-4
"""Change of the slope below which a line fit has converged: 0.1 px over a width of 640 px [y over x]."""
MAX_SLOPE: Final = 1.7
"""Slope of the steepest line that can be the lower edge of a board [y over x]."""
MAX_ANGLE: Final = 7.0
"""Largest angle between a board's upper and lower edge: perspective, and boards set at a slant [degrees]."""
MIN_BAND: Final = 0.014
"""Height of the lowest board row [share of the picture's height]."""
MAX_REACH: Final = 0.22
"""Largest distance of a board's upper edge from the edge of the grass [share of the picture's height]."""
FRONT_MARGIN: Final = 0.03
"""Largest distance from a side of the picture at which a piece reaches that side [share of the picture's width]."""
MAX_BANDS: Final = 3
"""Largest number of board rows behind one another. Further lines belong to the stand."""
MIN_COVER: Final = 0.22
"""Share of a piece's length that Hough segments must cover at an edge of boards [0-1]."""
FOOT: Final = 0.008
"""Distance of a board's lower edge below the topmost grass, because boards cast a shadow [share of the picture's
height]."""
PLAIN_CONFIDENCE: Final = 0.3
"""Confidence of a band without a detected upper edge [0-1]."""
PLAIN_BAND: Final = 0.1
"""Height that is assumed for a band without a detected upper edge [share of the picture's height]."""


@dataclass(frozen=True)
class BandSettings:
    """The settings of `find_boards`.

    Canny's two thresholds [gradient, 0-255], least votes in the Hough transform [pixels], and the length of the
    shortest line [share of the picture's width].
    """

    canny_low: int = 50
    canny_high: int = 150
    hough_threshold: int = 40
    min_line: float = 0.05


@dataclass(frozen=True)
class Piece:
    """A straight piece of the pitch's edge: y = slope * x + offset for x in [left, right]; mask pixels."""

    left: float
    right: float
    slope: float
    offset: float

    def at(self, x: float) -> float:
        """Y at x [mask pixels]."""
        return self.slope * x + self.offset


def find_boards(pitch: Pitch, settings: BandSettings) -> list[Board]:
    """The board rows of a picture, behind the pitch and in front of it, as quads in pixels of the stored frame.

    Each row spans one straight piece of the pitch's edge; each of several rows behind one another is a `Board`. Empty
    if no pitch was found.
    """
    if pitch.share == 0.0:
        return []
    width = pitch.mask.shape[1]
    pieces = [
        (piece, upwards)
        for upwards, edge in ((True, pitch.upper_edge()), (False, pitch.lower_edge()))
        for piece in straight_pieces(edge, MIN_PIECE * width)
        if upwards or _reaches_side(piece, width)
    ]
    lines = _lines_beside(pieces, pitch.gray, settings)
    boards = [board for piece, upwards in pieces for board in _bands(piece, lines, pitch.gray.shape, upwards)]
    return [Board(_scaled(board.quad, 1.0 / pitch.scale), board.confidence) for board in boards]


def _lines_beside(
    pieces: Sequence[tuple[Piece, bool]], gray: NDArray[np.uint8], settings: BandSettings
) -> NDArray[np.float32]:
    """Line segments (N x 4, float32: x1, y1, x2, y2; mask pixels) where boards along the pieces can have edges.

    Other parts of the picture are masked, because the Hough transform is slow on a stand full of people.
    """
    height, width = gray.shape
    beside = np.zeros_like(gray)
    for piece, upwards in pieces:
        reach = (1 if upwards else -1) * MAX_REACH * height
        cv2.fillPoly(beside, [np.round(_quad(piece, 0.0, -reach, upwards)).astype(np.int32)], 255)
    _, top, _, rows = cv2.boundingRect(beside)
    if not rows:
        return np.empty((0, 4), np.float32)
    beside, gray = beside[top : top + rows], gray[top : top + rows]
    edges = cv2.bitwise_and(cv2.Canny(gray, settings.canny_low, settings.canny_high), beside)
    found = cv2.HoughLinesP(
        edges,
        1,
        HOUGH_ANGLE,
        settings.hough_threshold,
        minLineLength=settings.min_line * width,
        maxLineGap=0.01 * width,
    )
    if found is None:
        return np.empty((0, 4), np.float32)
    lines: NDArray[np.float32] = found.reshape(-1, 4).astype(np.float32) + np.array([0, top, 0, top], np.float32)
    return lines


def _reaches_side(piece: Piece, width: int) -> bool:
    """Whether a piece of the lower edge reaches a side of the picture or spans half its width.

    Boards in front of the pitch do; other pieces are the edges of players.
    """
    margin = FRONT_MARGIN * width
    return piece.left <= margin or piece.right >= width - margin or piece.right - piece.left >= width / 2


def straight_pieces(edge: NDArray[np.float32], shortest: float) -> list[Piece]:
    """Splits an edge (y for each column, NaN where there is none) into straight pieces, left to right.

    `shortest` is the least length of a piece [mask pixels]. Players and goalposts make gaps in the edge: a running
    median removes narrow ones, and Douglas-Peucker splits the edge at the others. Neighbouring pieces on one line are
    joined again. Lines are fitted by least absolute deviations, which are robust to the remaining gaps.
    """
    columns = np.flatnonzero(~np.isnan(edge))
    if len(columns) < shortest:
        return []
    points = np.stack([columns.astype(np.float32), _running_median(edge[columns], 31)], axis=1)
    corners = cv2.approxPolyDP(points.reshape(-1, 1, 2), EDGE_TOLERANCE, False).reshape(-1, 2)
    spans = [
        (float(left), float(right))
        for (left, _), (right, _) in itertools.pairwise(corners)
        if right - left >= shortest / 3
    ]
    joined: list[tuple[float, float]] = []
    for span in spans:
        while joined and _explained(points, joined[-1][0], span[1]) >= MIN_EXPLAINED:
            span = (joined.pop()[0], span[1])
        joined.append(span)
    pieces = []
    for left, right in joined:
        line = _line(points, left, right)
        if line is not None and right - left >= shortest:
            pieces.append(Piece(left, right, *line))
    return pieces


def _line(points: NDArray[np.float32], left: float, right: float) -> tuple[float, float] | None:
    inside = points[(points[:, 0] >= left) & (points[:, 0] <= right)]
    if len(inside) < 8:
        return None
    inside = inside[:: max(1, len(inside) // FITTED_POINTS)]
    x, y = inside[:, 0].astype(np.float64), inside[:, 1].astype(np.float64)
    # Least absolute deviations by iteratively reweighted least squares. It is convex: no restarts as in cv2.fitLine.
    weights, slope = np.ones_like(x), np.inf
    for _ in range(FIT_ROUNDS):
        before = slope
        total = weights.sum()
        # Sums instead of dot products: the order in which BLAS adds depends on the processor.
        x0, y0 = (weights * x).sum() / total, (weights * y).sum() / total
        run = weights * (x - x0)
        slope = (run * (y - y0)).sum() / (run * (x - x0)).sum()
        if abs(slope - before) < SLOPE_TOLERANCE:
            break
        weights = 1.0 / np.maximum(np.abs(y - y0 - slope * (x - x0)), 0.01)
    return (float(slope), float(y0 - slope * x0)) if abs(slope) < MAX_SLOPE else None


def _explained(points: NDArray[np.float32], left: float, right: float) -> float:
    """The share of the edge between `left` and `right` that one straight line fits, 0..1."""
    line = _line(points, left, right)
    if line is None:
        return 0.0
    inside = points[(points[:, 0] >= left) & (points[:, 0] <= right)]
    near = np.abs(inside[:, 1] - (line[0] * inside[:, 0] + line[1])) <= EDGE_TOLERANCE
    return float(near.sum() / max(1.0, right - left))


def _bands(piece: Piece, lines: NDArray[np.float32], shape: tuple[int, ...], upwards: bool) -> list[Board]:
    height = shape[0]
    side = -1.0 if upwards else 1.0
    middle = (piece.left + piece.right) / 2
    beyond = piece.at(middle) if upwards else height - piece.at(middle)
    reach = min(MAX_REACH * height, beyond)
    if reach < MIN_BAND * height:
        return []
    foot = -side * FOOT * height
    heights = _parallel_edges(piece, lines, side, reach, MIN_BAND * height)
    if not heights:
        top = min(PLAIN_BAND * height, reach)
        return [Board(_quad(piece, foot, side * top, upwards), PLAIN_CONFIDENCE)]
    boards, below = [], foot
    for top, cover in heights:
        boards.append(Board(_quad(piece, below, side * top, upwards), min(1.0, cover)))
        below = side * top
    return boards


def _parallel_edges(
    piece: Piece, lines: NDArray[np.float32], side: float, reach: float, smallest: float
) -> list[tuple[float, float]]:
    """(height above the piece [mask pixels], share of its length covered) of the lines parallel to it, rising."""
    if not len(lines):
        return []
    x1, y1, x2, y2 = lines.T
    run = np.where(x2 == x1, 1e-6, x2 - x1)
    angle = np.degrees(np.arctan(np.abs((y2 - y1) / run - piece.slope) / (1 + np.abs((y2 - y1) / run * piece.slope))))
    middle = (x1 + x2) / 2
    above = side * ((y1 + y2) / 2 - (piece.slope * middle + piece.offset))
    overlap = np.minimum(np.maximum(x1, x2), piece.right) - np.maximum(np.minimum(x1, x2), piece.left)
    use = (angle <= MAX_ANGLE) & (above >= smallest) & (above <= reach) & (overlap > 0)
    if not use.any():
        return []
    length = piece.right - piece.left
    shares = np.clip(overlap[use], 0, length) / length
    votes = np.convolve(np.bincount(above[use].astype(int), weights=shares, minlength=2), np.ones(5), "same")
    edges: list[tuple[float, float]] = []
    while votes.max() >= MIN_COVER:
        peak = int(votes.argmax())
        edges.append((float(peak), float(votes[peak])))
        low, high = max(0, peak - int(smallest) - 2), peak + int(smallest) + 3
        votes[low:high] = 0
    return sorted(edges)[:MAX_BANDS]


def _quad(piece: Piece, below: float, above: float, upwards: bool) -> Quad:
    (top, bottom) = (above, below) if upwards else (below, above)
    left, right = piece.left, piece.right
    return (
        (left, piece.at(left) + top),
        (right, piece.at(right) + top),
        (right, piece.at(right) + bottom),
        (left, piece.at(left) + bottom),
    )


def _scaled(quad: Quad, factor: float) -> Quad:
    a, b, c, d = ((x * factor, y * factor) for x, y in quad)
    return (a, b, c, d)


def _running_median(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    width = min(width, len(values) // 2 * 2 - 1)
    if width < 3:
        return values
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1).astype(np.float32)
