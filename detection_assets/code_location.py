"""The code location that `workspace.yaml` names: what the Dagster webserver and daemon load."""

from detection_assets.definitions import build_defs

defs = build_defs()
