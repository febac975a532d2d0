"""The asset `detect_edges`. What it does is in `touchline/stages/detect_edges.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, DetectEdgesSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Advertising boards along the edge of the pitch as quads (grass mask, Canny, Hough), camera motion, "
    "and overlays that stand still.",
    owners=["team:vision-engineering"],
    kinds={"opencv", "python"},
    code_version=STAGES["detect_edges"].version,
    io_manager_key="checkpoints",
)
def detect_edges(
    context: dg.AssetExecutionContext,
    config: DetectEdgesSettings,
    filter_scenes: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 2 of the pipeline."""
    return run_stage(context, config, {"filter_scenes": filter_scenes}, storage, models, run_settings)
