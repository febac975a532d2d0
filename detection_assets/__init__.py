"""The Dagster layer: one thin file per node, and what ties them together."""
