"""The environment variable that disables Dagster's telemetry.

Belongs here: its name. The public setting in `dagster.yaml` has an effect only after an instance is opened.
"""

from typing import Final

OFF: Final = {"DAGSTER_DISABLE_TELEMETRY": "1"}
"""Environment variables to set before Dagster is imported."""
