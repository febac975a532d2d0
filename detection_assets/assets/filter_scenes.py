"""The asset `filter_scenes`. The computation is in `touchline/stages/filter_scenes.py`."""

from detection_assets.execution.stage_asset import stage_asset

filter_scenes = stage_asset(
    "filter_scenes",
    description="Shot cuts, and the frames to analyse. Black, blurred and near-duplicate frames are dropped; each "
    "names the kept frame that represents it.",
    owners=["team:video-engineering"],
    kinds={"opencv", "python"},
)
