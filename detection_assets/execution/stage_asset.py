"""The factory of stage assets.

Belongs here: what all stage assets share: partitions, inputs, settings, resources. `touchline/nodes.py` says what an
asset reads, `run_stage.py` and `touchline/stages/` compute it. https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Collection

import dagster as dg

from detection_assets.execution.registry import STAGES, takes_settings
from detection_assets.execution.run_stage import run_stage
from detection_assets.partitions import sources
from io_managers.stage_io import StageInput, StageOutput
from resources.models import Models
from resources.run_settings import RunSettings
from resources.storage import Storage
from touchline.nodes import READS, TRACES

GROUP = "touchline"
"""The asset group of all assets of a source."""


def stage_asset(
    name: str, *, description: str, owners: Collection[str], kinds: Collection[str], pool: str | None = None
) -> dg.AssetsDefinition:
    """The asset of the stage `name`, partitioned by source, with the inputs that `touchline/nodes.py` names.

    `owners` have Dagster's form ("team:..."). Dagster shows `kinds` next to the asset's name. `pool` is the concurrency
    pool of its steps.
    """

    @dg.asset(
        name=name,
        ins={stage: dg.AssetIn() for stage in READS[name]},
        # Dependencies without a value: loading a value would cost one query more for the checkpoint of this run.
        deps=TRACES[name],
        partitions_def=sources,
        group_name=GROUP,
        description=description,
        owners=list(owners),
        kinds=set(kinds),
        pool=pool,
        code_version=STAGES[name].version,
        io_manager_key="checkpoints",
    )
    @takes_settings(name)
    def compute(
        context: dg.AssetExecutionContext,
        config: dg.Config,
        storage: Storage,
        models: Models,
        run_settings: RunSettings,
        **inputs: StageInput,
    ) -> dg.MaterializeResult[StageOutput]:
        # Dagster passes keyword arguments in another order.
        ordered = {stage: inputs[stage] for stage in READS[name]}
        return run_stage(context, config, ordered, storage, models, run_settings)

    return compute
