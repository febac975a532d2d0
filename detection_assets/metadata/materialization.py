"""A stage's stats as metadata of its materialization.

Belongs here: the order and types of metadata. Dagster plots only numeric metadata, so each number is an entry of its
own. Pictures are in `pictures.py`, the checkpoints that were read in `provenance.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from detection_assets.metadata.markdown import bullets, table
from io_managers.stage_io import StageOutput
from touchline.nodes import NODE_NAMES

EXTRACTION: Final = NODE_NAMES[0]
"""The stage whose documents are the frames."""


def described(output: StageOutput) -> dict[str, Any]:
    """Metadata of a stage's output: warnings, each number of the stats, `wall_s`, and the other stats as one table."""
    found: dict[str, Any] = {}
    if warnings := output.stats.get("warnings"):
        found["warnings"] = bullets(map(str, warnings))
    if (frames := _frames(output)) is not None:
        found["frames"] = dg.MetadataValue.int(frames)
    found |= numbers(output.stats)
    found["wall_s"] = dg.MetadataValue.float(round(output.wall_s, 3))
    words = {key: value for key, value in output.stats.items() if key not in found and _is_word(value)}
    if words:
        found["stats"] = table(("", ""), ((key, str(value)) for key, value in words.items()))
    return found


def numbers(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Every finite number of a mapping as numeric metadata; of `objects` (number by label), the sum."""
    found: dict[str, Any] = {}
    for key, value in stats.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            found[key] = dg.MetadataValue.int(value)
        elif isinstance(value, float) and math.isfinite(value):
            found[key] = dg.MetadataValue.float(value)
        elif key == "objects" and isinstance(value, Mapping):
            found[key] = dg.MetadataValue.int(sum(value.values()))
    return found


def _frames(output: StageOutput) -> int | None:
    """The frames of an extraction, whose stats count only those of the last attempt. None for other stages."""
    if output.frames is not None:
        return len(output.frames)
    return output.reused.item_count if output.reused is not None and output.stage == EXTRACTION else None


def _is_word(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping | list | tuple)
