"""The eight nodes of the pipeline, in order, and what each reads. The names are asset keys, stage names and file names.

Belongs here: names and order alone, so that anything may import it at no cost.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Node:
    """One stage: its name, its `stage_index` in checkpoints, and the stages it reads."""

    name: str
    index: int
    reads: tuple[str, ...]


NODES: Final = (
    Node("extract_frames", 0, ()),
    Node("filter_scenes", 1, ("extract_frames",)),
    Node("detect_edges", 2, ("filter_scenes",)),
    Node("detect_objects", 3, ("filter_scenes",)),
    Node("run_ocr", 4, ("filter_scenes", "detect_edges", "detect_objects")),
    Node("match_brands", 5, ("run_ocr",)),
    Node("escalate_vlm", 6, ("match_brands",)),
    Node("escalate_cloud", 7, ("escalate_vlm",)),
)
NODE_NAMES: Final = tuple(node.name for node in NODES)
NODE_INDEX: Final = {node.name: node.index for node in NODES}
REPORT: Final = "brand_report"
"""The deliverable after the nodes. Always derived, never replayed from, so it has no index."""


def downstream(stage: str) -> tuple[str, ...]:
    """A stage and all that depends on it, in order, the report last: what materializing from it selects."""
    found = {stage}
    for node in NODES:
        if found.intersection(node.reads):
            found.add(node.name)
    return (*(name for name in NODE_NAMES if name in found), REPORT)
