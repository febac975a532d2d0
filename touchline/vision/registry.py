"""Loading of object detectors by name. Belongs here: only that; their protocol is in `detector.py`."""

from __future__ import annotations

from touchline.plugins import DETECTORS
from touchline.vision.detector import DetectorSettings, ObjectDetector


def load_detector(name: str, settings: DetectorSettings | None = None) -> ObjectDetector:
    """The detector of that name, with its model loaded.

    Raises BadInputError if no installed package has the name or two have it, or if a setting does not fit the model,
    and ModelUnavailableError if the detector is not installed, has no weights, or is not an ObjectDetector.
    """
    detector: ObjectDetector = DETECTORS.make(name, settings or DetectorSettings(), ("identity", "labels", "detect"))
    return detector
