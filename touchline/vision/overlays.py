"""Detection of broadcast overlays (score bug, channel logo, watermark), which are static while the camera moves.

Belongs here: temporal accumulation of static edges over many frames, and the boxes of overlays. `run_ocr` reads text in
an overlay like any other text and assigns the zone.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Overlay

LINES: Final = 180
"""Height of the pictures in which edges are compared [pixels]. It suffices for the texture of an overlay's letters."""
SAME: Final = 12
"""Largest change of a static pixel, caused by compression [grey levels, 0-255]."""
EDGE: Final = 40
"""Least Sobel magnitude of an edge pixel [grey levels per pixel, 0-255]."""
MIN_PAIRS: Final = 4
"""Number of frame pairs with camera motion that is needed before an overlay is reported."""
MIN_STATIC: Final = 0.7
"""Share of the frame pairs with camera motion in which an edge pixel must be static [0-1]."""
MIN_AREA: Final = 0.0006
"""Area of the smallest overlay [share of the picture]."""
MAX_AREA: Final = 0.12
"""Area of the largest overlay [share of the picture]."""


class StaticEdges:
    """Temporal edge accumulation: counts for each pixel in how many frame pairs with camera motion an edge was static.

    `state` is what `state()` of an earlier object returned.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._pairs = 0
        self._counts: NDArray[np.uint16] | None = None
        self._last: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        if state and state.get("counts"):
            shape = tuple(state["shape"])
            self._pairs = int(state["pairs"])
            self._counts = np.frombuffer(zlib.decompress(state["counts"]), np.uint16).reshape(shape).copy()

    def state(self) -> dict[str, Any]:
        """The counts so far, compressed to a few kB; of types that BSON can store."""
        if self._counts is None:
            return {}
        return {
            "pairs": self._pairs,
            "shape": list(self._counts.shape),
            "counts": zlib.compress(self._counts.tobytes(), 6),
        }

    def restart(self) -> None:
        """Forgets the last frame, so that the next one is not compared with it."""
        self._last = None

    def add(self, gray: NDArray[np.uint8], moving: bool) -> None:
        """Adds a frame (H x W, grey, uint8). `moving`: the camera moved since the last frame, or there was a cut."""
        small = cv2.resize(gray, (max(1, round(gray.shape[1] * LINES / gray.shape[0])), LINES)).astype(np.uint8)
        edges = _edges(small)
        if self._counts is None or self._counts.shape != small.shape:
            self._counts, self._pairs, self._last = np.zeros(small.shape, np.uint16), 0, None
        if self._last is not None and moving and self._pairs < np.iinfo(np.uint16).max:
            before, edges_before = self._last
            self._counts += (cv2.absdiff(small, before) <= SAME) & edges & edges_before
            self._pairs += 1
        self._last = (small, edges)

    def overlays(self, width: int, height: int) -> tuple[Overlay, ...]:
        """Boxes of the overlays, in pixels of a frame of `width` x `height`; none before MIN_PAIRS pairs."""
        if self._counts is None or self._pairs < MIN_PAIRS:
            return ()
        share = self._counts / self._pairs
        static = (share >= MIN_STATIC).astype(np.uint8)
        rows, columns = static.shape
        closed = cv2.morphologyEx(static, cv2.MORPH_CLOSE, np.ones((5, 9), np.uint8))
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed)
        found = []
        for label in range(1, count):
            x, y, w, h, _ = (int(v) for v in statistics[label])
            if not MIN_AREA <= w * h / (rows * columns) <= MAX_AREA:
                continue
            inside = labels[y : y + h, x : x + w] == label
            confidence = float(share[y : y + h, x : x + w][inside & (static[y : y + h, x : x + w] > 0)].mean())
            fx, fy = width / columns, height / rows
            found.append(Overlay((x * fx, y * fy, (x + w) * fx, (y + h) * fy), confidence))
        return tuple(found)


def _edges(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.magnitude(dx, dy) / 4 >= EDGE)
