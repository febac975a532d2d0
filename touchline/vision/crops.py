"""Crops of stored frames for reports and models.

Belongs here: cropping around a quad, outlining it, and encoding within a byte limit. Callers choose the quads.
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
"""Colour of the outline [BGR, 0-255]."""
_QUALITIES: Final = (84, 74, 62, 50, 38)
"""JPEG qualities that are tried, in this order, before the picture is scaled down [0-100]."""
_SMALLEST_PX: Final = 48
"""Length of the longer side below which a picture is not scaled down further [px]."""
_LARGEST_ENLARGEMENT: Final = 3.0
"""Largest factor by which a crop is enlarged."""


def cut(image: Image, quad: Quad, *, margin: float = 0.35) -> tuple[Image, tuple[int, int]]:
    """The part of an image (H x W x 3, BGR, uint8) around a quad, and the (x, y) of its top left corner [px].

    `margin` is added on all sides [share of the quad's height, at least 4 px]. For a quad outside it, the nearest
    pixels are returned.
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
    """A crop (H x W x 3, BGR, uint8), at most `width` px wide, with the quad outlined.

    The crop is about `aspect` times as wide as high, so that crops line up in a row. At the frame's border it is moved
    inwards. `margin` is added around the quad [share of its height or of a third of its width, at least 6 px].
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
    """The BGR image as a JPEG of at most `max_bytes`. Quality is reduced first, then size.

    Raises TouchlineError if even the smallest picture is too large.
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
                "raise brand_report.crop_bytes."
            )
        picture = np.asarray(
            cv2.resize(picture, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_AREA), np.uint8
        )


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a `data:` URI, for JSON and HTML."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
