"""Readings of the same thing in successive frames are one track, so that they can vote.

Belongs here: linking lines of text from frame to frame by place and likeness. What a track says is decided in
`consensus.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rapidfuzz import fuzz

from touchline.geometry import area, centre, flat, line_height, quad_from, quad_iou, shared_area, transform_quad
from touchline.values import Quad
from touchline.vision.motion import Affine

COINCIDES: Final = 0.4
"""Intersection over union from which two lines are in the same place, whatever they read."""
MAX_AGE_S: Final = 2.0
"""A track not seen for longer has ended."""
NEAR: Final = 2.5
"""Without overlap, a line may have moved this many of its own heights and be the same if it reads alike."""
ALIKE: Final = 55.0
"""rapidfuzz ratio (0-100) from which two readings are alike."""
UNLIKE: Final = 40.0
"""rapidfuzz ratio (0-100) below which two sure readings in one place are of different texts: a board has changed."""
SURE: Final = 0.8
"""Confidence from which a reading is sure enough to show that a board has changed [0-1]."""


@dataclass
class _Track:
    number: int
    shot: int
    timestamp: float
    quad: Quad
    text: str
    confidence: float


class Tracker:
    """Numbers lines of text. Numbers are never used twice within a source."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self._next = int(state.get("next", 0))
        self._tracks = [
            _Track(t["number"], t["shot"], t["timestamp"], quad_from(t["quad"]), t["text"], t["confidence"])
            for t in state.get("tracks", ())
        ]

    @property
    def open(self) -> set[int]:
        """The numbers of tracks that may go on."""
        return {track.number for track in self._tracks}

    def state(self) -> dict[str, Any]:
        """The open tracks and the next number."""
        return {
            "next": self._next,
            "tracks": [
                {
                    "number": t.number,
                    "shot": t.shot,
                    "timestamp": t.timestamp,
                    "quad": flat(t.quad),
                    "text": t.text,
                    "confidence": t.confidence,
                }
                for t in self._tracks
            ],
        }

    def step(
        self, shot: int, timestamp: float, camera: Affine | None, lines: Sequence[tuple[Quad, str, float]]
    ) -> list[int]:
        """The track numbers of one frame's lines (quad, text, confidence 0..1), in their order.

        `camera` carries the frame before onto this one. Two lines of one frame may share a track when they read the
        same place (a pass over the frame and one over the strip).
        """
        self._tracks = [t for t in self._tracks if t.shot == shot and timestamp - t.timestamp <= MAX_AGE_S]
        if camera is not None:
            matrix = np.array(camera, np.float64).reshape(2, 3)
            for track in self._tracks:
                track.quad = transform_quad(track.quad, matrix)
        pairs = []
        for index, (quad, text, confidence) in enumerate(lines):
            for track in self._tracks:
                score = _likeness(track, quad, text, confidence)
                if score > 0:
                    pairs.append((score, index, track))
        numbers = [-1] * len(lines)
        taken: dict[int, int] = {}
        for _, index, track in sorted(pairs, key=lambda pair: -pair[0]):
            if numbers[index] >= 0:
                continue
            other = taken.get(track.number)
            if other is not None and not same_place(lines[other][0], lines[index][0]):
                continue
            numbers[index] = track.number
            taken.setdefault(track.number, index)
        for index, (quad, text, confidence) in enumerate(lines):
            if numbers[index] < 0:
                twin = next((o for o in range(index) if same_place(lines[o][0], quad)), None)
                numbers[index] = numbers[twin] if twin is not None else self._next
                self._next += twin is None
            self._update(numbers[index], shot, timestamp, quad, text, confidence)
        return numbers

    def _update(self, number: int, shot: int, timestamp: float, quad: Quad, text: str, confidence: float) -> None:
        track = next((t for t in self._tracks if t.number == number), None)
        if track is None:
            self._tracks.append(_Track(number, shot, timestamp, quad, text, confidence))
            return
        better = confidence >= track.confidence or timestamp > track.timestamp
        track.quad, track.timestamp = quad, timestamp
        if better:
            track.text, track.confidence = text, confidence


def same_place(a: Quad, b: Quad) -> bool:
    """Whether two quads of one frame are of the same line: they share half of the smaller one."""
    return shared_area(a, b) >= 0.5 * max(1e-6, min(area(a), area(b)))


def _likeness(track: _Track, quad: Quad, text: str, confidence: float) -> float:
    overlap = quad_iou(track.quad, quad)
    (ax, ay), (bx, by) = centre(track.quad), centre(quad)
    away = float(np.hypot(ax - bx, ay - by)) / max(1.0, line_height(quad))
    if overlap == 0 and away > NEAR:
        return 0.0
    alike = fuzz.ratio(track.text.casefold(), text.casefold())
    if overlap >= COINCIDES or (overlap > 0 and alike >= ALIKE):
        changed = alike < UNLIKE and min(confidence, track.confidence) >= SURE and min(len(text), len(track.text)) >= 4
        return 0.0 if changed else 0.5 + overlap + alike / 100
    return alike / 100 - away / (4 * NEAR) if away <= NEAR and alike >= ALIKE else 0.0
