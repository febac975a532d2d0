"""The asset `extract_frames`. What it does is in `touchline/stages/extract_frames.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, ExtractFramesSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Frames sampled from the video at true presentation times, stored as JPEGs in chunks.",
    owners=["team:video-engineering"],
    kinds={"ffmpeg", "python", "s3"},
    code_version=STAGES["extract_frames"].version,
    io_manager_key="checkpoints",
)
def extract_frames(
    context: dg.AssetExecutionContext,
    config: ExtractFramesSettings,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 0 of the pipeline."""
    return run_stage(context, config, {}, storage, models, run_settings)
