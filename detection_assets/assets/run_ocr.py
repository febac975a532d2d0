"""The asset `run_ocr`. What it does is in `touchline/stages/run_ocr.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, RunOcrSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Text on rectified board strips and in the rest of the frame; each reading with its quad, zone "
    "and track.",
    owners=["team:vision-engineering"],
    kinds={"onnx", "openvino", "python"},
    pool="ocr",
    code_version=STAGES["run_ocr"].version,
    io_manager_key="checkpoints",
)
def run_ocr(
    context: dg.AssetExecutionContext,
    config: RunOcrSettings,
    filter_scenes: StageInput,
    detect_edges: StageInput,
    detect_objects: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 4 of the pipeline."""
    return run_stage(
        context,
        config,
        {"filter_scenes": filter_scenes, "detect_edges": detect_edges, "detect_objects": detect_objects},
        storage,
        models,
        run_settings,
    )
