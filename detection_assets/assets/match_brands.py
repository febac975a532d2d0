"""The asset `match_brands`. The computation is in `touchline/stages/match_brands.py`."""

from detection_assets.execution.stage_asset import stage_asset

match_brands = stage_asset(
    "match_brands",
    description="Known brands, by a vote over each track's readings, and text that matches no known brand.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
)
