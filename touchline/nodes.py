"""The eight nodes of the pipeline, in order, and what each reads. The names are asset keys, stage names and file names.

Belongs here: names and order alone, so that anything may import it at no cost.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Node:
    """One stage: its name, its `stage_index` in checkpoints, and the stages it reads.

    `reads`: the stages that it is computed from. Which checkpoint of each is read is chosen for the run, and the
    fingerprints of those checkpoints are part of its own. `traces`: earlier stages that it reads as well. Their
    checkpoints are not chosen: they are those that the checkpoint of the first of `reads` was computed from.
    """

    name: str
    index: int
    reads: tuple[str, ...]
    traces: tuple[str, ...] = ("extract_frames",)


NODES: Final = (
    Node("extract_frames", 0, (), ()),
    Node("filter_scenes", 1, ("extract_frames",), ()),
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

READS: Final = {**{node.name: node.reads for node in NODES}, REPORT: (NODE_NAMES[-1],)}
"""Of every asset, the nodes that it is computed from."""
TRACES: Final = {**{node.name: node.traces for node in NODES}, REPORT: NODE_NAMES[:-1]}
"""Of every asset, the nodes that it reads as well, in the checkpoints that the former were computed from."""


def downstream(stage: str) -> tuple[str, ...]:
    """A stage and all that depends on it, in order, the report last: what materializing from it selects."""
    found = {stage}
    for node in NODES:
        if found.intersection(node.reads):
            found.add(node.name)
    return (*(name for name in NODE_NAMES if name in found), REPORT)


def selection(first: str | None = None, until: str | None = None) -> tuple[str, ...]:
    """What a run does, in order: everything, or `first` and what depends on it; up to `until`, if given."""
    names = (*NODE_NAMES, REPORT)
    last = names.index(until or REPORT)
    return tuple(name for name in (downstream(first) if first else names) if names.index(name) <= last)


def upstream(stages: Collection[str]) -> tuple[str, ...]:
    """The stages whose checkpoints a run of `stages` rests on without running them, in order."""
    needed = {NODES[-1].name} if REPORT in stages else set()
    for node in reversed(NODES):
        if node.name in stages or node.name in needed:
            needed.update(node.reads)
    return tuple(name for name in NODE_NAMES if name in needed and name not in stages)
