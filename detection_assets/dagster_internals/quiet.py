"""Dagster tells a terminal of every event; where a progress bar does that, it is kept quiet, and errors are told once.

Belongs here: this one function, which runs before Dagster is imported: definitions warn while they are read.
"""

from __future__ import annotations

import logging
import warnings
from typing import Final

NEW: Final = r".*is currently in (beta|preview)"
"""Begins what Dagster warns of its own new parts. What it says of old ones is let through: it announces changes."""


def quiet() -> None:
    """Silences Dagster's log, and its warnings that a part of it is new, in this process."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=NEW)
