"""Lines of text in successive frames: they are searched for seldom, read until a reading is sure, and propagated.

A search of a picture for text takes ten times as long as reading one line, and template matching a fiftieth. So a line
that a search found is propagated by template matching into later and earlier frames. In later frames it is read again
until a reading is sure, and from then on at intervals.

Belongs here: that order of work. Which frames are searched, and where, is decided in `touchline/stages/run_ocr.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.geometry import line_height, line_length, quad_iou
from touchline.ocr.engine import OcrEngine, StripText, TextPlace, threads_of
from touchline.ocr.persistence import Gray, Line, follow, pixels_of
from touchline.ocr.tracks import same_place
from touchline.values import Image, Origin
from touchline.vision.motion import Affine

SAME_LINE: Final = 0.5
"""Intersection over union from which a place that a search found is a known line; below, it is another one [0-1]."""
GROWN: Final = 1.08
"""A known line is read again if a search finds it this many times longer: its end was missing before."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A frame and the places where a search found text in it; none if it was not searched.

    `image` is BGR (H x W x 3, uint8), `gray` the same in grey; `camera` maps the previous frame onto this one (2 x 3,
    row by row), None if unknown. `spare` are places that the search of the whole frame found in board rows; they are
    used where no other line is known.
    """

    timestamp: float
    image: Image
    gray: Gray
    camera: Affine | None
    shot_starts: bool
    places: Sequence[tuple[TextPlace, Origin]]
    spare: Sequence[TextPlace] = ()


@dataclass(frozen=True, slots=True)
class _Past:
    """A frame of this shot that was read. `back` (2 x 3) maps it onto the previous one, None if unknown."""

    timestamp: float
    gray: Gray
    back: NDArray[np.float64] | None
    lines: list[Line]


class LineReader:
    """Reads the lines of frames in order, those of one frame in parallel in `pool`.

    Lines are propagated for `carry_s` seconds, forwards and backwards. A line that is still found then is read again,
    and ends if it cannot be read. A line that was not read surely is read again after `read_s` seconds. Readings of
    lower confidence than `min_confidence` (0-1) and lines lower than `min_height` pixels are dropped. Keeps the grey
    pictures of the last `carry_s` seconds of one shot.
    """

    def __init__(
        self,
        engine: OcrEngine,
        pool: Executor,
        *,
        carry_s: float,
        min_confidence: float,
        min_height: float,
        read_s: float = 0.0,
    ) -> None:
        self._engine, self._pool = engine, pool
        self._carry_s, self._read_s = carry_s, read_s
        self._min_confidence, self._min_height = min_confidence, min_height
        self._past: deque[_Past] = deque()
        self.readings = 0

    def read(self, frame: Searched) -> list[Line]:
        """The frame's lines. The list grows while later frames are read: their new lines are propagated back."""
        if frame.shot_starts:
            self._past.clear()
        camera = None if frame.camera is None else np.array(frame.camera, np.float64).reshape(2, 3)
        back = None if camera is None else np.asarray(cv2.invertAffineTransform(camera), np.float64)
        known = self._followed(frame, camera)
        grown, fresh = self._compared(known, frame)
        again = [n for n, line in enumerate(known) if n in grown or self._due(line, frame)]
        texts = self._texts(frame.image, [known[n].place for n in again] + [place for place, _ in fresh])
        for n, said in zip(again, texts, strict=False):
            known[n] = known[n].read_again(said, frame.timestamp)
        new = [
            Line(place, said[0].text, said[0].confidence, origin, frame.timestamp, other=next(iter(said[1:]), None))
            for (place, origin), said in zip(fresh, texts[len(again) :], strict=True)
            if said
        ]
        new = [self._with_pixels(line, frame) for line in new]
        # The rest of a line that the picture's edge cuts may say nothing.
        known = [
            self._with_pixels(line, frame)
            for line in known
            if line.read_at == frame.timestamp or not (line.cut or self._stale(line, frame))
        ]
        lines = new + [old for old in known if not any(same_place(old.quad, line.quad) for line in new)]
        self._propagate_back(frame, back, new)
        self._past.append(_Past(frame.timestamp, frame.gray, back, lines))
        while frame.timestamp - self._past[0].timestamp > self._carry_s:
            self._past.popleft()
        return lines

    def _compared(self, known: list[Line], frame: Searched) -> tuple[set[int], list[tuple[TextPlace, Origin]]]:
        """Compares the places that were found with the lines that are known. Returns the numbers of the lines that a
        search found to be longer, and the places of new lines. Known lines are moved to where a search found them.
        """
        grown: set[int] = set()
        fresh: list[tuple[TextPlace, Origin]] = []
        for place, origin in frame.places:
            if line_height(place.quad) < self._min_height:
                continue
            same = next((n for n, line in enumerate(known) if quad_iou(line.quad, place.quad) >= SAME_LINE), None)
            if same is None:
                fresh.append((place, origin))
                continue
            # A search finds the ends of a line better than template matching.
            if line_length(place.quad) > GROWN * line_length(known[same].quad):
                grown.add(same)
            known[same] = replace(known[same], place=place)
        occupied = [line.quad for line in known] + [place.quad for place, _ in fresh]
        fresh += [
            (place, "frame")
            for place in frame.spare
            if line_height(place.quad) >= self._min_height and not any(same_place(place.quad, q) for q in occupied)
        ]
        return grown, fresh

    @staticmethod
    def _with_pixels(line: Line, frame: Searched) -> Line:
        """The line with its pixels in this frame, if it was read in it."""
        return replace(line, pixels=pixels_of(frame.gray, line.quad)) if line.read_at == frame.timestamp else line

    def _followed(self, frame: Searched, camera: NDArray[np.float64] | None) -> list[Line]:
        """The lines of the previous frame that this one still shows. Lines that were never read well end in time."""
        if not self._past or self._carry_s <= 0:
            return []
        last = self._past[-1]
        lines = [line for line in last.lines if not (line.poor and self._stale(line, frame))]
        return follow(lines, last.gray, frame.gray, camera)

    def _due(self, line: Line, frame: Searched) -> bool:
        """Whether the line is to be read again."""
        return self._stale(line, frame) or (not line.settled and frame.timestamp - line.read_at >= self._read_s)

    def _stale(self, line: Line, frame: Searched) -> bool:
        """Whether the line was propagated for as long as it may be."""
        return frame.timestamp - line.read_at > self._carry_s

    def _texts(self, image: Image, places: Sequence[TextPlace]) -> list[list[StripText]]:
        """The texts of each place, the surest first, those of lower confidence than `min_confidence` left out.

        A slanted line is read in two ways, so that it may have two texts.
        """
        ways = [[place] if (upright := place.upright()) is None else [place, upright] for place in places]
        flat = [way for both in ways for way in both]
        self.readings += len(flat)
        # An engine that serves one thread alone may gain by reading all at once.
        step = 1 if threads_of(self._engine) > 1 else max(1, len(flat))
        batches = [flat[start : start + step] for start in range(0, len(flat), step)]
        read = (text for texts in self._pool.map(partial(self._engine.read, image), batches) for text in texts)
        said = [sorted((next(read) for _ in both), key=lambda text: -text.confidence) for both in ways]
        return [self._distinct(texts) for texts in said]

    def _distinct(self, texts: Sequence[StripText]) -> list[StripText]:
        """The readings of one line that count, each text once."""
        found: dict[str, StripText] = {}
        for text in texts:
            if text.text and text.confidence >= self._min_confidence:
                found.setdefault(text.text, text)
        return list(found.values())

    def _propagate_back(self, frame: Searched, back: NDArray[np.float64] | None, lines: Sequence[Line]) -> None:
        """Adds new lines of this frame to the earlier frames of the shot that show them."""
        gray = frame.gray
        for past in reversed(self._past):
            if not lines or frame.timestamp - past.timestamp > self._carry_s:
                return
            shown = [line for line in follow(lines, gray, past.gray, back) if not line.cut]
            lines = [line for line in shown if not any(same_place(line.quad, other.quad) for other in past.lines)]
            past.lines.extend(lines)
            gray, back = past.gray, past.back
