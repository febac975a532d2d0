"""The models as a Dagster resource, loaded at first use and shared in the process.

Belongs here: sharing loaded engines, and their settings in the environment. The engines are in `touchline/ocr/`,
`touchline/vision/` and plugins.
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
"""Name of the detector whose weights the environment may set."""

_loading = threading.RLock()


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]
    """OCR engines and object detectors. Loading one takes 1 to 2 s and some hundred MB of memory."""

    yolo_weights: str = Field(
        default="",
        description="Weights that the detector yolo takes where a profile names none; empty: TOUCHLINE_YOLO_WEIGHTS.",
    )
    yolo_sha256: str = Field(default="", description="SHA-256 of those weights, hex.")

    def ocr(self, engine: str, runtime: Runtime = DEFAULT_RUNTIME) -> OcrEngine:
        """The OCR engine with that name. `runtime` is for engines with several runtimes. Thread-safe.

        Raises BadInputError if no installed package has an engine of that name, ModelUnavailableError without its
        models.
        """
        with _loading, interrupts_held():
            return _ocr(engine, EngineSettings(runtime))

    def detector(self, config: DetectObjectsConfig) -> tuple[ObjectDetector | None, str]:
        """The configured object detector and an empty text, or None and the reason.

        Raises BadInputError if no installed package has a detector of that name, ModelUnavailableError if
        `config.required` is set and its models are missing.
        """
        try:
            with _loading, interrupts_held():
                return _detector(config, default_weights(config, self._settings())), ""
        except ModelUnavailableError as error:
            if config.required:
                raise
            return None, str(error)

    def _settings(self) -> Settings:
        """The environment's settings, overridden by the fields of this resource."""
        settings = Settings.from_environment()
        if not self.yolo_weights:
            return settings
        return replace(settings, yolo_weights=self.yolo_weights, yolo_sha256=self.yolo_sha256)


def default_weights(config: DetectObjectsConfig, settings: Settings) -> tuple[str, str]:
    """Weights and SHA-256 that the settings name for the configured detector; empty texts if none."""
    if config.detector != YOLO or not settings.yolo_weights:
        return "", ""
    # The environment may name a file relative to the working directory; a run may not.
    named = Path(settings.yolo_weights)
    return str(named.absolute()) if named.is_file() else settings.yolo_weights, settings.yolo_sha256


@lru_cache(maxsize=2)
def _ocr(engine: str, settings: EngineSettings) -> OcrEngine:
    return load_engine(engine, settings)


@lru_cache(maxsize=2)
def _detector(config: DetectObjectsConfig, default: tuple[str, str]) -> ObjectDetector:
    return configured_detector(config, default)
