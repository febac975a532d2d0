"""What an OCR engine is to Touchline: a reader of whole pictures and of single lines.

Belongs here: the protocol, its two value types and the door to the engines by name. An engine's own code is in a file
of its own (`rapid.py`, `doctr_engine.py`) and is imported only when that engine is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from touchline.errors import ModelUnavailableError
from touchline.values import Image, Quad

ENGINES = ("rapidocr", "doctr")


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text found in a picture. `quad` in that picture's pixels, `confidence` 0..1 of the recogniser."""

    quad: Quad
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class StripText:
    """What a recogniser read on one strip (a picture of a single line). `confidence` 0..1; empty text reads as 0."""

    text: str
    confidence: float


class OcrEngine(Protocol):
    """Reads text. Pictures are BGR, uint8, of any size; nothing is resized by the caller on the engine's behalf."""

    parallel: int
    """How many threads may call it at once."""

    @property
    def identity(self) -> str:
        """Engine, models and versions in one line; part of the fingerprint of what it read."""
        ...

    def read_image(self, image: Image, ignore: Sequence[Quad] = ()) -> list[TextLine]:
        """Finds and reads the lines of a picture; lines whose centre lies in a quad of `ignore` are left out."""
        ...

    def read_ribbon(self, image: Image) -> list[TextLine]:
        """Finds and reads the lines of a straightened board ribbon, whose letters are 30 to 48 pixels high."""
        ...

    def read_strips(self, images: Sequence[Image]) -> list[StripText]:
        """Reads strips that hold one line each, in the given order; one result a strip."""
        ...


def load_engine(name: str, **options: Any) -> OcrEngine:
    """The engine of that name, its models loaded.

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
