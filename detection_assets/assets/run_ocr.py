"""The asset `run_ocr`. The computation is in `touchline/stages/run_ocr.py`."""

from detection_assets.execution.stage_asset import stage_asset

run_ocr = stage_asset(
    "run_ocr",
    description="Text on rectified board strips and in the rest of the frame. Each reading has a quad, a zone and a "
    "track.",
    owners=["team:vision-engineering"],
    kinds={"onnx", "openvino", "python"},
    pool="ocr",
)
