"""The asset `run_ocr`. What it does is in `touchline/stages/run_ocr.py`."""

from detection_assets.execution.stage_asset import stage_asset

run_ocr = stage_asset(
    "run_ocr",
    description="Text on straightened board ribbons and in the rest of the frame; each reading with its quad, zone and "
    "track.",
    owners=["team:vision-engineering"],
    kinds={"onnx", "openvino", "python"},
    pool="ocr",
)
