"""The definitions: assets, checks, jobs, sensors and resources, for the code location, the CLI and tests.

Belongs here: `build_defs`. https://docs.dagster.io/guides/build/assets
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from detection_assets.assets import ASSETS, JOB
from detection_assets.checks import CHECKS, LIBRARY, LIBRARY_CHECK
from detection_assets.dagster_internals.tags import RETRY_STRATEGY_TAG
from detection_assets.execution.registry import STAGES
from detection_assets.sensors import SENSORS
from detection_assets.upkeep.ingest_job import ingest_uploads
from io_managers.checkpoint_io_manager import CheckpointIOManager, deserializers
from resources.fields import own_fields
from resources.models import Models
from resources.run_settings import RunSettings
from resources.settings import Settings
from resources.storage import Storage

__all__ = ["JOB", "build_defs"]


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All definitions. `resource_overrides` replaces resources by name.

    Nothing is connected and no model is loaded here: definitions load without servers.
    """
    deserializers.update({name: stage.module.deserialize for name, stage in STAGES.items()})
    own = own_fields(Settings.from_environment())
    storage, run_settings = Storage(**own["storage"]), RunSettings.configure_at_launch()
    resources: dict[str, Any] = {
        "storage": storage,
        "models": Models(**own["models"]),
        "run_settings": run_settings,
        "checkpoints": CheckpointIOManager(storage=storage, run_settings=run_settings),
    }
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(*ASSETS),
        description="All stages on one source, from the video to the report. A run is one process: models load once.",
        executor_def=dg.in_process_executor,
        tags={RETRY_STRATEGY_TAG: "FROM_ASSET_FAILURE"},
    )
    return dg.Definitions(
        assets=[*ASSETS, LIBRARY],
        asset_checks=list(CHECKS),
        jobs=[job, ingest_uploads],
        schedules=[LIBRARY_CHECK],
        sensors=list(SENSORS),
        resources={**resources, **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )
