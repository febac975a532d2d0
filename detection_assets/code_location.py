"""The code location that `workspace.yaml` names. The Dagster webserver and daemon load it."""

from detection_assets.definitions import build_defs

defs = build_defs()
