"""Perspective rectification: a quad of a picture as an upright rectangle.

Belongs here: the homography and the warp. Callers choose the rectangle's size: `strips.py` for board rows,
`touchline/ocr/line_crops.py` for lines of text.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Image


def sides(corners: NDArray[np.float32]) -> tuple[float, float]:
    """Width and height of a quad (4 x 2, clockwise from top left) [pixels]: the longer of each two opposite sides."""
    width = max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[3] - corners[2]))
    height = max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2]))
    return float(width), float(height)


def upright(corners: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """The 3 x 3 homography that maps a quad (4 x 2, clockwise from top left) to a rectangle at (0, 0)."""
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, target), np.float64)


def cut(image: Image, forward: NDArray[np.float64], width: int, height: int) -> Image:
    """The picture warped by a homography: `height` x `width` x 3, BGR, uint8. Beyond its border, it is replicated."""
    return cv2.warpPerspective(
        image, forward, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8)
