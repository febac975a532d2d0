"""The asset `match_brands`. What it does is in `touchline/stages/match_brands.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, MatchBrandsSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Known brands by the vote of each track, and real text that is no known brand.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    code_version=STAGES["match_brands"].version,
    io_manager_key="checkpoints",
)
def match_brands(
    context: dg.AssetExecutionContext,
    config: MatchBrandsSettings,
    run_ocr: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 5 of the pipeline."""
    return run_stage(context, config, {"run_ocr": run_ocr}, storage, models, run_settings)
