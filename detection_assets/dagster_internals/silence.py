"""Silences Dagster's console log in commands that show a progress bar and report errors themselves.

Belongs here: one function. Call it before Dagster is imported: definitions warn while they are loaded.
"""

from __future__ import annotations

import logging
import warnings
from typing import Final

PREVIEW: Final = r".*is currently in (beta|preview)"
"""Regular expression of Dagster's warnings about beta and preview features. Deprecation warnings do not match."""


def silence_dagster() -> None:
    """Silences Dagster's log and its warnings about beta and preview features in this process."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=PREVIEW)
