"""OCR engines by name. Belongs here: loading one; what it must do is in `engine.py`."""

from __future__ import annotations

from touchline.ocr.engine import EngineSettings, OcrEngine
from touchline.plugins import OCR_ENGINES


def load_engine(name: str, settings: EngineSettings | None = None) -> OcrEngine:
    """The engine of that name, its models loaded.

    Raises BadInputError if no installed package offers the name or two do, and ModelUnavailableError if the engine is
    not installed, has no weights, or is no OcrEngine.
    """
    engine: OcrEngine = OCR_ENGINES.make(name, settings or EngineSettings(), ("identity", "find", "read"))
    return engine
