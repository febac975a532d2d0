"""The Dagster layer: one thin file per node, and what ties them together."""

import os

from detection_assets.dagster_internals.telemetry import OFF

# Before Dagster is imported; the processes that are started inherit it.
os.environ.update(OFF)
