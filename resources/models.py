"""The models as a Dagster resource: loaded at first use, once a process, whatever asks for them.

Belongs here: sharing loaded engines. The engines themselves are in `touchline/ocr/` and `touchline/vision/`.
"""

from functools import lru_cache

import dagster as dg

from touchline.errors import ModelUnavailableError
from touchline.ocr.engine import OcrEngine, load_engine
from touchline.stages.detect_objects import DetectObjectsConfig, load_detector
from touchline.vision.objects import ObjectDetector


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]
    """OCR engines and object detectors. Loading takes a second or two and some hundred megabytes each."""

    def ocr(self, engine: str) -> OcrEngine:
        """The OCR engine of that name. Raises ModelUnavailableError if it cannot be had."""
        return _ocr(engine)

    def detector(self, config: DetectObjectsConfig) -> tuple[ObjectDetector | None, str]:
        """The object detector, or none and the reason. Raises ModelUnavailableError if one is required."""
        try:
            return _detector(config), ""
        except ModelUnavailableError as error:
            if config.required:
                raise
            return None, str(error)


@lru_cache(maxsize=2)
def _ocr(engine: str) -> OcrEngine:
    return load_engine(engine)


@lru_cache(maxsize=2)
def _detector(config: DetectObjectsConfig) -> ObjectDetector:
    return load_detector(config)
