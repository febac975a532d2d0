"""What a materialization says of the checkpoints it was computed from.

Belongs here: metadata that names them, and the tags from which Dagster tells whether an asset is in step with its
upstream. Which checkpoint is read is decided in `io_managers/resolution.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from detection_assets.dagster_internals.tags import DATA_VERSION_TAG, INPUT_POINTER_TAG
from io_managers.stage_io import StageInput
from touchline.library.tables import StageCheckpoint

LOOK_BACK: Final = 500
"""Materializations of one partition that are looked through for the one that was read."""


def read_from(inputs: Mapping[str, StageInput]) -> dict[str, Any]:
    """Metadata: which checkpoint of each upstream stage was read, and why that one."""
    return {f"read_{name}": f"{i.row.stage_output_key} (checkpoint {i.row.id}: {i.why})" for name, i in inputs.items()}


def input_tags(context: dg.AssetExecutionContext, rows: Mapping[str, StageCheckpoint]) -> dict[str, str]:
    """Tags that point at the materializations of `rows` (checkpoints by stage), where those are not the newest.

    Dagster takes it that the newest one is read, and would show an asset computed from an older checkpoint as in step
    with an upstream that it never saw. An upstream that Dagster has no record of is left as it is.
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
    """The newest materializations of an asset's partition, one page at a time: mostly the first is the one."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[context.partition_key])
    seen, cursor, size = 0, None, 1
    while seen < LOOK_BACK:
        page = context.instance.fetch_materializations(wanted, limit=size, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        seen, cursor, size = seen + len(page.records), page.cursor, 50
