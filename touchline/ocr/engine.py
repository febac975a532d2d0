"""What an OCR engine is to Touchline: it finds lines of text in pictures, and reads lines at given places.

Belongs here: the protocol, what an engine may tell in addition, and its value types. An engine's own code is in a file
of its own (`rapid.py`, `doctr_engine.py`); `registry.py` loads one by name. `docs/engines.md` shows how to add one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from touchline.geometry import clipped, inside_picture, transform_quad, with_upright_sides
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime
from touchline.values import Image, Quad

DIGITS: Final = 3
"""Decimals to which confidences are rounded before anything is decided by them. Those from the fifth on differ with the
processor and the runtime, which add in another order."""
SLANTED: Final = 12.0
"""Slope from which a line of text is also read with its letters turned upright [degrees]. At 8 nothing was gained, at
16 boards were lost."""
ENDS: Final = 0.4
"""Margin at each end of a slanted line that is read with upright letters, beyond the detector's rectangle [share of its
height]."""
STRETCH: Final = 1.5
"""Factor by which a slanted line with upright letters is widened to be read: perspective has narrowed its letters."""


@dataclass(frozen=True, slots=True)
class TextPlace:
    """Where a line of text is, in pixels of the picture.

    An engine that must know more of a place to read it returns a subclass from `find`, which overrides `mapped` and
    `within`: a place is moved from frame to frame by these before it is read. `stretch` is the
    factor by which the line is widened to be read.
    """

    quad: Quad
    stretch: float = field(default=1.0, kw_only=True)

    def moved(self, dx: float, dy: float) -> TextPlace:
        """The place `dx`, `dy` pixels further."""
        return self.mapped(np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]))

    def within(self, width: int, height: int) -> TextPlace:
        """What of the place lies in a picture of that size; itself if all does."""
        if inside_picture(self.quad, width, height):
            return self
        return replace(self, quad=clipped(self.quad, width, height))

    def mapped(self, matrix: NDArray[np.float64]) -> TextPlace:
        """The place under a 3 x 3 homography or a 2 x 3 affine matrix."""
        return replace(self, quad=transform_quad(self.quad, matrix))

    def upright(self) -> TextPlace | None:
        """The place with its letters upright, as perspective leaves those of a slanted board; None if not slanted."""
        quad = with_upright_sides(self.quad, SLANTED, ENDS)
        return None if quad is None else TextPlace(quad, stretch=STRETCH)


@dataclass(frozen=True, slots=True)
class StripText:
    """What a recogniser read in one place.

    `confidence` is 0..1, rounded to DIGITS; empty text has 0.
    """

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The settings of `run_ocr` that are an engine's business. `runtime` is for engines that can choose."""

    runtime: Runtime = DEFAULT_RUNTIME


class OcrEngine(Protocol):
    """Finds and reads text. Pictures are H x W x 3, BGR, uint8, of any size."""

    @property
    def identity(self) -> str:
        """All that can change what it reads, in one line: the engine and its version, the SHA-256 of each model file,
        what computes them and in which precision. It is part of the fingerprint of what was read, so nothing that
        differs from machine to machine is in it.
        """
        ...

    def find(
        self, image: Image, rows: tuple[int, int] | None = None, target_height: float | None = None
    ) -> Sequence[TextPlace]:
        """Where the lines of a picture are, in its pixels.

        `rows` (from, to) are all that is searched, if given. `target_height` is the height of the lowest lines that
        are sought [pixels of `image`]: an engine may search a smaller picture if it still finds these. None: any line.
        """
        ...

    def read(self, image: Image, places: Sequence[TextPlace]) -> Sequence[StripText]:
        """What stands at places of a picture, one result a place, in order. The places are from `find`, possibly
        moved by their own methods, or plain ones.
        """
        ...


@runtime_checkable
class ServesThreads(Protocol):
    """An engine that more than one thread may call at a time."""

    parallel: int
    """How many threads may call it at once."""


@runtime_checkable
class TellsRuntime(Protocol):
    """An engine that tells what computes it."""

    @property
    def runtime(self) -> str:
        """What computes its networks, in which precision, and where; reported with what was read."""
        ...


@runtime_checkable
class KnowsCharacters(Protocol):
    """An engine that tells which characters it can read; what is written in others is never read right."""

    @property
    def characters(self) -> frozenset[str]:
        """Single characters, each as the engine writes it."""
        ...


def threads_of(engine: OcrEngine) -> int:
    """How many threads may call an engine at once: one, unless it says otherwise."""
    return engine.parallel if isinstance(engine, ServesThreads) else 1


def runtime_of(engine: OcrEngine) -> str:
    """What computes an engine, in words; its identity if it does not tell."""
    return engine.runtime if isinstance(engine, TellsRuntime) else engine.identity
