"""The asset `filter_scenes`. What it does is in `touchline/stages/filter_scenes.py`."""

from detection_assets.execution.stage_asset import stage_asset

filter_scenes = stage_asset(
    "filter_scenes",
    description="Shot cuts, and which frames are worth looking at: black, blurred and near-duplicate ones are dropped, "
    "each naming the kept frame that stands for it.",
    owners=["team:video-engineering"],
    kinds={"opencv", "python"},
)
