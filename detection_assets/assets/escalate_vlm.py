"""The asset `escalate_vlm`. What it does is in `touchline/stages/escalate_vlm.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, EscalateVlmSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="Unresolved crops, deduplicated, for a local vision-language model. Passes everything on where none "
    "is configured.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="gpu",
    code_version=STAGES["escalate_vlm"].version,
    io_manager_key="checkpoints",
)
def escalate_vlm(
    context: dg.AssetExecutionContext,
    config: EscalateVlmSettings,
    match_brands: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 6 of the pipeline."""
    return run_stage(context, config, {"match_brands": match_brands}, storage, models, run_settings)
