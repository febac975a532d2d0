"""The asset `escalate_cloud`. What it does is in `touchline/stages/escalate_cloud.py`."""

import dagster as dg

from detection_assets.execution.registry import STAGES, EscalateCloudSettings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage


@dg.asset(
    partitions_def=sources,
    group_name="touchline",
    description="What is still unresolved and worth it, for a cloud model inside a budget. Passes everything on where "
    "none is configured.",
    owners=["team:sponsorship-analytics"],
    kinds={"python"},
    pool="cloud_llm",
    code_version=STAGES["escalate_cloud"].version,
    io_manager_key="checkpoints",
)
def escalate_cloud(
    context: dg.AssetExecutionContext,
    config: EscalateCloudSettings,
    escalate_vlm: StageInput,
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Node 7 of the pipeline."""
    return run_stage(context, config, {"escalate_vlm": escalate_vlm}, storage, models, run_settings)
