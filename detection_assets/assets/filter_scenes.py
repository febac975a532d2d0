"""The asset `filter_scenes`. What it does is in `touchline/stages/filter_scenes.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, FilterScenesSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Shot cuts, and which frames are worth looking at: black, blurred and near-duplicate ones are "
    "dropped, each naming the kept frame that stands for it.",
    owners=["team:video-engineering"],
    kinds={"opencv", "python"},
    code_version=STAGES["filter_scenes"].version,
    io_manager_key="checkpoints",
)
def filter_scenes(
    context: dg.AssetExecutionContext,
    config: FilterScenesSettings,
    extract_frames: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 1 of the pipeline."""
    return run_stage(context, config, {"extract_frames": extract_frames}, storage, models, run_settings)
