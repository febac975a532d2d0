"""Propagation of lines of text from frame to frame by template matching, which takes a fiftieth of a search's time.

Belongs here: what is known of a line, finding it in another frame, and which cells of the board strips are new since
they were last searched. When lines are read is decided in `lines.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.geometry import bounds, line_length
from touchline.ocr.engine import StripText, TextPlace
from touchline.values import Origin, Quad
from touchline.vision.motion import Affine
from touchline.vision.perspective import sides, upright

Gray = NDArray[np.uint8]

CERTAIN: Final = 0.97
"""Confidence from which a reading is sure, so that the line is not read in the next frame again [0-1]. Less sure
readings vote. From 0.97 to 0.98 the results are the same; at 0.95 boards were lost."""
POOR: Final = 0.6
"""Confidence below which a line that was read twice is mostly no text [0-1]."""
SAME_PIXELS: Final = 0.8
"""Normalised cross-correlation from which a line is found in the next frame (-1..1). From 0.6 to 0.8 the results are
the same."""
SAME_AS_READ: Final = 0.6
"""Normalised cross-correlation with the pixels that were read, below which a line has changed (-1..1): in a dissolve
from one advertisement to the next, each frame is like the previous one. From 0.3 to 0.7 the results are the same."""
READ_LINES: Final = 24
"""Height to which a line is scaled to compare it with the pixels that were read [pixels]."""
READ_LENGTH: Final = 240
"""Largest length to which a line is scaled to compare it with the pixels that were read [pixels]."""
SEARCH: Final = 8
"""Distance from its expected place up to which a line is searched for; camera motion is known to about two pixels
[pixels]."""
WHOLE: Final = 0.9
"""Share of a line that must be in the picture; with less the line is read again [0-1]."""
MIN_IN_VIEW: Final = 0.35
"""Share of a line that must be in the picture; with less it is not propagated [0-1]."""
LARGE: Final = 12_000
"""Area of a line from which it is matched at half size [pixels]."""
CELL: Final = 24
"""Height to which board strips are scaled to compare them, in square cells [pixels]."""
MAX_CELLS: Final = 64
"""Largest number of cells of one strip."""
SAME_CELL: Final = 0.65
"""Normalised cross-correlation from which a cell of a strip shows the same as before (-1..1)."""
FLAT: Final = 10.0
"""Mean difference below which a cell shows the same whatever the correlation, because it is plain [grey levels]."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in one frame. `found` is the search that found it first, `read_at` the time at which an OCR engine
    last read it [seconds of the video].

    `readings` counts these readings, `pixels` are what the last of them was made from (see `pixels_of`). A slanted line
    is read as it is and with its letters upright; `other` is the less sure text, if it differs. `cut` means that the
    picture's edge has cut the line since.
    """

    place: TextPlace
    text: str
    confidence: float
    found: Origin
    read_at: float
    readings: int = 1
    other: StripText | None = None
    pixels: NDArray[np.float32] | None = field(default=None, compare=False)
    cut: bool = False

    @property
    def quad(self) -> Quad:
        """Its four corners."""
        return self.place.quad

    @property
    def texts(self) -> list[StripText]:
        """What it reads, the surest first: one text, or two of a slanted line."""
        return [StripText(self.text, self.confidence), *([self.other] if self.other else ())]

    @property
    def settled(self) -> bool:
        """Whether another reading adds nothing: the line was read surely, or more than once and never well."""
        return not self.cut and (self.confidence >= CERTAIN or self.poor)

    @property
    def poor(self) -> bool:
        """Whether the line was read more than once and never well; mostly it is no text."""
        return self.readings >= 2 and self.confidence < POOR

    def origin(self, timestamp: float) -> Origin:
        """How its text in the frame at `timestamp` [seconds] was obtained."""
        return self.found if self.read_at == timestamp else "carried"

    def read_again(self, texts: Sequence[StripText], timestamp: float) -> Line:
        """The line after another reading at `timestamp` [seconds]: `texts`, the surest first; none changes no text."""
        if not texts:
            return replace(self, readings=self.readings + 1)
        return replace(
            self,
            text=texts[0].text,
            confidence=texts[0].confidence,
            read_at=timestamp,
            readings=self.readings + 1,
            other=next(iter(texts[1:]), None),
            cut=False,
        )


def follow(lines: Sequence[Line], before: Gray, after: Gray, camera: NDArray[np.float64] | None) -> list[Line]:
    """Those lines of one frame that another of the same shot shows too, at their places there.

    Frames are H x W uint8; `camera` (2 x 3) carries `before` onto `after`, None where that is not known. A line is
    where its pixels fit best: as the camera moved, or standing still (overlays). It must still look as it did when it
    was read. Of a line that the picture's edge cuts now what is left is its place, and it counts as not read.
    """
    height, width = after.shape
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    motions = [still] if camera is None else [still, camera]
    found = []
    for line in lines:
        fits = [_fit(before, after, line.quad, motion) for motion in motions]
        best = max(range(len(fits)), key=lambda n: fits[n][0])
        score, dx, dy = fits[best]
        if score >= SAME_PIXELS:
            place = line.place.mapped(motions[best]).moved(dx, dy)
            cut = place.within(width, height)
            if line_length(cut.quad) < WHOLE * line_length(place.quad):
                found.append(replace(line, place=cut, readings=0, cut=True))
            elif line.pixels is None or _correlation(line.pixels, pixels_of(after, place.quad)) >= SAME_AS_READ:
                found.append(replace(line, place=place))
    return found


def pixels_of(gray: Gray, quad: Quad) -> NDArray[np.float32]:
    """The pixels under a line, straightened and blurred: READ_LINES high and no longer than READ_LENGTH."""
    corners = np.array(quad, np.float32)
    length, height = sides(corners)
    size = (int(np.clip(round(READ_LINES * length / max(1.0, height)), 8, READ_LENGTH)), READ_LINES)
    straight = cv2.warpPerspective(gray, upright(corners, *size), size, flags=cv2.INTER_AREA)
    return cv2.GaussianBlur(straight, (3, 3), 0).astype(np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Normalised cross-correlation of two pictures of one line, -1..1; `b` is brought to the size of `a`."""
    if a.shape != b.shape:
        b = cv2.resize(b, (a.shape[1], a.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED)[0, 0])


