"""What an OCR engine is to Touchline: it finds lines of text in pictures, and reads single ones.

Belongs here: the protocol, its two value types and the door to the engines by name. An engine's own code is in a file
of its own (`rapid.py`, `doctr_engine.py`) and is imported only when that engine is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from touchline.errors import ModelUnavailableError
from touchline.geometry import clipped, inside_picture, line_length, transform_quad
from touchline.values import Image, Quad

ENGINES = ("rapidocr", "doctr")
DIGITS: Final = 3
"""Decimals to which confidences are rounded before anything is decided by them. Those from the fifth on differ with the
processor and the runtime, which add in another order."""


@dataclass(frozen=True, slots=True)
class TextPlace:
    """Where a line of text is, in pixels of the picture. `words` are its pieces for engines that read word by word."""

    quad: Quad
    words: tuple[Quad, ...] = ()

    def moved(self, dx: float, dy: float) -> TextPlace:
        """The place `dx`, `dy` pixels further."""
        return self.mapped(np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]))

    def within(self, width: int, height: int) -> TextPlace:
        """What of the place lies in a picture of that size; itself if all does."""
        if inside_picture(self.quad, width, height):
            return self
        words = (clipped(word, width, height) for word in self.words)
        return TextPlace(clipped(self.quad, width, height), tuple(word for word in words if line_length(word) >= 1))

    def mapped(self, matrix: NDArray[np.float64]) -> TextPlace:
        """The place under a 3 x 3 homography or a 2 x 3 affine matrix."""
        return TextPlace(transform_quad(self.quad, matrix), tuple(transform_quad(word, matrix) for word in self.words))


@dataclass(frozen=True, slots=True)
class StripText:
    """What a recogniser read on one strip (a picture of a single line).

    `confidence` is 0..1, rounded to DIGITS; empty text has 0.
    """

    text: str
    confidence: float


class OcrEngine(Protocol):
    """Finds and reads text. Pictures are BGR, uint8, of any size; nothing is resized on the engine's behalf."""

    parallel: int
    """How many threads may call it at once."""

    @property
    def identity(self) -> str:
        """Engine, networks, what computes them and in which precision, in one line: part of the fingerprint of what it
        read. Nothing that differs from machine to machine is in it.
        """
        ...

    @property
    def runtime(self) -> str:
        """What computes the networks, in which precision, and where; told with what was read."""
        ...

    def find(self, image: Image, ignore: Sequence[Quad] = (), rows: tuple[int, int] | None = None) -> list[TextPlace]:
        """Where the lines of a picture are; those whose both ends lie in one quad of `ignore` are left out.

        `rows` (from, to, in pixels) are all that is searched, if given.
        """
        ...

    def find_in_ribbon(self, image: Image) -> list[TextPlace]:
        """Where the lines of a straightened board ribbon are, whose letters are 30 to 48 pixels high."""
        ...

    def read(self, image: Image, place: TextPlace) -> StripText:
        """What stands at one place of a picture, found in it or followed into it."""
        ...

    def read_strips(self, images: Sequence[Image]) -> list[StripText]:
        """Reads strips that hold one line each, in the given order; one result a strip."""
        ...


@runtime_checkable
class KnowsCharacters(Protocol):
    """An engine that tells which characters it can read; what is written in others is never read right."""

    @property
    def characters(self) -> frozenset[str]:
        """Single characters, each as the engine writes it."""
        ...


def load_engine(name: str, **options: Any) -> OcrEngine:
    """The engine of that name, its models loaded; `options` are its constructor's.

    `rapidocr` needs no download. `doctr` needs the extra of that name and weights (see `doctr_engine`).
    Raises ModelUnavailableError if it is unknown, not installed or has no weights.
    """
    if name == "rapidocr":
        from touchline.ocr.rapid import RapidOcrEngine

        return RapidOcrEngine(**options)
    if name == "doctr":
        from touchline.ocr.doctr_engine import DoctrEngine

        doctr: OcrEngine = DoctrEngine(**options)
        return doctr
    raise ModelUnavailableError(f"OCR engine {name!r} is unknown; expected one of {', '.join(ENGINES)}")
