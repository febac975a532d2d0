"""Arithmetic of quads and boxes, in pixels.

Belongs here: small pure functions on the geometry types of `touchline/values.py`. Anything that looks at pixels is in
`touchline/vision/`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from touchline.values import Box, Quad

DIGITS: Final = 4
"""Decimals of a pixel that are kept where a quad is carried. What is beyond differs with the processor: matrices are
multiplied and inverted by BLAS and LAPACK, which add in another order on each."""


def quad_from(corners: ArrayLike) -> Quad:
    """A quad from anything of eight numbers: a 4 x 2 array, four pairs, or a flat list."""
    a, b, c, d = ((float(x), float(y)) for x, y in np.asarray(corners, np.float64).reshape(4, 2))
    return (a, b, c, d)


def flat(quad: Quad) -> list[float]:
    """The eight numbers of a quad, x before y, corner by corner: how documents store it."""
    return [coordinate for point in quad for coordinate in point]


def box_quad(box: Box) -> Quad:
    """A box as a quad."""
    x1, y1, x2, y2 = box
    return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def bounds(quad: Quad) -> Box:
    """The upright box around a quad."""
    xs, ys = [p[0] for p in quad], [p[1] for p in quad]
    return (min(xs), min(ys), max(xs), max(ys))


def centre(quad: Quad) -> tuple[float, float]:
    """The mean of the corners."""
    return (sum(p[0] for p in quad) / 4, sum(p[1] for p in quad) / 4)


def area(quad: Quad) -> float:
    """Area by the shoelace formula, square pixels."""
    twice = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(quad, (*quad[1:], quad[0]), strict=True))
    return abs(twice) / 2


def line_height(quad: Quad) -> float:
    """Mean length of the two short sides of a line of text (left and right), pixels."""
    (tl, tr, br, bl) = quad
    return float(np.hypot(tl[0] - bl[0], tl[1] - bl[1]) + np.hypot(tr[0] - br[0], tr[1] - br[1])) / 2


def line_length(quad: Quad) -> float:
    """Mean length of the two long sides of a line of text (top and bottom), pixels."""
    (tl, tr, br, bl) = quad
    return float(np.hypot(tl[0] - tr[0], tl[1] - tr[1]) + np.hypot(bl[0] - br[0], bl[1] - br[1])) / 2


def inside_picture(quad: Quad, width: int, height: int) -> bool:
    """Whether all of a quad lies in a picture of that size."""
    x1, y1, x2, y2 = bounds(quad)
    return x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height


def clipped(quad: Quad, width: int, height: int) -> Quad:
    """A line of text without what lies beyond the picture's left and right edges; above and below it is clamped."""
    tl, tr, br, bl = quad
    left, right = min(tl[0], bl[0]), max(tr[0], br[0])
    length = max(1e-6, right - left)
    a = min(1.0, max(0.0, -left / length))
    b = min(1.0, max(0.0, (width - left) / length))

    def at(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
        x, y = (s + share * (e - s) for s, e in zip(start, end, strict=True))
        return x, min(max(y, 0.0), float(height))

    return (at(tl, tr, a), at(tl, tr, b), at(bl, br, b), at(bl, br, a))


def with_upright_sides(quad: Quad, least_slope: float, margin: float) -> Quad | None:
    """The parallelogram with vertical sides in a slanted rectangle, wider by `margin` of its height at both ends.

    Perspective slants the long edges of a board and leaves its posts and letters upright: such letters do not fill a
    slanted rectangle, but lie slanted in it. `quad` is clockwise from the top left. None for a quad that is no
    rectangle, or whose long sides slope by less than `least_slope` or by more than 60 degrees.
    """
    tl, tr, br, bl = (np.array(corner) for corner in quad)
    along, down = (tr - tl + br - bl) / 2, (bl - tl + br - tr) / 2
    length, height = float(np.hypot(*along)), float(np.hypot(*down))
    if min(length, height) < 1:
        return None
    x, y = along / length
    slope = abs(math.degrees(math.atan2(y, x)))
    if not least_slope <= slope <= 60 or abs(x * down[0] + y * down[1]) > 0.1 * height:
        return None
    upright = np.array([0.0, height / x])
    # The upper end of a vertical side is so much further along the line than its lower end.
    shift = -upright[1] * y
    start, end = max(0.0, shift) - margin * height, length + min(0.0, shift) + margin * height
    if end - start < height:
        return None
    left, right = tl + start * (along / length), tl + end * (along / length)
    return quad_from(np.round((left, right, right + upright, left + upright), DIGITS))


def box_area(box: Box) -> float:
    """Area of a box; 0 if it is empty."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    return box_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    shared = intersection(a, b)
    return shared / max(1e-9, box_area(a) + box_area(b) - shared)


def shared_area(a: Quad, b: Quad) -> float:
    """Area that two convex quads share [square pixels]."""
    if intersection(bounds(a), bounds(b)) <= 0:
        return 0.0
    return float(cv2.intersectConvexConvex(np.array(a, np.float32), np.array(b, np.float32))[0])


def quad_iou(a: Quad, b: Quad) -> float:
    """Intersection over union of two convex quads [0-1]. Slanted lines of text below one another share nothing."""
    shared = shared_area(a, b)
    return shared / max(1e-9, area(a) + area(b) - shared)


def inside(point: tuple[float, float], quad: Quad) -> bool:
    """Whether a point lies in a quad or on its edge."""
    return cv2.pointPolygonTest(np.array(quad, np.float32), point, False) >= 0


def ends_inside(line: Quad, quad: Quad) -> bool:
    """Whether both ends of a line of text (the middles of its left and right sides) lie in a quad."""
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = line
    return inside(((x1 + x4) / 2, (y1 + y4) / 2), quad) and inside(((x2 + x3) / 2, (y2 + y3) / 2), quad)


def transform_quad(quad: Quad, matrix: NDArray[np.float64]) -> Quad:
    """A quad under a 3 x 3 homography or a 2 x 3 affine matrix, rounded to DIGITS."""
    points = np.array(quad, np.float64).reshape(-1, 1, 2)
    moved = cv2.perspectiveTransform(points, matrix) if matrix.shape[0] == 3 else cv2.transform(points, matrix)
    return quad_from(moved.round(DIGITS))


def covered_share(quad: Quad, boxes: Sequence[Box]) -> float:
    """The share of a quad (of its upright box, on a 24 x 8 grid) that boxes cover, 0..1."""
    if not boxes:
        return 0.0
    x1, y1, x2, y2 = bounds(quad)
    xs = x1 + (np.arange(24) + 0.5) * (x2 - x1) / 24
    ys = (y1 + (np.arange(8) + 0.5) * (y2 - y1) / 8)[:, None]
    covered = np.zeros((8, 24), bool)
    for bx1, by1, bx2, by2 in boxes:
        covered |= (xs >= bx1) & (xs <= bx2) & (ys >= by1) & (ys <= by2)
    return float(covered.mean())
