"""The asset `detect_edges`. The computation is in `touchline/stages/detect_edges.py`."""

from detection_assets.execution.stage_asset import stage_asset

detect_edges = stage_asset(
    "detect_edges",
    description="Advertising boards along the edge of the pitch as quads (grass mask, Canny, Hough), camera motion, "
    "and static overlays.",
    owners=["team:vision-engineering"],
    kinds={"opencv", "python"},
)
