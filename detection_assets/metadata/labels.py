"""Draws quads and their labels into frames, so that labels do not overlap.

Belongs here: drawing and the placement of labels. `pictures.py` and `debug_pictures.py` choose what is drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np

from touchline.geometry import bounds
from touchline.values import Image, Quad

COLOURS: Final = {"board": (0, 140, 255), "jersey": (255, 120, 0), "overlay": (200, 0, 200), "other": (0, 220, 220)}
"""Colours by zone, BGR."""
BRAND: Final = (60, 225, 60)
"""Colour of brands, BGR."""
LONGEST: Final = 28
"""Most characters of a label."""
STEPS: Final = 3
"""Most lines of text that a label may be moved away from its quad."""

Mark = tuple[Quad, str, tuple[int, int, int]]
"""A quad, its label and their colour (BGR)."""
Rect = tuple[int, int, int, int]
"""A rectangle: left, top, right, bottom [px]."""


def annotated(image: Image, marks: Sequence[Mark], *, width: int) -> Image:
    """A copy of a frame (BGR), scaled to `width` pixels, with quads and their labels drawn in.

    Labels do not overlap: they are placed in order, and a label without a free place is left out.
    """
    scale = width / image.shape[1]
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=resample).astype(np.uint8)
    size = 0.5 * max(0.8, picture.shape[1] / 1280)
    boxes = [bounds(quad) for quad, _, _ in marks]
    rects = [(int(x1 * scale), int(y1 * scale), int(x2 * scale), int(y2 * scale)) for x1, y1, x2, y2 in boxes]
    for quad, _, colour in marks:
        cv2.polylines(picture, [np.array(np.multiply(quad, scale), np.int32)], True, colour, 1, cv2.LINE_AA)
    taken: list[Rect] = []
    for (_, label, colour), rect in zip(marks, rects, strict=True):
        text = plain_ascii(label)[:LONGEST].strip()
        if not text:
            continue
        (across, up), down = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        spot = _spot(rect, (across + 6, up + down + 4), picture.shape[1], picture.shape[0], taken, rects)
        if spot is None:
            continue
        taken.append(spot)
        x1, y1, x2, y2 = spot
        picture[y1:y2, x1:x2] = (picture[y1:y2, x1:x2] * 0.3).astype(np.uint8)
        write(picture, text, (x1 + 3, y2 - down - 1), colour, size=size)
    return picture


def write(picture: Image, text: str, spot: tuple[int, int], colour: tuple[int, int, int], *, size: float) -> None:
    """Draws ASCII text with a black outline into a picture; its lower left corner is at `spot` [px]."""
    # The outline is not drawn with thicker letters: OpenCV 5 spaces them wider.
    for dx, dy, ink in ((-1, 0, (0, 0, 0)), (1, 0, (0, 0, 0)), (0, -1, (0, 0, 0)), (0, 1, (0, 0, 0)), (0, 0, colour)):
        cv2.putText(picture, text, (spot[0] + dx, spot[1] + dy), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def plain_ascii(text: str) -> str:
    """Text in ASCII for OpenCV's Hershey fonts: accents are dropped, other letters become question marks."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def _spot(
    rect: Rect, size: tuple[int, int], width: int, height: int, taken: Sequence[Rect], quads: Sequence[Rect]
) -> Rect | None:
    """The place of a label: next to its quad, on no other label, and on no quad if possible. None if there is none."""
    places = list(_places(rect, size, width, height))
    for avoided in ([*taken, *quads], taken):
        for place in places:
            if not any(_overlap(place, other) for other in avoided):
                return place
    return None


def _places(rect: Rect, size: tuple[int, int], width: int, height: int) -> Iterator[Rect]:
    """Places for a label inside the picture, in order of preference: above, below, right, left, then further away."""
    x1, y1, x2, y2 = rect
    across, up = size
    corners = [(x1, y1 - up - 1), (x1, y2 + 1), (x2 + 1, y1), (x1 - across - 1, y1)]
    for step in range(1, STEPS + 1):
        corners += [(x1, y1 - (step + 1) * up - 1), (x1, y2 + 1 + step * up)]
    for left, top in corners:
        left, top = min(max(0, left), max(0, width - across)), min(max(0, top), max(0, height - up))
        yield left, top, min(width, left + across), min(height, top + up)


def _overlap(one: Rect, other: Rect) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
