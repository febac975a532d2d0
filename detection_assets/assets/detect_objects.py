"""The asset `detect_objects`. The computation is in `touchline/stages/detect_objects.py`."""

from detection_assets.execution.stage_asset import stage_asset

detect_objects = stage_asset(
    "detect_objects",
    description="Players, ball and goal, detected by YOLO. They show what occludes a board and what is a jersey. "
    "Without weights the output is empty and its stats give the reason.",
    owners=["team:vision-engineering"],
    kinds={"python", "pytorch"},
    pool="gpu",
)
