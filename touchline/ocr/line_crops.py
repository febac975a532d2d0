"""Cutting single lines of text out of a picture, as recognisers want them. Belongs here: their size and direction."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from touchline.ocr.pp_ocr import LINE_HEIGHT
from touchline.values import Image, Quad
from touchline.vision.perspective import cut, sides, upright

TURNED: Final = 1.5
"""A line so many times taller than wide is written from bottom to top or top to bottom."""


def cut_line(image: Image, quad: Quad, stretch: float = 1.0) -> Image:
    """The line under `quad` as an upright picture (H x W x 3); turned if it is far taller than wide.

    It has the line's own size, `stretch` times its width; lower lines are enlarged to the height of PP-OCR's input,
    which is above docTR's.
    """
    corners = np.array(quad, np.float32)
    width, height = (max(2.0, side) for side in sides(corners))
    turned = height >= TURNED * width
    scale = max(1.0, LINE_HEIGHT / (width if turned else height))
    columns, rows = math.ceil(width * scale * stretch), math.ceil(height * scale)
    line = cut(image, upright(corners, columns, rows), columns, rows)
    return np.rot90(line).copy() if turned else line
