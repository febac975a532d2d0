"""The checkpoint IO manager: stores outputs as BSON streams with rows in Postgres, and loads inputs from them.

Belongs here: Dagster's interface. Checkpoints are written and read in `resources/checkpoints.py`; `resolution.py`
selects the one that a run reads.
https://docs.dagster.io/guides/build/io-managers
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from io_managers.resolution import choose
from io_managers.stage_io import StageInput, StageOutput
from resources.leases import check, guard_of
from resources.run_settings import RunSettings
from resources.storage import Storage
from touchline.library import repository
from touchline.library.tables import StageCheckpoint

deserializers: dict[str, Callable[[dict[str, Any]], Any]] = {}
"""The `deserialize` function of each stage, by stage name; filled by `detection_assets`."""


class CheckpointIOManager(dg.ConfigurableIOManager):
    """Commits the journal of a stage as its checkpoint, and loads the checkpoints of upstream stages."""

    storage: dg.ResourceDependency[Storage]
    run_settings: dg.ResourceDependency[RunSettings]

    def handle_output(self, context: dg.OutputContext, obj: StageOutput) -> None:
        """Stores the blob, then the row. Raises LeaseLostError, and stores neither, if the run's lease was lost."""
        if not isinstance(obj, StageOutput):
            raise dg.DagsterInvariantViolationError(
                f"asset {context.asset_key.to_user_string()} returned {type(obj).__name__}, expected the StageOutput "
                "that `run_stage` gives; return it as MaterializeResult(value=...)"
            )
        connection = self.storage.connect()
        guard = guard_of(context.run_id)
        check(context.run_id)
        if obj.reused is not None:
            row = connection.checkpoints.reuse(
                obj.reused, obj.job, input_checkpoint_ids=list(obj.input_checkpoint_ids), guard=guard
            )
        else:
            assert obj.journal is not None
            row = connection.checkpoints.commit(
                job=obj.job,
                stage=obj.stage,
                fingerprint=obj.fingerprint,
                journal=obj.journal,
                stats=dict(obj.stats),
                config_snapshot=dict(obj.config_snapshot),
                config_overrides=dict(obj.config_overrides),
                input_checkpoint_ids=list(obj.input_checkpoint_ids),
                frames=obj.frames,
                filtered=obj.filtered,
                wall_s=obj.wall_s,
                guard=guard,
            )
        context.add_output_metadata(checkpoint_metadata(row, connection.objects.uri(row.stage_output_key)))

    def load_input(self, context: dg.InputContext) -> StageInput:
        """The upstream checkpoint that `resolution.choose` selects."""
        upstream = context.upstream_output
        assert upstream is not None
        stage = upstream.asset_key.path[-1]
        about = self.get_resource_context()
        if about.instance is None or about.run is None:
            raise dg.DagsterInvariantViolationError(
                f"the checkpoint of {stage} was asked for outside a run; expected a run, which says what it reads"
            )
        connection = self.storage.connect()
        with connection.database.session() as session:
            source = repository.get_source(session, context.partition_key)
            row, why = choose(session, about.instance, about.run, source, stage, from_job=self.run_settings.from_job)
        return StageInput(row, connection.checkpoints, deserializers[stage], why)


def checkpoint_metadata(row: StageCheckpoint, uri: str) -> dict[str, Any]:
    """Output metadata of the checkpoint stored at `uri`, for Dagster's UI."""
    return {
        **stored_metadata(uri, row.item_count),
        "checkpoint_id": dg.MetadataValue.text(str(row.id)),
        "checkpoint_key": dg.MetadataValue.path(row.stage_output_key),
        "job_id": dg.MetadataValue.text(str(row.job_id)),
        "documents": dg.MetadataValue.int(row.item_count),
        "checkpoint_bytes": dg.MetadataValue.int(row.stage_output_size),
        "reused": dg.MetadataValue.bool(row.reused_from is not None),
    }


def stored_metadata(uri: str, count: int) -> dict[str, Any]:
    """Dagster's standard metadata for the location and row count of a partition."""
    return {
        "dagster/uri": dg.MetadataValue.text(uri),
        "dagster/row_count": dg.MetadataValue.int(count),
        "dagster/partition_row_count": dg.MetadataValue.int(count),
    }
