"""The asset `match_brands`. What it does is in `touchline/stages/match_brands.py`."""

from detection_assets.execution.stage_asset import stage_asset

match_brands = stage_asset(
    "match_brands",
    description="Known brands by the vote of each track, and real text that is no known brand.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
)
