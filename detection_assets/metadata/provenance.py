"""Provenance of a materialization: the checkpoints that it was computed from.

Belongs here: metadata that names them, and the tags from which Dagster computes whether an asset is in sync with its
upstream. `io_managers/resolution.py` chooses the checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from detection_assets.dagster_internals.tags import DATA_VERSION_TAG, INPUT_POINTER_TAG
from io_managers.stage_io import StageInput
from touchline.library.tables import StageCheckpoint

LOOK_BACK: Final = 500
"""Most materializations of one partition that are searched for the one that was read."""


def read_from(inputs: Mapping[str, StageInput]) -> dict[str, Any]:
    """Metadata that names the checkpoint that was read of each upstream stage, and the reason for the choice."""
    return {f"read_{name}": f"{i.row.stage_output_key} (checkpoint {i.row.id}: {i.why})" for name, i in inputs.items()}


def input_tags(context: dg.AssetExecutionContext, rows: Mapping[str, StageCheckpoint]) -> dict[str, str]:
    """Tags that point to the materializations of `rows` (checkpoints by stage) that are not the newest ones.

    Dagster assumes that the newest one was read. It would show an asset that was computed from an older checkpoint as
    in sync with its upstream. Upstreams without a record in Dagster get no tag.
    """
    tags: dict[str, str] = {}
    for name, row in rows.items():
        newest: str | None = None
        for record in _materializations(context, name):
            version = (record.event_log_entry.tags or {}).get(DATA_VERSION_TAG)
            newest = newest or version
            if version == row.fingerprint:
                if version != newest:
                    tags[f"{INPUT_POINTER_TAG}/{name}"] = str(record.storage_id)
                break
    return tags


def _materializations(context: dg.AssetExecutionContext, name: str) -> Any:
    """The newest materializations of an asset's partition. The first page has one, which is usually the one wanted."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[context.partition_key])
    seen, cursor, size = 0, None, 1
    while seen < LOOK_BACK:
        page = context.instance.fetch_materializations(wanted, limit=size, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        seen, cursor, size = seen + len(page.records), page.cursor, 50
