"""How the camera moved from one frame to the next.

Belongs here: estimating the motion. Who uses it to carry quads along is in `touchline/ocr/tracks.py`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_CORNERS: Final = 160
WINDOW: Final = (24, 18)
"""Width and height [px] of what is followed around a corner. OpenCV takes eight pixels of a row at a time: 21 x 21 hold
about as many and take half as long again."""
STEPS: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02)
"""At each level a corner is followed until it moves less than 0.02 px, or 20 times: by then it is lost anyway."""
MIN_INLIERS: Final = 14
MIN_INLIER_SHARE: Final = 0.35
"""Players move on their own and overlays not at all: the camera's motion is what the largest group agrees on."""

Affine = tuple[float, float, float, float, float, float]
"""2 x 3 matrix, row by row."""


def camera_motion(before: NDArray[np.uint8], after: NDArray[np.uint8], frame_height: int) -> Affine | None:
    """The similarity (pan, zoom, roll) that carries points of `before` onto `after`, in pixels of a full frame.

    Both are grey pictures (`Pitch.gray`), uint8 and of one size, of frames `frame_height` lines high. Corners are
    followed by pyramidal Lucas-Kanade, there and back (a corner that does not come home is dropped), and agreed on by
    RANSAC. None where too few agree: after a cut, in a blur, on an empty picture.
    """
    picked = cv2.goodFeaturesToTrack(before, MAX_CORNERS, 0.01, 7)
    if picked is None or len(picked) < MIN_INLIERS:
        return None
    corners: NDArray[np.float32] = np.asarray(picked, np.float32)
    moved, found = _follow(before, after, corners)
    home, back = _follow(after, before, moved)
    good = found & back & (np.abs(home - corners).max(axis=(1, 2)) < 1.0)
    if good.sum() < MIN_INLIERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(corners[good], moved[good], ransacReprojThreshold=2.0)
    if matrix is None or inliers.sum() < max(MIN_INLIERS, MIN_INLIER_SHARE * good.sum()):
        return None
    scale = frame_height / before.shape[0]
    a, b, tx, c, d, ty = (float(v) for v in matrix.ravel())
    return (a, b, tx * scale, c, d, ty * scale)


def _follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], corners: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, corners, np.empty_like(corners), winSize=WINDOW, maxLevel=4, criteria=STEPS
    )
    return np.asarray(moved, np.float32), np.asarray(found).ravel() == 1


def shift(motion: Affine) -> float:
    """How far the motion moves the origin's neighbourhood: the length of its translation, pixels of the full frame."""
    return float(np.hypot(motion[2], motion[5]))
