"""The variable that keeps Dagster from sending usage statistics.

Belongs here: its name. `dagster.yaml` says the same in Dagster's public way, but only to who has opened the home.
"""

from typing import Final

OFF: Final = {"DAGSTER_DISABLE_TELEMETRY": "1"}
"""For the environment of a process, before Dagster is imported."""
