"""Where the grass is. Boards stand along its edge, so everything else starts here.

Belongs here: the mask of the playing field and its upper and lower edge. What stands behind the edge is found in
`bands.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Image

WORKING_HEIGHT: Final = 360
"""Lines at which the mask is made: enough for boards of a few pixels, and a quarter of the work of 720."""
GREEN_HUES: Final = (30, 90)
"""Hue of grass in OpenCV's degrees / 2: yellow-green under flood-light to blue-green in shade."""
HUE_SPREAD: Final = 14
"""One pitch is of one green: hues this far (degrees / 2) from its commonest are still it."""
MIN_SATURATION: Final = 50
MIN_VALUE: Final = 35
MIN_COMPONENT: Final = 0.03
"""A patch of green smaller than this share of the picture is a shirt, a banner or a board."""


@dataclass(frozen=True)
class Pitch:
    """The playing field in one picture.

    `mask` is H' x W' uint8 (255 = grass) at `scale` times the picture's size; `share` is the grass's share, 0..1.
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


def find_pitch(image: Image) -> Pitch:
    """The playing field of a picture (BGR); a mask of zeros where there is none.

    Pixels of the commonest green hue, cleaned by opening and closing, in components large enough to be a field.
    """
    scale = WORKING_HEIGHT / image.shape[0]
    small = cv2.resize(image, (max(1, round(image.shape[1] * scale)), WORKING_HEIGHT), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2HSV))
    green = (hue >= GREEN_HUES[0]) & (hue <= GREEN_HUES[1]) & (saturation >= MIN_SATURATION) & (value >= MIN_VALUE)
    if green.mean() < MIN_COMPONENT:
        return Pitch(np.zeros(hue.shape, np.uint8), scale, 0.0, gray)
    counts = np.convolve(np.bincount(hue[green], minlength=180).astype(np.float32), np.ones(5, np.float32), "same")
    near = np.abs(hue.astype(np.int16) - int(counts.argmax())) <= HUE_SPREAD
    mask = np.where(green & near, 255, 0).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask)
    large = statistics[:, cv2.CC_STAT_AREA] >= MIN_COMPONENT * mask.size
    large[0] = False
    mask = np.where(large[labels], 255, 0).astype(np.uint8)
    return Pitch(mask, scale, float((mask > 0).mean()), gray)


def _first_row(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    grass = mask > 0
    rows: NDArray[np.float32] = grass.argmax(axis=0).astype(np.float32)
    rows[~grass.any(axis=0)] = np.nan
    return rows
