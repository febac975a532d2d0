"""Cut-outs of stored frames: small pictures that show where something was seen.

Belongs here: cropping around a quad, outlining it, and encoding within a byte limit. Which quads are worth a picture is
for the callers to say.
"""

from __future__ import annotations

import base64
from typing import Final

import cv2
import numpy as np

from touchline.errors import TouchlineError
from touchline.geometry import bounds, transform_quad
from touchline.values import Image, Quad

OUTLINE: Final = (90, 225, 60)
"""Colour of the outline, BGR."""
_QUALITIES: Final = (84, 74, 62, 50, 38)
"""JPEG qualities to try, in turn, before the picture is made smaller."""
_SMALLEST_PX: Final = 48
_LARGEST_ENLARGEMENT: Final = 3.0


def cut(image: Image, quad: Quad, *, margin: float = 0.35) -> tuple[Image, tuple[int, int]]:
    """The part of a BGR image around a quad, and the (x, y) of its top left corner in the image [px].

    `margin` is added on all sides, in shares of the quad's height and at least 4 px. A quad wholly outside the image
    gives the nearest strip of pixels rather than nothing.
    """
    x1, y1, x2, y2 = bounds(quad)
    pad = max(4.0, margin * (y2 - y1))
    return _window(image, x1 - pad, y1 - pad, x2 + pad, y2 + pad)


def _window(image: Image, x1: float, y1: float, x2: float, y2: float) -> tuple[Image, tuple[int, int]]:
    height, width = image.shape[:2]
    left, top = min(max(0, int(x1)), width - 1), min(max(0, int(y1)), height - 1)
    right, bottom = min(width, max(left + 1, int(np.ceil(x2)))), min(height, max(top + 1, int(np.ceil(y2))))
    return image[top:bottom, left:right], (left, top)


def evidence(image: Image, quad: Quad, *, width: int = 480, aspect: float = 2.4, margin: float = 0.35) -> Image:
    """A BGR picture, at most `width` px wide, of the quad (outlined) in its surroundings.

    The window grows in its shorter direction until it is about `aspect` times as wide as high, so that a row of such
    pictures lines up; where the frame ends it is moved inwards.
    """
    frame_height, frame_width = image.shape[:2]
    x1, y1, x2, y2 = bounds(quad)
    pad = max(6.0, margin * max(y2 - y1, (x2 - x1) / 3))
    half_w, half_h = (x2 - x1) / 2 + pad, (y2 - y1) / 2 + pad
    half_w, half_h = max(half_w, half_h * aspect), max(half_h, half_w / aspect)
    half_w, half_h = min(half_w, frame_width / 2), min(half_h, frame_height / 2)
    cx = min(max((x1 + x2) / 2, half_w), frame_width - half_w)
    cy = min(max((y1 + y2) / 2, half_h), frame_height - half_h)
    crop, (left, top) = _window(image, cx - half_w, cy - half_h, cx + half_w, cy + half_h)
    scale = min(width / crop.shape[1], _LARGEST_ENLARGEMENT)
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    picture = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    shift = np.array([[size[0] / crop.shape[1], 0, 0], [0, size[1] / crop.shape[0], 0]], np.float64)
    moved = transform_quad(_moved(quad, -left, -top), shift)
    cv2.polylines(picture, [np.rint(np.array(moved)).astype(np.int32)], True, OUTLINE, 2, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def _moved(quad: Quad, dx: float, dy: float) -> Quad:
    a, b, c, d = ((x + dx, y + dy) for x, y in quad)
    return (a, b, c, d)


def jpeg_within(image: Image, max_bytes: int) -> bytes:
    """The BGR image as a JPEG of at most `max_bytes`: first coarser, then smaller.

    Raises TouchlineError if that cannot be.
    """
    picture = image
    while True:
        for quality in _QUALITIES:
            ok, buffer = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if ok and buffer.size <= max_bytes:
                return buffer.tobytes()
        height, width = picture.shape[:2]
        if min(height, width) <= _SMALLEST_PX // 4 or max(height, width) <= _SMALLEST_PX:
            raise TouchlineError(
                f"A crop of {image.shape[1]} x {image.shape[0]} px does not fit into {max_bytes} bytes as a JPEG; "
                "allow more bytes for each crop (brand_report.crop_bytes)."
            )
        picture = np.asarray(
            cv2.resize(picture, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_AREA), np.uint8
        )


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a `data:` URI, to stand inside JSON and HTML."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
