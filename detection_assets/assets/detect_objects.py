"""The asset `detect_objects`. What it does is in `touchline/stages/detect_objects.py`."""

from detection_assets.execution.stage_asset import stage_asset

detect_objects = stage_asset(
    "detect_objects",
    description="Players, ball and goal by YOLO: what stands before a board, what is a jersey. Empty, and says why, "
    "where no weights are configured.",
    owners=["team:vision-engineering"],
    kinds={"python", "pytorch"},
    pool="gpu",
)
