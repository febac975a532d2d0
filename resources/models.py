"""The models as a Dagster resource: loaded at first use, once a process, whatever asks for them.

Belongs here: sharing loaded engines. The engines themselves are in `touchline/ocr/` and `touchline/vision/`.
"""

import threading
from functools import lru_cache

import dagster as dg

from resources.interrupts import interrupts_held
from touchline.errors import ModelUnavailableError
from touchline.ocr.engine import OcrEngine, load_engine
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime
from touchline.stages.detect_objects import DetectObjectsConfig, load_detector
from touchline.vision.objects import ObjectDetector

_loading = threading.RLock()


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]
    """OCR engines and object detectors. Loading takes a second or two and some hundred megabytes each."""

    def ocr(self, engine: str, runtime: Runtime = DEFAULT_RUNTIME) -> OcrEngine:
        """The OCR engine of that name; `runtime` computes rapidocr's. Raises ModelUnavailableError without its models.

        Threads that ask at once wait for one of them to load it.
        """
        with _loading, interrupts_held():
            return _ocr(engine, runtime if engine == "rapidocr" else None)

    def detector(self, config: DetectObjectsConfig) -> tuple[ObjectDetector | None, str]:
        """The object detector, or none and the reason. Raises ModelUnavailableError if one is required."""
        try:
            with _loading, interrupts_held():
                return _detector(config), ""
        except ModelUnavailableError as error:
            if config.required:
                raise
            return None, str(error)


@lru_cache(maxsize=2)
def _ocr(engine: str, runtime: Runtime | None) -> OcrEngine:
    return load_engine(engine, **({"runtime": runtime} if runtime else {}))


@lru_cache(maxsize=2)
def _detector(config: DetectObjectsConfig) -> ObjectDetector:
    return load_detector(config)
