"""Object detectors by name. Belongs here: loading one; what it must do is in `detector.py`."""

from __future__ import annotations

from touchline.plugins import DETECTORS
from touchline.vision.detector import DetectorSettings, ObjectDetector


def load_detector(name: str, settings: DetectorSettings | None = None) -> ObjectDetector:
    """The detector of that name, its model loaded.

    Raises BadInputError if no installed package offers the name or two do, or if a setting does not fit the model, and
    ModelUnavailableError if the detector is not installed, has no weights, or is no ObjectDetector.
    """
    made: ObjectDetector = DETECTORS.make(name, settings or DetectorSettings(), ("identity", "labels", "detect"))
    return made
