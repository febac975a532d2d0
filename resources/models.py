"""The models as a Dagster resource: loaded at first use, once a process, whatever asks for them.

Belongs here: sharing loaded engines, and what of the environment concerns them. The engines themselves are in
`touchline/ocr/` and `touchline/vision/`, and in other installed packages.
"""

import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import Field

from resources.interrupts import interrupts_held
from resources.settings import Settings
from touchline.errors import ModelUnavailableError
from touchline.ocr.engine import EngineSettings, OcrEngine
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime
from touchline.ocr.registry import load_engine
from touchline.stages.detect_objects import DetectObjectsConfig, configured_detector
from touchline.vision.detector import ObjectDetector

YOLO: Final = "yolo"
"""The detector whose weights the environment may name."""

_loading = threading.RLock()


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]
    """OCR engines and object detectors. Loading takes a second or two and some hundred megabytes each."""

    yolo_weights: str = Field(
        default="",
        description="Weights that the detector yolo takes where a profile names none; empty: TOUCHLINE_YOLO_WEIGHTS.",
    )
    yolo_sha256: str = Field(default="", description="SHA-256 of those weights, hex.")

    def ocr(self, engine: str, runtime: Runtime = DEFAULT_RUNTIME) -> OcrEngine:
        """The OCR engine of that name; `runtime` is for those that can choose.

        Threads that ask at once wait for one of them to load it. Raises BadInputError if no installed package offers
        the name, ModelUnavailableError without its models.
        """
        with _loading, interrupts_held():
            return _ocr(engine, EngineSettings(runtime))

    def detector(self, config: DetectObjectsConfig) -> tuple[ObjectDetector | None, str]:
        """The object detector, or none and the reason.

        Raises BadInputError if no installed package offers the name, ModelUnavailableError if one is required.
        """
        try:
            with _loading, interrupts_held():
                return _detector(config, default_weights(config, self._settings())), ""
        except ModelUnavailableError as error:
            if config.required:
                raise
            return None, str(error)

    def _settings(self) -> Settings:
        """The environment's settings with what the fields change of them."""
        settings = Settings.from_environment()
        if not self.yolo_weights:
            return settings
        return replace(settings, yolo_weights=self.yolo_weights, yolo_sha256=self.yolo_sha256)


def default_weights(config: DetectObjectsConfig, settings: Settings) -> tuple[str, str]:
    """The weights that the settings name for the configured detector, and their SHA-256; empty if none."""
    if config.detector != YOLO or not settings.yolo_weights:
        return "", ""
    # Whoever sets the environment may name a file of the working folder by its bare name; a run may not.
    named = Path(settings.yolo_weights)
    return str(named.absolute()) if named.is_file() else settings.yolo_weights, settings.yolo_sha256


@lru_cache(maxsize=2)
def _ocr(engine: str, settings: EngineSettings) -> OcrEngine:
    return load_engine(engine, settings)


@lru_cache(maxsize=2)
def _detector(config: DetectObjectsConfig, default: tuple[str, str]) -> ObjectDetector:
    return configured_detector(config, default)
