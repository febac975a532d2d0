"""The items without a broadcast: black, and colour bars. Nothing may be found in them.

Belongs here: drawing them as the list's checksums have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from touchline.values import Image

WIDTH, HEIGHT, FPS, FRAMES = 1280, 720, 25, 125
BAR: Final = 183
"""Width of a colour bar [px]; the seventh ends at the edge of the picture."""
LIGHT: Final = 192
"""Brightness of a colour that is on (of 255)."""


def black() -> Image:
    """A black picture."""
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def bars() -> Image:
    """White, yellow, cyan, green, magenta, red and blue side by side, BGR."""
    image = black()
    for place, code in enumerate((0b111, 0b011, 0b110, 0b010, 0b101, 0b001, 0b100)):
        image[:, place * BAR : (place + 1) * BAR] = [LIGHT * (code >> bit & 1) for bit in (2, 1, 0)]
    return image


PICTURES: Final[Mapping[str, Callable[[], Image]]] = {"black": black, "bars": bars}
"""What every frame of a rendered item shows, by its stem."""


def render(stem: str, path: Path) -> None:
    """Write a rendered item to `path` (.mp4): 5 s of one picture in MPEG-4."""
    image = PICTURES[stem]()
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for _ in range(FRAMES):
        video.write(image)
    video.release()
