"""The asset `escalate_vlm`. What it does is in `touchline/stages/escalate_vlm.py`."""

from detection_assets.execution.stage_asset import stage_asset

escalate_vlm = stage_asset(
    "escalate_vlm",
    description="Unresolved crops, deduplicated, for a local vision-language model. Passes everything on where none is "
    "configured.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="gpu",
)
