"""What the broadcaster lays over the picture: score bug, channel mark, watermark. It stays put while the camera moves.

Belongs here: gathering evidence of standing edges over many frames and boxing it. What stands in an overlay is read
like any other text and sorted by zone in `run_ocr`.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Overlay

LINES: Final = 180
"""Lines at which edges are compared: letters of an overlay blur to a texture, which is all that is needed."""
SAME: Final = 12
"""Grey levels (of 255) by which a standing pixel may flicker: compression."""
EDGE: Final = 40
"""Sobel magnitude (of 255 per pixel) from which a pixel counts as an edge."""
MIN_PAIRS: Final = 4
"""Moving pairs of frames needed before anything is called an overlay."""
MIN_STANDING: Final = 0.7
"""Share of moving pairs in which an edge pixel must have stood."""
MIN_AREA: Final = 0.0006
MAX_AREA: Final = 0.12
"""Share of the picture that one overlay covers."""


class StandingEdges:
    """Counts, pixel by pixel, how often an edge stood while the picture around it moved."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._pairs = 0
        self._counts: NDArray[np.uint16] | None = None
        self._last: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        if state and state.get("counts"):
            shape = tuple(state["shape"])
            self._pairs = int(state["pairs"])
            self._counts = np.frombuffer(zlib.decompress(state["counts"]), np.uint16).reshape(shape).copy()

    def state(self) -> dict[str, Any]:
        """Counts so far, compressed; a few kilobytes."""
        if self._counts is None:
            return {}
        return {
            "pairs": self._pairs,
            "shape": list(self._counts.shape),
            "counts": zlib.compress(self._counts.tobytes(), 6),
        }

    def restart(self) -> None:
        """The next frame is compared with none before it."""
        self._last = None

    def add(self, gray: NDArray[np.uint8], moving: bool) -> None:
        """One more frame (grey, any size). `moving`: the camera moved since the last one, or there was a cut."""
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
        """Boxes of what stood, in pixels of a frame of `width` x `height`; none before enough has moved."""
        if self._counts is None or self._pairs < MIN_PAIRS:
            return ()
        share = self._counts / self._pairs
        standing = (share >= MIN_STANDING).astype(np.uint8)
        rows, columns = standing.shape
        closed = cv2.morphologyEx(standing, cv2.MORPH_CLOSE, np.ones((5, 9), np.uint8))
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed)
        found = []
        for label in range(1, count):
            x, y, w, h, _ = (int(v) for v in statistics[label])
            if not MIN_AREA <= w * h / (rows * columns) <= MAX_AREA:
                continue
            inside = labels[y : y + h, x : x + w] == label
            confidence = float(share[y : y + h, x : x + w][inside & (standing[y : y + h, x : x + w] > 0)].mean())
            fx, fy = width / columns, height / rows
            found.append(Overlay((x * fx, y * fy, (x + w) * fx, (y + h) * fy), confidence))
        return tuple(found)


def _edges(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.magnitude(dx, dy) / 4 >= EDGE)
