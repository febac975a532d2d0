"""The Dagster layer: one thin file per node, and what ties them together."""

import os

# Before Dagster is imported; the processes that are started inherit it.
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
