"""The check `output_intact` of the stages that have no other check.

Belongs here: those stages. Stages with a rule of their own run this check together with the rule.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import dagster as dg

from detection_assets.checks.outputs import INTACT, examine, intact_spec, row_of, selected
from resources.storage import Storage

PLAIN: Final = ("detect_edges", "detect_objects", "run_ocr", "escalate_vlm", "escalate_cloud")


def _blob_check(stage: str) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(name=f"{stage}_checks", specs=[intact_spec(stage)])
    def check(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
        connection = storage.connect()
        intact, _ = examine(connection, row_of(context, connection, stage), lambda d: deque(d, maxlen=0))
        yield from selected(context, {INTACT: intact})

    return check


CHECKS = tuple(_blob_check(stage) for stage in PLAIN)
