"""The checkpoint IO manager: BSON streams to the object store, rows to Postgres, inputs from rows.

Belongs here: what Dagster hands over and asks for. How a checkpoint is written and read safely is in
`resources/checkpoints.py`; which one a replay reads is decided in `resolution.py`.
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
"""Each stage's own `deserialize`, registered by the layer above."""


class CheckpointIOManager(dg.ConfigurableIOManager):
    """Commits a stage's journal as its checkpoint, and loads upstream stages from theirs."""

    storage: dg.ResourceDependency[Storage]
    run_settings: dg.ResourceDependency[RunSettings]

    def handle_output(self, context: dg.OutputContext, obj: StageOutput) -> None:
        """Blob first, then row; neither if this process has lost the lease of its run."""
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
        """The upstream checkpoint: this run's, else the named job's, else the re-executed run's, else the newest."""
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
    """What Dagster's UI shows of a checkpoint that is stored at `uri`."""
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
    """The entries by which Dagster knows where a partition is stored and how many rows it has."""
    return {
        "dagster/uri": dg.MetadataValue.text(uri),
        "dagster/row_count": dg.MetadataValue.int(count),
        "dagster/partition_row_count": dg.MetadataValue.int(count),
    }
