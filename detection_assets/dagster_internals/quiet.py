"""Dagster tells a terminal of every event; where a progress bar does that, it is kept quiet, and errors are told once.

Belongs here: this one function, which runs before Dagster is imported: definitions warn while they are read.
"""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Silences Dagster's log and warnings in this process."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    for category in ("BetaWarning", "PreviewWarning"):
        warnings.filterwarnings("ignore", message=f".*{category}.*")
    warnings.filterwarnings("ignore", module="dagster.*")
