"""The protocol of object detectors, which find players, the ball and the goal in pictures.

Belongs here: the protocol, its optional parts, and the settings. Each detector has its own file (`yolo.py`);
`registry.py` loads one by name. `docs/engines.md` shows how to add one. `touchline/stages/run_ocr.py` uses the boxes
for jerseys and occlusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from touchline.values import DetectedObject, Image

PEOPLE: Final = frozenset({"person", "player", "goalkeeper", "referee"})
"""Labels of people, who wear jerseys."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """The settings of `detect_objects` that a detector gets, with the same meaning.

    `weights` names a file or a model (empty: the detector's default), and `sha256` (hex) is the checksum that the file
    must have. `download` says whether a missing model may be downloaded. `image_size` is in pixels, `confidence` is
    0..1. `classes` are the labels that are kept (empty: all).
    """

    weights: str = ""
    sha256: str = ""
    download: bool = True
    image_size: int = 640
    device: str = "auto"
    confidence: float = 0.25
    classes: tuple[str, ...] = ()


class ObjectDetector(Protocol):
    """Finds objects in pictures. It is called by one thread at a time."""

    @property
    def identity(self) -> str:
        """All that can change the result, in one line: SHA-256 of each model file, settings, and inference libraries.

        It is part of the fingerprint, so it must not depend on the machine.
        """
        ...

    @property
    def labels(self) -> frozenset[str]:
        """The labels that its objects can have."""
        ...

    def detect(self, images: Sequence[Image]) -> Sequence[tuple[DetectedObject, ...]]:
        """The objects of each picture (H x W x 3, BGR, uint8) by falling confidence, with boxes in its pixels."""
        ...


@runtime_checkable
class TellsRuntime(Protocol):
    """A detector that reports its inference runtime."""

    @property
    def runtime(self) -> str:
        """The inference library, its precision and the device, as reported with the results."""
        ...


def runtime_of(detector: ObjectDetector) -> str:
    """The inference runtime of a detector; its identity if it does not report one."""
    return detector.runtime if isinstance(detector, TellsRuntime) else detector.identity
