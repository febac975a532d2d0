"""The asset `detect_objects`. What it does is in `touchline/stages/detect_objects.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, DetectObjectsSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Players, ball and goal by YOLO: what stands before a board, what is a jersey. Empty, and says why, "
    "where no weights are configured.",
    owners=["team:vision-engineering"],
    kinds={"python", "pytorch"},
    pool="gpu",
    code_version=STAGES["detect_objects"].version,
    io_manager_key="checkpoints",
)
def detect_objects(
    context: dg.AssetExecutionContext,
    config: DetectObjectsSettings,
    filter_scenes: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 3 of the pipeline."""
    return run_stage(context, config, {"filter_scenes": filter_scenes}, storage, models, run_settings)
