"""The playing field: its mask and its edges, along which boards stand.

Belongs here: the mask and its upper and lower edge. Boards beyond the edge are found in `bands.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Image

WORKING_HEIGHT: Final = 360
"""Height of the mask: enough for boards of a few pixels, at a quarter of the cost of 720 [pixels]."""
GREEN_HUES: Final = (30, 90)
"""Lowest and highest hue of grass: yellow-green in floodlight, blue-green in shade [degrees / 2, as in OpenCV]."""
HUE_SPREAD: Final = 14
"""Largest difference of grass from the most frequent green hue of the picture [degrees / 2]."""
MIN_SATURATION: Final = 50
"""Least saturation of grass [0-255]."""
MIN_VALUE: Final = 35
"""Least value (brightness) of grass [0-255]."""
MIN_COMPONENT: Final = 0.03
"""Area of the smallest component that is pitch; smaller ones are shirts, banners or boards [share of the picture]."""
GROUP_WIDTH: Final = 0.06
"""Width above which an object on the grass is a graphic [share of the picture's width]. In a wide shot a player
is about 0.02 wide, a graphic 0.1 or more."""
LETTER_GAP: Final = 0.015
"""Largest gap between two letters of a word on the grass [share of the picture's width]."""
LINE_ROWS: Final = 3
"""Height of the lowest line of text on the grass [rows of the mask]."""
GREEN_BOARD: Final = 0.08
"""Height of a green board in a wide shot, which the mask may count as grass [share of the picture's height]."""


@dataclass(frozen=True)
class Pitch:
    """The playing field in one picture.

    `mask` is H' x W' uint8 (255 = grass) at `scale` times the frame's size; `share` is the grass's share, 0..1.
    `gray` is the picture itself at that size, uint8: what boards and the camera's motion are found in.
    """

    mask: NDArray[np.uint8]
    scale: float
    share: float
    gray: NDArray[np.uint8]

    def upper_edge(self) -> NDArray[np.float32]:
        """For each column of the mask the y of the topmost grass, in mask pixels; NaN where a column has none."""
        return _first_row(self.mask)

    def lower_edge(self) -> NDArray[np.float32]:
        """For each column of the mask the y just below the lowest grass, in mask pixels; NaN where it has none."""
        flipped = _first_row(self.mask[::-1])
        lowest: NDArray[np.float32] = self.mask.shape[0] - flipped
        return lowest

    def rows_beside(self) -> tuple[float, float]:
        """First and last row with something other than grass and players on it, as shares of the picture's height.

        GREEN_BOARD is added on either side, for boards as green as grass. (0, 0) if there is only grass.
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
    """The playing field of a picture (BGR); a mask of zeros if there is none.

    `frame_height`: height of the stored frame, if the picture was loaded at less than that (see `FrameLoader`).
    The mask holds the pixels of the most frequent green hue, after opening and closing, in large components.
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
    # Holes belong to the area of a component: players stand in them.
    small_ones = [outline for outline in outlines if cv2.contourArea(outline) < MIN_COMPONENT * mask.size]
    cv2.drawContours(mask, small_ones, -1, 0, cv2.FILLED)
    return Pitch(mask, scale, cv2.countNonZero(mask) / mask.size, gray)


def _of_hues(hsv: Image, least: int, most: int) -> NDArray[np.uint8]:
    """255 where a picture in HSV (H x W x 3, uint8) has a hue in that range and is neither pale nor dark, else 0."""
    return cv2.inRange(hsv, (least, MIN_SATURATION, MIN_VALUE), (most, 255, 255)).astype(np.uint8, copy=False)


def _first_row(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    grass = mask > 0
    rows: NDArray[np.float32] = grass.argmax(axis=0).astype(np.float32)
    rows[~grass.any(axis=0)] = np.nan
    return rows
