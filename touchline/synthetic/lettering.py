"""Text as pictures: boards, shirts and overlays are lettered with the font that comes inside Pillow.

Belongs here: rendering a line of text and where its ink lies. What is written where is the business of the callers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from touchline.values import Image

Mask = NDArray[np.uint8]


@lru_cache(maxsize=256)
def lettering(text: str, cap_height: int) -> Mask:
    """The ink of one line of bold text, H x W uint8 (255 is ink), cropped to it. Capitals are `cap_height` px high."""
    size = 100
    left, top, right, bottom = _font(size).getbbox("H")
    size = max(6, round(size * cap_height / (bottom - top)))
    font = _font(size)
    weight = max(1, round(cap_height * 0.035))
    left, top, right, bottom = font.getbbox(text, stroke_width=weight)
    canvas = Pictures.new("L", (int(right - left) + 4, int(bottom - top) + 4), 0)
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, fill=255, font=font, stroke_width=weight, stroke_fill=255)
    ink = np.asarray(canvas)
    rows, columns = np.flatnonzero(ink.max(axis=1) > 64), np.flatnonzero(ink.max(axis=0) > 64)
    return np.ascontiguousarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def fitted(text: str, cap_height: int, max_width: int) -> Mask:
    """`lettering`, with smaller capitals where the line would be wider than `max_width` px."""
    ink = lettering(text, cap_height)
    if ink.shape[1] > max_width:
        ink = lettering(text, max(6, int(cap_height * max_width / ink.shape[1])))
    return ink


def stamp(image: Image, ink: Mask, x: int, y: int, colour: tuple[int, int, int], opacity: float = 1.0) -> None:
    """Lay ink of a BGR colour onto the image, its top left at (x, y), which must leave it inside; in place."""
    height, width = ink.shape
    place = image[y : y + height, x : x + width]
    alpha = (ink.astype(np.float32) * (opacity / 255.0))[:, :, None]
    place[:] = (place * (1 - alpha) + np.array(colour, np.float32) * alpha + 0.5).astype(np.uint8)


def centred(image: Image, text: str, box: tuple[int, int, int, int], cap: int, colour: tuple[int, int, int]) -> None:
    """Letter `text` in the middle of the box (x1, y1, x2, y2), in place."""
    x1, y1, x2, y2 = box
    ink = fitted(text, cap, x2 - x1 - 2)
    stamp(image, ink, (x1 + x2 - ink.shape[1]) // 2, (y1 + y2 - ink.shape[0]) // 2, colour)


def rounded(image: Image, box: tuple[int, int, int, int], radius: int, colour: tuple[int, int, int]) -> None:
    """Fill a box (x1, y1, x2, y2) with rounded corners, in place."""
    x1, y1, x2, y2 = box
    cv2.rectangle(image, (x1 + radius, y1), (x2 - radius - 1, y2 - 1), colour, -1)
    cv2.rectangle(image, (x1, y1 + radius), (x2 - 1, y2 - radius - 1), colour, -1)
    for x in (x1 + radius, x2 - radius - 1):
        for y in (y1 + radius, y2 - radius - 1):
            cv2.circle(image, (x, y), radius, colour, -1, cv2.LINE_AA)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
