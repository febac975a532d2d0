"""The asset `escalate_cloud`. What it does is in `touchline/stages/escalate_cloud.py`."""

from detection_assets.execution.stage_asset import stage_asset

escalate_cloud = stage_asset(
    "escalate_cloud",
    description="What is still unresolved and worth it, for a cloud model inside a budget. Passes everything on where "
    "none is configured.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="cloud_llm",
)
