"""Finding players, ball and goal with a YOLO model through ultralytics.

Belongs here: the protocol of a detector, loading weights safely, and mapping a model's boxes to documents. What the
boxes are used for (jerseys, occlusion) is decided in `run_ocr`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from touchline.errors import ModelUnavailableError
from touchline.values import DetectedObject, Image

OFFLINE = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}
"""ultralytics neither looks for updates, reports usage nor installs packages under these."""


class ObjectDetector(Protocol):
    """Finds objects in pictures."""

    @property
    def identity(self) -> str:
        """Model, weights' checksum and settings in one line; part of the fingerprint of what it found."""
        ...

    def detect(self, images: Sequence[Image]) -> list[tuple[DetectedObject, ...]]:
        """The objects of each picture (BGR, uint8), boxes in that picture's pixels, the most confident first."""
        ...


class YoloDetector:
    """An ultralytics model. `weights` is a file whose SHA-256 (hex) must be `sha256`: loading a .pt runs its code.

    `image_size` is the side at which pictures are searched [pixels], `device` is ultralytics' ("" chooses the GPU if
    there is one), `confidence` 0..1 the least that is kept. Raises ModelUnavailableError if ultralytics is not
    installed, or the file is missing or another one.
    """

    def __init__(
        self, weights: Path, sha256: str, *, image_size: int = 640, device: str = "", confidence: float = 0.25
    ) -> None:
        _check(weights, sha256)
        self._model: Any = _ultralytics().YOLO(str(weights), task="detect")
        self._weights = weights.name
        self._sha256 = sha256.lower()
        self._image_size = image_size
        self._device = device or None
        self._confidence = confidence

    @property
    def identity(self) -> str:
        """Name and checksum of the weights, and the settings that change what is found."""
        return f"{self._weights} sha256:{self._sha256} at {self._image_size} px, confidence {self._confidence}"

    def detect(self, images: Sequence[Image]) -> list[tuple[DetectedObject, ...]]:
        """One batch. ultralytics takes BGR arrays and gives boxes in the pictures' own pixels."""
        if not images:
            return []
        results = self._model.predict(
            list(images), imgsz=self._image_size, conf=self._confidence, device=self._device, verbose=False, save=False
        )
        return [self._objects(result) for result in results]

    @staticmethod
    def _objects(result: Any) -> tuple[DetectedObject, ...]:
        boxes = result.boxes
        found = [
            DetectedObject(str(result.names[int(label)]), float(score), (float(x1), float(y1), float(x2), float(y2)))
            for (x1, y1, x2, y2), score, label in zip(
                boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist(), strict=True
            )
        ]
        return tuple(sorted(found, key=lambda o: -o.confidence))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(weights: Path, sha256: str) -> None:
    if not weights.is_file():
        raise ModelUnavailableError(
            f"no YOLO weights at {weights}; put a file there, or set detect_objects.weights or TOUCHLINE_YOLO_WEIGHTS"
        )
    if not sha256:
        raise ModelUnavailableError(
            f"{weights} is not loaded without its checksum, because loading a .pt file runs code; "
            "set detect_objects.weights_sha256 or TOUCHLINE_YOLO_SHA256"
        )
    came = sha256_of(weights)
    if came != sha256.lower():
        raise ModelUnavailableError(f"{weights} has SHA-256 {came}, expected {sha256.lower()}; it is not loaded")


def _ultralytics() -> Any:
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    try:
        import ultralytics
    except ImportError as error:
        raise ModelUnavailableError("ultralytics is not installed; pip install 'touchline[yolo]'") from error
    # Written only where it differs: the settings file is shared by every process of this user.
    if ultralytics.settings.get("sync"):
        ultralytics.settings.update({"sync": False})
    return ultralytics
