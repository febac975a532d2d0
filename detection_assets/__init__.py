"""The Dagster layer: one small file per asset, and the jobs, checks and sensors around them."""

import os

from detection_assets.dagster_internals.telemetry import OFF

# Set before Dagster is imported. Child processes inherit it.
os.environ.update(OFF)
