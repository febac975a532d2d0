"""The baseline: OCR on every sampled frame, and a search for known spellings in the words.

Belongs here: the baseline. RapidOCR runs on ONNX Runtime with its default settings.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
from rapidfuzz import fuzz

from touchline.brands import BrandEntry
from touchline.values import Image

FPS: Final = 2.0
"""Sampled frames per second."""
THRESHOLD: Final = 85.0
"""Least partial ratio of rapidfuzz (0-100) at which a spelling counts as found."""
SHORTEST: Final = 4
"""Least number of letters of words and spellings; shorter ones are ignored."""


class PlainOcr:
    """Detector and recogniser over every sampled frame, partial match of every word."""

    def __init__(self, brands: Sequence[BrandEntry]) -> None:
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self._engine: Any = RapidOCR(params={"Global.log_level": "error"})
        self._spellings = [
            (brand.name, [s.casefold() for s in (brand.name, *brand.aliases) if len(s) >= SHORTEST]) for brand in brands
        ]

    def run(self, path: Path) -> dict[str, list[list[float]]]:
        """Intervals [start_s, end_s] by brand; each sample stands for 1 / FPS seconds."""
        times: dict[str, list[float]] = defaultdict(list)
        for at, image in sampled(path):
            words = [text.casefold().strip() for text in self._engine(image).txts or ()]
            for name, spellings in self._spellings:
                if any(names(word, spelling) for word in words for spelling in spellings):
                    times[name].append(at)
        return {name: _joined(at) for name, at in times.items()}


def sampled(path: Path) -> Iterator[tuple[float, Image]]:
    """Frames of a video (or the picture) at FPS, with their times by frame count [s]."""
    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS) or 25.0
    index, due = 0, 0.0
    while video.grab():
        if index / rate + 1e-6 >= due:
            image = video.retrieve()[1]
            if image is None:
                break
            yield index / rate, image.astype("uint8", copy=False)
            due += 1.0 / FPS
        index += 1
    video.release()


def names(word: str, spelling: str) -> bool:
    """Whether a word (casefolded) looks like a spelling or a part of it, and is not much shorter."""
    return len(word) >= max(SHORTEST, 0.75 * len(spelling)) and float(fuzz.partial_ratio(spelling, word)) >= THRESHOLD


def _joined(times: Sequence[float]) -> list[list[float]]:
    spans: list[list[float]] = []
    for at in times:
        if spans and at - spans[-1][1] <= 0.05:
            spans[-1][1] = at + 1.0 / FPS
        else:
            spans.append([at, at + 1.0 / FPS])
    return spans
