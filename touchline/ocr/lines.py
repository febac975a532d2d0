"""Lines of text in successive frames: searched for seldom, read until they are sure, and carried both ways in between.

Searching a picture for text costs ten times as much as reading a line of it, and finding a line again by its pixels a
fiftieth. So a line that a search found is followed by its pixels into the frames after it and before it; where it
stands in a later frame it is read once more, until what it says is settled, and from then on from time to time.

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
"""Intersection over union from which a place that was found is a line that was followed there; below it the line has
grown or shrunk, and reads otherwise."""
GROWN: Final = 1.08
"""A line that a search finds this many times longer than it was is read again: its end was missing."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A frame and the places where a search found text in it, none if it was not searched.

    `image` is BGR, `gray` the same in grey; `camera` carries the frame before onto this one. `spare` are
    places that the search of the whole frame found in board rows: they count where nothing else is known.
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
    """A frame of this shot that was read. `back` (2 x 3) carries it onto the one before it, None if not known."""

    timestamp: float
    gray: Gray
    back: NDArray[np.float64] | None
    lines: list[Line]


class LineReader:
    """Reads the lines of frames as they come, those of one frame side by side in `pool`.

    Lines are carried on for `carry_s`, and back; what then still stands there is read again, and ends if it cannot be
    read. A line that was not read surely is read again after `read_s`. Readings less sure than `min_confidence` (0..1)
    and lines lower than `min_height` pixels do not count. Holds the grey pictures of `carry_s` of one shot.
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
        """The frame's lines. The list grows while later frames are read: what they find is followed back into it."""
        if frame.shot_starts:
            self._past.clear()
        camera = None if frame.camera is None else np.array(frame.camera, np.float64).reshape(2, 3)
        back = None if camera is None else np.asarray(cv2.invertAffineTransform(camera), np.float64)
        followed = self._followed(frame, camera)
        fresh: list[tuple[TextPlace, Origin]] = []
        grown: set[int] = set()
        for place, origin in frame.places:
            if line_height(place.quad) < self._min_height:
                continue
            known = next((n for n, line in enumerate(followed) if _same_line(line, place)), None)
            if known is None:
                fresh.append((place, origin))
            else:
                # The search knows better than the line's pixels where it ends.
                if line_length(place.quad) > GROWN * line_length(followed[known].quad):
                    grown.add(known)
                followed[known] = replace(followed[known], place=place)
        occupied = [line.quad for line in followed] + [place.quad for place, _ in fresh]
        fresh += [
            (place, "frame")
            for place in frame.spare
            if line_height(place.quad) >= self._min_height and not any(same_place(place.quad, q) for q in occupied)
        ]
        again = [n for n, line in enumerate(followed) if n in grown or self._due(line, frame)]
        texts = self._texts(frame.image, [followed[n].place for n in again] + [place for place, _ in fresh])
        for n, said in zip(again, texts, strict=False):
            followed[n] = followed[n].read_again(said, frame.timestamp)
        new = [
            Line(place, said[0].text, said[0].confidence, origin, frame.timestamp, other=next(iter(said[1:]), None))
            for (place, origin), said in zip(fresh, texts[len(again) :], strict=True)
            if said
        ]
        # Of what the picture's edge cuts, the part that is left may say nothing.
        followed = [
            line for line in followed if line.read_at == frame.timestamp or not (line.cut or self._stale(line, frame))
        ]
        new, followed = (
            [
                replace(line, pixels=pixels_of(frame.gray, line.quad)) if line.read_at == frame.timestamp else line
                for line in lines
            ]
            for lines in (new, followed)
        )
        lines = new + [old for old in followed if not any(same_place(old.quad, line.quad) for line in new)]
        self._carry_back(frame, back, new)
        self._past.append(_Past(frame.timestamp, frame.gray, back, lines))
        while frame.timestamp - self._past[0].timestamp > self._carry_s:
            self._past.popleft()
        return lines

    def _followed(self, frame: Searched, camera: NDArray[np.float64] | None) -> list[Line]:
        """The lines of the frame before that this one still shows. What never was read well ends with its time."""
        if not self._past or self._carry_s <= 0:
            return []
        last = self._past[-1]
        lines = [line for line in last.lines if not (line.poor and self._stale(line, frame))]
        return follow(lines, last.gray, frame.gray, camera)

    def _due(self, line: Line, frame: Searched) -> bool:
        """Whether another reading of the line is worth its time."""
        since = frame.timestamp - line.read_at
        return since > self._carry_s or (not line.settled and since >= self._read_s)

    def _stale(self, line: Line, frame: Searched) -> bool:
        """Whether the line has been carried for as long as it may be."""
        return frame.timestamp - line.read_at > self._carry_s

    def _texts(self, image: Image, places: Sequence[TextPlace]) -> list[list[StripText]]:
        """What each place says, the surest reading first; nothing where none is sure enough. A slanted line is read in
        two ways, which may both say something.
        """
        ways = [[place] if (upright := place.upright()) is None else [place, upright] for place in places]
        flat = [way for both in ways for way in both]
        self.readings += len(flat)
        # An engine that serves one thread alone may gain by reading all at once.
        step = 1 if threads_of(self._engine) > 1 else max(1, len(flat))
        batches = [flat[start : start + step] for start in range(0, len(flat), step)]
        read = (text for texts in self._pool.map(partial(self._engine.read, image), batches) for text in texts)
        said = [sorted((next(read) for _ in both), key=lambda text: -text.confidence) for both in ways]
        return [[text for text in texts if text.text and text.confidence >= self._min_confidence] for texts in said]

    def _carry_back(self, frame: Searched, back: NDArray[np.float64] | None, lines: Sequence[Line]) -> None:
        """Puts lines that are new in this frame into the earlier frames of the shot that show them already."""
        gray = frame.gray
        for past in reversed(self._past):
            if not lines or frame.timestamp - past.timestamp > self._carry_s:
                return
            shown = [line for line in follow(lines, gray, past.gray, back) if not line.cut]
            lines = [line for line in shown if not any(same_place(line.quad, other.quad) for other in past.lines)]
            past.lines.extend(lines)
            gray, back = past.gray, past.back


def _same_line(line: Line, place: TextPlace) -> bool:
    return quad_iou(line.quad, place.quad) >= SAME_LINE
