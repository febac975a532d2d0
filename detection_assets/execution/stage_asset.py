"""Makes the asset of one node from what is particular to it.

Belongs here: what the assets of all nodes share: partitions, inputs, settings, resources. What an asset reads is
written in `touchline/nodes.py`, what it does in `run_stage.py` and `touchline/stages/`.
https://docs.dagster.io/guides/build/assets
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
"""Of all assets that belong to a source."""


def stage_asset(
    name: str, *, description: str, owners: Collection[str], kinds: Collection[str], pool: str | None = None
) -> dg.AssetsDefinition:
    """The asset of the node `name`: partitioned by source, with the inputs that `touchline/nodes.py` names.

    `owners` are as Dagster takes them ("team:..."), `kinds` are shown beside the asset's name, and `pool` limits how
    many steps run at once.
    """

    @dg.asset(
        name=name,
        ins={stage: dg.AssetIn() for stage in READS[name]},
        # Without a value: a value would be of the newest checkpoint, or cost a look for the right one.
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
        # Dagster gives keyword arguments in an order of its own.
        ordered = {stage: inputs[stage] for stage in READS[name]}
        return run_stage(context, config, ordered, storage, models, run_settings)

    return compute
