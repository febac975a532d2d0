"""Text that is still there need not be read again: it is recognised by its pixels, at a hundredth of the cost.

Belongs here: following lines from one frame to the next, and telling how much of the board ribbons is new since they
were last read. Reading itself, and when, is decided in `touchline/stages/run_ocr.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.geometry import bounds, transform_quad
from touchline.values import Origin, Quad
from touchline.vision.motion import Affine

Gray = NDArray[np.uint8]

SAME_PIXELS: Final = 0.8
"""Normalised cross-correlation (-1..1) from which a line's pixels are those of the frame before."""
SEARCH: Final = 8
"""Pixels around its expected place in which a line is looked for: camera motion is known to about two."""
MIN_IN_VIEW: Final = 0.9
"""A line of which less than this share is still in the picture is not followed: it reads otherwise now."""
LARGE: Final = 12_000
"""Patches of more pixels are compared at half size."""
CELL: Final = 24
"""Ribbons are compared at this many lines, in square cells."""
MAX_CELLS: Final = 64
SAME_CELL: Final = 0.65
"""Correlation from which a cell shows the same; below it, cells that differ by less than FLAT are plain."""
FLAT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in one frame. `read_at` is when its pixels went through an OCR engine last [seconds]."""

    quad: Quad
    text: str
    confidence: float
    origin: Origin
    read_at: float


class Persistence:
    """What was read in the frame before, and that frame to compare with. Of one shot; holds one grey picture.

    A line is not followed for longer than `longest_s` without being read again.
    """

    def __init__(self, longest_s: float = 3.0) -> None:
        self._longest_s = longest_s
        self._before: Gray | None = None
        self._lines: tuple[Line, ...] = ()

    def follow(self, gray: Gray, camera: Affine | None, timestamp: float) -> list[Line]:
        """The lines of the frame before that are still there, at their new places.

        `gray` is the frame, H x W uint8; `camera` carries the frame before onto it. A line is where its pixels fit
        best: as the camera moved, or standing still (overlays).
        """
        if self._before is None:
            return []
        found = []
        for line in self._lines:
            if timestamp - line.read_at > self._longest_s:
                continue
            places = [(0.0, 0.0)]
            if camera is not None:
                moved = transform_quad(line.quad, np.array(camera, np.float64).reshape(2, 3))
                (x0, y0, _, _), (x1, y1, _, _) = bounds(line.quad), bounds(moved)
                places.append((x1 - x0, y1 - y0))
            score, dx, dy = max(_fit(self._before, gray, line.quad, place) for place in places)
            if score >= SAME_PIXELS:
                a, b, c, d = ((x + dx, y + dy) for x, y in line.quad)
                found.append(replace(line, quad=(a, b, c, d), origin="carried"))
        return found

    def remember(self, gray: Gray, lines: Sequence[Line]) -> None:
        """Keeps a frame and its lines for the next one."""
        self._before, self._lines = gray, tuple(lines)


class RibbonsRead:
    """The frame whose ribbons were read last, and where it went since. Of one shot; holds one grey picture."""

    def __init__(self) -> None:
        self._read: Gray | None = None
        self._since: NDArray[np.float64] | None = None

    def move(self, camera: Affine | None) -> None:
        """Goes on to the next frame; `camera` carries the one before onto it, None where that is not known."""
        step = None if camera is None else np.vstack([np.array(camera, np.float64).reshape(2, 3), [0.0, 0.0, 1.0]])
        self._since = None if step is None or self._since is None else step @ self._since

    def new_share(self, gray: Gray, ribbons: Sequence[Quad]) -> float:
        """The share of the ribbons that was not in view when they were last read, or looks otherwise now, 0..1."""
        if self._read is None or self._since is None or self._read.shape != gray.shape:
            return 1.0
        new = total = 0
        for quad in ribbons:
            differs = _differing_cells(self._read, gray, quad, self._since)
            new, total = new + int(differs.sum()), total + differs.size
        return new / max(1, total)

    def remember(self, gray: Gray) -> None:
        """The ribbons of this frame are read now."""
        self._read, self._since = gray, np.eye(3)


def _fit(before: Gray, after: Gray, quad: Quad, shift: tuple[float, float]) -> tuple[float, float, float]:
    """How well a line's pixels are found again near `shift`: correlation, and the exact shift (x, y)."""
    height, width = before.shape
    left, top, right, bottom = bounds(quad)
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2, y2 = min(width, round(right)), min(height, round(bottom))
    dx, dy = round(shift[0]), round(shift[1])
    # What leaves the picture is cut off here as it is there.
    x1, x2, y1, y2 = max(x1, -dx), min(x2, width - dx), max(y1, -dy), min(y2, height - dy)
    if x2 - x1 < 6 or y2 - y1 < 4 or (x2 - x1) < MIN_IN_VIEW * (right - left):
        return -1.0, 0.0, 0.0
    patch = before[y1:y2, x1:x2]
    wx1, wy1 = max(0, x1 + dx - SEARCH), max(0, y1 + dy - SEARCH)
    window = after[wy1 : min(height, y2 + dy + SEARCH), wx1 : min(width, x2 + dx + SEARCH)]
    step = 2 if patch.size > LARGE else 1
    if step == 2:
        patch = cv2.resize(patch, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
        window = cv2.resize(window, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    if patch.std() < 4:
        return -1.0, 0.0, 0.0
    scores = cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (bx, by) = cv2.minMaxLoc(scores)
    return float(best), float(wx1 + step * bx - x1), float(wy1 + step * by - y1)


def _differing_cells(read: Gray, now: Gray, quad: Quad, since: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each cell of the ribbon under `quad` whether it shows something else than when it was read."""
    corners = np.array(quad, np.float32)
    length = float(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[3] - corners[2])))
    lines = max(1.0, *(float(np.linalg.norm(corners[a] - corners[b])) for a, b in ((0, 3), (1, 2))))
    cells = int(np.clip(round(length / lines), 1, MAX_CELLS))
    size = (cells * CELL, CELL)
    target = np.array([[0, 0], [size[0], 0], [size[0], CELL], [0, CELL]], np.float32)
    forward = cv2.getPerspectiveTransform(corners, target)
    here = cv2.warpPerspective(now, forward, size, flags=cv2.INTER_AREA).astype(np.float32)
    there = cv2.warpPerspective(read, forward @ since, size, flags=cv2.INTER_AREA).astype(np.float32)
    seen = cv2.warpPerspective(np.ones_like(read), forward @ since, size, flags=cv2.INTER_NEAREST)
    a, b = (_cells(cv2.GaussianBlur(strip, (3, 3), 0).astype(np.float32)) for strip in (here, there))
    a0, b0 = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    alike = (a0 * b0).sum(axis=1) / np.maximum(1.0, np.sqrt((a0**2).sum(axis=1) * (b0**2).sum(axis=1)))
    plain = np.abs(a - b).mean(axis=1) < FLAT
    unseen = _cells(seen.astype(np.float32)).mean(axis=1) < 0.75
    differs: NDArray[np.bool_] = unseen | ((alike < SAME_CELL) & ~plain)
    return differs


def _cells(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """A strip as rows of its square cells."""
    return strip.reshape(CELL, -1, CELL).transpose(1, 0, 2).reshape(-1, CELL * CELL)
