"""The asset `escalate_vlm`. The computation is in `touchline/stages/escalate_vlm.py`."""

from detection_assets.execution.stage_asset import stage_asset

escalate_vlm = stage_asset(
    "escalate_vlm",
    description="Sends unresolved crops, deduplicated, to a local vision-language model. Without a model it passes all "
    "detections on.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="gpu",
)
