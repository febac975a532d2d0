"""How the camera moved from one frame to the next.

Belongs here: estimating the motion. Who uses it to carry quads along is in `touchline/ocr/tracks.py`.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_CORNERS: Final = 200
WINDOW: Final = 21
"""Pixels around a corner that are followed there. Smaller ones lose pans of a repeated pattern..."""
WINDOW_BACK: Final = 11
"""...but show as well whether it comes home, in a third of the time."""
ENOUGH: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.03)
"""Following a corner ends after so many steps, or one shorter than this (pixels of the grey picture)."""
MIN_INLIERS: Final = 14
MIN_INLIER_SHARE: Final = 0.35
"""Players move on their own and overlays not at all: the camera's motion is what the largest group agrees on."""

STOOD: Final = 0.5
"""A corner that moved less (pixels of the grey picture) stood still."""

MIN_STANDING: Final = 0.3
MOST_STANDING: Final = 0.45
"""Of the corners picked fewer than the first share stand still: they are overlays. More than the second: the camera
does. In between they are overlays if the others agree on a motion. (On real footage overlays held 15 % of them.)"""

Affine = tuple[float, float, float, float, float, float]
"""2 x 3 matrix, row by row."""


def camera_motion(
    before: NDArray[np.uint8], after: NDArray[np.uint8], frame_height: int, expected: Affine | None = None
) -> Affine | None:
    """The similarity (pan, zoom, roll) that carries points of `before` onto `after`, in pixels of a full frame.

    Both are grey pictures (`Pitch.gray`), uint8, of frames `frame_height` lines high. Corners are followed by pyramidal
    Lucas-Kanade, there and back (a corner that does not come home is dropped), and agreed on by RANSAC. Where that
    fails they are looked for where the `expected` motion (that of the frame before: pans are steady) would have put
    them. None where too few agree (after a cut, in a blur, on an empty picture) and between pictures of two sizes.
    """
    if before.shape != after.shape:
        return None
    picked = cv2.goodFeaturesToTrack(before, MAX_CORNERS, 0.01, 7)
    if picked is None or len(picked) < MIN_INLIERS:
        return None
    scale = frame_height / before.shape[0]
    corners: NDArray[np.float32] = np.asarray(picked, np.float32)
    matrix = _motion(before, after, corners, np.zeros(2, np.float32))
    if matrix is None and expected is not None:
        matrix = _motion(before, after, corners, np.array([expected[2], expected[5]], np.float32) / scale)
    if matrix is None:
        return None
    a, b, tx, c, d, ty = (float(v) for v in matrix.ravel())
    return (a, b, tx * scale, c, d, ty * scale)


def _motion(
    before: NDArray[np.uint8], after: NDArray[np.uint8], corners: NDArray[np.float32], guess: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """As `camera_motion`, in pixels of the grey pictures; corners are looked for `guess` (x, y) further."""
    moved, found = _follow(before, after, corners, guess, WINDOW)
    home, back = _follow(after, before, moved, -guess, WINDOW_BACK)
    good = found & back & (np.abs(home - corners).max(axis=(1, 2)) < 1.0)
    corners, moved, picked = corners[good], moved[good], len(corners)
    stood = np.abs(moved - corners).max(axis=(1, 2)) < STOOD
    # Few corners stand still while much else moves together: they are laid over the picture. Few stand still and
    # nothing else agrees: the pan was too fast to be followed, and only what is laid over came home.
    matrix = None
    if stood.sum() < MOST_STANDING * picked:
        matrix = _agreed(corners[~stood], moved[~stood], MIN_INLIER_SHARE * (~stood).sum())
    if matrix is None and stood.sum() >= MIN_STANDING * picked:
        matrix = _agreed(corners, moved, MIN_INLIER_SHARE * len(corners))
    return matrix


def _agreed(before: NDArray[np.float32], after: NDArray[np.float32], least: float) -> NDArray[np.float64] | None:
    """The similarity (2 x 3) that at least so many of the corners agree on."""
    if len(before) < MIN_INLIERS:
        return None
    # Not refined there: that is done by LAPACK, whose last bits differ with the processor.
    matrix, inliers = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=2.0, refineIters=0)
    if matrix is None or inliers.sum() < max(MIN_INLIERS, least):
        return None
    agreeing = inliers.ravel() == 1
    return similarity(before.reshape(-1, 2)[agreeing], after.reshape(-1, 2)[agreeing])


def similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float64]:
    """The similarity (2 x 3, float64) that carries points (N x 2, x and y) onto others with the least squared distance.

    The same bits on every machine: products of two float32 are exact in float64, and `math.fsum` rounds but once.
    Raises ZeroDivisionError if all points are one.
    """
    (x, y), (u, v) = before.astype(np.float64).T, after.astype(np.float64).T
    number = len(x)
    sx, sy, su, sv = (math.fsum(values) for values in (x, y, u, v))
    spread = number * math.fsum((*(x * x), *(y * y))) - (sx * sx + sy * sy)
    a = (number * math.fsum((*(x * u), *(y * v))) - (sx * su + sy * sv)) / spread
    b = (number * math.fsum((*(x * v), *(-y * u))) - (sx * sv - sy * su)) / spread
    return np.array(
        [[a, -b, (su - a * sx + b * sy) / number], [b, a, (sv - b * sx - a * sy) / number]],
        np.float64,
    )


def _follow(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    corners: NDArray[np.float32],
    guess: NDArray[np.float32],
    window: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        corners,
        corners + guess,
        winSize=(window, window),
        maxLevel=4,
        criteria=ENOUGH,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, np.float32), np.asarray(found).ravel() == 1


def shift(motion: Affine) -> float:
    """How far the motion moves the origin's neighbourhood: the length of its translation, pixels of the full frame."""
    return float(np.hypot(motion[2], motion[5]))
