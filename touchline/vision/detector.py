"""What an object detector is to Touchline: it finds players, the ball and the goal in pictures.

Belongs here: the protocol, what a detector may tell in addition, and its settings. A detector's own code is in a file
of its own (`yolo.py`); `registry.py` loads one by name. `docs/engines.md` shows how to add one. What the boxes are used
for (jerseys, occlusion) is decided in `touchline/stages/run_ocr.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from touchline.values import DetectedObject, Image

PEOPLE: Final = frozenset({"person", "player", "goalkeeper", "referee"})
"""Labels under which somebody wears a jersey."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """The settings of `detect_objects` that are a detector's business, each with the meaning it has there.

    `weights` names a file or a model, empty: the detector's own choice; `sha256` (hex) is the checksum that the file
    must have. `download`: whether a model that is not here may be fetched. `image_size` in pixels, `confidence` 0..1.
    `classes` are the labels that are kept, none: all.
    """

    weights: str = ""
    sha256: str = ""
    download: bool = True
    image_size: int = 640
    device: str = "auto"
    confidence: float = 0.25
    classes: tuple[str, ...] = ()


class ObjectDetector(Protocol):
    """Finds objects in pictures. One thread at a time calls it."""

    @property
    def identity(self) -> str:
        """All that can change what it finds, in one line: the SHA-256 of each model file, the settings, and the
        libraries that compute. It is part of the fingerprint of what was found, so nothing that differs from machine to
        machine is in it.
        """
        ...

    @property
    def labels(self) -> frozenset[str]:
        """The labels that its objects can have."""
        ...

    def detect(self, images: Sequence[Image]) -> Sequence[tuple[DetectedObject, ...]]:
        """The objects of each picture (H x W x 3, BGR, uint8), boxes in that picture's pixels, the most confident
        first.
        """
        ...


@runtime_checkable
class TellsRuntime(Protocol):
    """A detector that tells what computes it."""

    @property
    def runtime(self) -> str:
        """What computes the model, in which precision, and where; reported with what was found."""
        ...


def runtime_of(detector: ObjectDetector) -> str:
    """What computes a detector, in words; its identity if it does not tell."""
    return detector.runtime if isinstance(detector, TellsRuntime) else detector.identity