class StripsSearched:
    """The frame whose strips were searched last, and where it went since. Of one shot; holds one grey picture."""

    def __init__(self) -> None:
        self._searched: Gray | None = None
        self._since: NDArray[np.float64] | None = None

    def move(self, camera: Affine | None) -> None:
        """Goes on to the next frame; `camera` carries the one before onto it, None where that is not known."""
        step = None if camera is None else np.vstack([np.array(camera, np.float64).reshape(2, 3), [0.0, 0.0, 1.0]])
        self._since = None if step is None or self._since is None else step @ self._since

    def new_cells(self, gray: Gray, strips: Sequence[Quad]) -> list[NDArray[np.bool_]]:
        """For each strip which of its square cells, left to right, were not in view or looked otherwise."""
        if self._searched is None or self._since is None or self._searched.shape != gray.shape:
            return [np.ones(1, np.bool_) for _ in strips]
        return [_differing_cells(self._searched, gray, quad, self._since) for quad in strips]

    def remember(self, gray: Gray) -> None:
        """The strips of this frame are searched now."""
        self._searched, self._since = gray, np.eye(3)


def _fit(before: Gray, after: Gray, quad: Quad, motion: NDArray[np.float64]) -> tuple[float, float, float]:
    """How well a line's pixels are found again where `motion` (2 x 3) carries them, or near: the correlation there, and
    how much further they are (x, y).
    """
    height, width = before.shape
    zoom = float(np.hypot(motion[0, 0], motion[1, 0]))
    x1, y1, x2, y2 = bounds(quad)
    (left, top), (right, bottom) = np.array([[x1, y1], [x2, y2]]) @ motion[:, :2].T + motion[:, 2]
    # What leaves the picture, there or here, is not compared.
    cut = [max(0.0, -x1, -left / zoom), max(0.0, -y1, -top / zoom)]
    cut += [max(0.0, x2 - width, (right - width) / zoom), max(0.0, y2 - height, (bottom - height) / zoom)]
    length = x2 - x1
    x1, y1, x2, y2 = (round(v) for v in (x1 + cut[0], y1 + cut[1], x2 - cut[2], y2 - cut[3]))
    if x2 - x1 < 6 or y2 - y1 < 4 or x2 - x1 < MIN_IN_VIEW * length:
        return -1.0, 0.0, 0.0
    patch = before[y1:y2, x1:x2]
    if patch.std() < 4:
        return -1.0, 0.0, 0.0
    (left, top), (right, bottom) = np.array([[x1, y1], [x2, y2]]) @ motion[:, :2].T + motion[:, 2]
    size = (max(4, round((x2 - x1) * zoom)), max(4, round((y2 - y1) * zoom)))
    wx1, wy1 = max(0, round(left) - SEARCH), max(0, round(top) - SEARCH)
    window = after[wy1 : min(height, round(top) + size[1] + SEARCH), wx1 : min(width, round(left) + size[0] + SEARCH)]
    step = 2 if patch.size > LARGE else 1
    if step == 2:
        size = (size[0] // 2, size[1] // 2)
        window = cv2.resize(window, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    if size != (patch.shape[1], patch.shape[0]):
        how = cv2.INTER_AREA if step == 2 else cv2.INTER_LINEAR
        patch = cv2.resize(patch, size, interpolation=how).astype(np.uint8)
    if window.shape[0] < patch.shape[0] or window.shape[1] < patch.shape[1]:
        return -1.0, 0.0, 0.0
    scores = cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (bx, by) = cv2.minMaxLoc(scores)
    return float(best), float(wx1 + step * bx - left), float(wy1 + step * by - top)


def _differing_cells(read: Gray, now: Gray, quad: Quad, since: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each cell of the strip under `quad` whether it shows something else than when it was searched."""
    corners = np.array(quad, np.float32)
    length, lines = sides(corners)
    cells = int(np.clip(round(length / max(1.0, lines)), 1, MAX_CELLS))
    size = (cells * CELL, CELL)
    forward = upright(corners, *size)
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
