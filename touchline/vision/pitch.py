"""Segmentation of the playing field: its mask and its edges, along which boards are placed.

Belongs here: the mask and its upper and lower edge. `bands.py` finds the boards beyond the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Image

WORKING_HEIGHT: Final = 360
"""Height of the mask: it suffices for boards a few pixels high, at a quarter of the cost of 720 [pixels]."""
GREEN_HUES: Final = (30, 90)
"""Lowest and highest hue of grass: yellow-green in floodlight, blue-green in shade [degrees / 2, as in OpenCV]."""
HUE_SPREAD: Final = 14
"""Largest difference of grass from the most frequent green hue of the picture [degrees / 2, as in OpenCV]."""
MIN_SATURATION: Final = 50
"""Least saturation of grass [0-255]."""
MIN_VALUE: Final = 35
"""Least value (brightness) of grass [0-255]."""
MIN_COMPONENT: Final = 0.03
"""Area of the smallest component that is pitch; smaller ones are shirts, banners or boards [share of the picture]."""
GROUP_WIDTH: Final = 0.06
"""Width above which an object on the grass is a graphic [share of the picture's width]. In a wide shot, players are
about 0.02 wide, and graphics 0.1 or more."""
LETTER_GAP: Final = 0.015
"""Largest gap between two letters of a word on the grass [share of the picture's width]."""
LINE_ROWS: Final = 3
"""Height of the lowest line of text on the grass [rows of the mask]."""
GREEN_BOARD: Final = 0.08
"""Height of a green board in a wide shot, which the mask may count as grass [share of the picture's height]."""


@dataclass(frozen=True)
class Pitch:
    """The playing field in one picture.

    `mask` is H' x W' uint8 (255 = grass) at `scale` times the frame's size, and `share` is the share of grass, 0..1.
    `gray` is the grey picture (H' x W', uint8) in which boards and camera motion are found.
    """

    mask: NDArray[np.uint8]
    scale: float
    share: float
    gray: NDArray[np.uint8]

    def upper_edge(self) -> NDArray[np.float32]:
        """Y of the topmost grass in each column of the mask (W', float32) [mask pixels]; NaN without grass."""
        return _first_row(self.mask)

    def lower_edge(self) -> NDArray[np.float32]:
        """Y just below the lowest grass in each column of the mask (W', float32) [mask pixels]; NaN without grass."""
        flipped = _first_row(self.mask[::-1])
        lowest: NDArray[np.float32] = self.mask.shape[0] - flipped
        return lowest

    def rows_beside(self) -> tuple[float, float]:
        """First and last row of what is neither grass nor players [share of the picture's height].

        GREEN_BOARD is added on both sides, for boards as green as grass. (0, 0) if there is only grass.
        """
        height, width = self.mask.shape
        other = np.where(self.mask > 0, 0, 255).astype(np.uint8)
        gap, group = (max(1, round(share * width)) for share in (LETTER_GAP, GROUP_WIDTH))
        words = cv2.morphologyEx(other, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
        wide = cv2.morphologyEx(words, cv2.MORPH_OPEN, np.ones((LINE_ROWS, group), np.uint8))
        rows = np.flatnonzero(wide.any(axis=1))
        if not rows.size:
            return 0.0, 0.0
        first, last = int(rows[0]), int(rows[-1])
        return max(0.0, first / height - GREEN_BOARD), min(1.0, (last + 1) / height + GREEN_BOARD)


def find_pitch(image: Image, frame_height: int | None = None) -> Pitch:
    """The playing field of a picture (H x W x 3, BGR, uint8); a mask of zeros if there is none.

    `frame_height` is the height of the stored frame [pixels], if the picture was loaded smaller (see `FrameLoader`).
    The mask has the pixels near the most frequent green hue, after morphological opening and closing, without small
    components.
    """
    scale = WORKING_HEIGHT / (frame_height or image.shape[0])
    width = max(1, round(image.shape[1] * WORKING_HEIGHT / image.shape[0]))
    size = (width, WORKING_HEIGHT)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV).astype(np.uint8, copy=False)
    green = _of_hues(hsv, *GREEN_HUES)
    if cv2.countNonZero(green) < MIN_COMPONENT * green.size:
        return Pitch(np.zeros(gray.shape, np.uint8), scale, 0.0, gray)
    hues = cv2.calcHist([hsv], [0], green, [180], [0, 180]).ravel()
    common = int(np.convolve(hues, np.ones(5, np.float32), "same").argmax())
    mask = _of_hues(hsv, max(GREEN_HUES[0], common - HUE_SPREAD), min(GREEN_HUES[1], common + HUE_SPREAD))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # The area of a component includes its holes, which are players.
    small_ones = [outline for outline in outlines if cv2.contourArea(outline) < MIN_COMPONENT * mask.size]
    cv2.drawContours(mask, small_ones, -1, 0, cv2.FILLED)
    return Pitch(mask, scale, cv2.countNonZero(mask) / mask.size, gray)


def _of_hues(hsv: Image, least: int, most: int) -> NDArray[np.uint8]:
    """255 where a picture (H x W x 3, HSV, uint8) has a hue in that range and is neither pale nor dark, else 0."""
    return cv2.inRange(hsv, (least, MIN_SATURATION, MIN_VALUE), (most, 255, 255)).astype(np.uint8, copy=False)


def _first_row(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    grass = mask > 0
    rows: NDArray[np.float32] = grass.argmax(axis=0).astype(np.float32)
    rows[~grass.any(axis=0)] = np.nan
    return rows
