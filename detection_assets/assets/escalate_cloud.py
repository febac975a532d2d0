"""The asset `escalate_cloud`. The computation is in `touchline/stages/escalate_cloud.py`."""

from detection_assets.execution.stage_asset import stage_asset

escalate_cloud = stage_asset(
    "escalate_cloud",
    description="Sends crops that are still unresolved to a cloud model, within a budget. Without a model it passes "
    "all detections on.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="cloud_llm",
)
