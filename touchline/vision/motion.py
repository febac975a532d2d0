"""Camera motion from one frame to the next.

Belongs here: estimating the motion. Tracks that move with it are in `touchline/ocr/tracks.py`.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_CORNERS: Final = 200
"""Largest number of corners that are tracked."""
WINDOW: Final = 21
"""Side of the window of the forward pass of Lucas-Kanade [pixels]. A smaller window fails in pans over a repeated
pattern."""
WINDOW_BACK: Final = 11
"""Side of the window of the backward pass of Lucas-Kanade [pixels]. For the forward-backward check it is as good as
WINDOW, in a third of the time."""
TERMINATION: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.03)
"""Termination criteria of Lucas-Kanade: 30 iterations, or a step shorter than 0.03 [pixels of the grey picture]."""
MIN_INLIERS: Final = 14
"""Least number of corners that must agree on a motion."""
MIN_INLIER_SHARE: Final = 0.35
"""Least share of the corners that must agree on a motion [0-1]. Corners on players and overlays do not follow it."""
STATIC: Final = 0.5
"""Displacement below which a corner is static [pixels of the grey picture]."""
MIN_STATIC: Final = 0.3
"""Share of static corners from which the camera is at rest if the others agree on no motion [0-1]. Fewer static corners
lie on overlays, which held 15 % of the corners in real footage."""
MAX_STATIC: Final = 0.45
"""Share of static corners from which the camera is at rest whatever the others do [0-1]."""

Affine = tuple[float, float, float, float, float, float]
"""2 x 3 matrix, row by row."""


def camera_motion(
    before: NDArray[np.uint8], after: NDArray[np.uint8], frame_height: int, expected: Affine | None = None
) -> Affine | None:
    """The similarity (pan, zoom, roll) that maps points of `before` to `after`, in pixels of the stored frame.

    Both are grey pictures (`Pitch.gray`, H' x W', uint8) of frames `frame_height` pixels high. Corners are tracked by
    pyramidal Lucas-Kanade with a forward-backward check, and RANSAC estimates the motion. If that fails, tracking is
    repeated from the positions that the `expected` motion (that of the previous frame) predicts. None if too few
    corners agree (after a cut, in a blurred or empty picture) or if the pictures differ in size.
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
    """As `camera_motion`, in pixels of the grey pictures. Tracking begins at each corner plus `guess` (x, y)."""
    moved, found = _track(before, after, corners, guess, WINDOW)
    returned, back = _track(after, before, moved, -guess, WINDOW_BACK)
    good = found & back & (np.abs(returned - corners).max(axis=(1, 2)) < 1.0)
    corners, moved, picked = corners[good], moved[good], len(corners)
    static = np.abs(moved - corners).max(axis=(1, 2)) < STATIC
    # Few static corners lie on overlays. If the others agree on no motion, the pan was too fast to be tracked, and only
    # corners on overlays passed the check.
    matrix = None
    if static.sum() < MAX_STATIC * picked:
        matrix = _agreed(corners[~static], moved[~static], MIN_INLIER_SHARE * (~static).sum())
    if matrix is None and static.sum() >= MIN_STATIC * picked:
        matrix = _agreed(corners, moved, MIN_INLIER_SHARE * len(corners))
    return matrix


def _agreed(before: NDArray[np.float32], after: NDArray[np.float32], least: float) -> NDArray[np.float64] | None:
    """The similarity (2 x 3) on which at least `least` and MIN_INLIERS corners agree; None if there is none."""
    if len(before) < MIN_INLIERS:
        return None
    # Without refinement by LAPACK, whose last bits depend on the processor.
    matrix, inliers = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=2.0, refineIters=0)
    if matrix is None or inliers.sum() < max(MIN_INLIERS, least):
        return None
    agreeing = inliers.ravel() == 1
    return similarity(before.reshape(-1, 2)[agreeing], after.reshape(-1, 2)[agreeing])


def similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float64]:
    """The least-squares similarity (2 x 3, float64) that maps points (N x 2, float32, x and y) to others.

    The result is equal to the last bit on every machine: products of two float32 are exact in float64, and `math.fsum`
    rounds only once. Raises ZeroDivisionError if all points are equal.
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


def _track(
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
        criteria=TERMINATION,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, np.float32), np.asarray(found).ravel() == 1


def shift(motion: Affine) -> float:
    """Length of the translation of a motion [pixels of the stored frame]."""
    return float(np.hypot(motion[2], motion[5]))
