"""The eight nodes of the pipeline, in order, with their inputs. A node's name is also its asset key and file name.

Belongs here: only names and order, so that the import is cheap for every module.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Node:
    """One stage: its name, its `stage_index` in checkpoints, and the stages that it reads.

    `reads` are its inputs. The checkpoint of each is chosen for the run, and its fingerprint is part of the stage's
    own. `traces` are earlier stages that it reads as well. Their checkpoints are not chosen: they are those from which
    the checkpoint of the first of `reads` was computed.
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
"""The nodes, in order."""
NODE_NAMES: Final = tuple(node.name for node in NODES)
"""Names of the nodes, in order."""
NODE_INDEX: Final = {node.name: node.index for node in NODES}
"""Index of each node by name."""
REPORT: Final = "brand_report"
"""Name of the report's asset, after the nodes. It is always computed anew and no node reads it, so it has no index."""

READS: Final = {**{node.name: node.reads for node in NODES}, REPORT: (NODE_NAMES[-1],)}
"""The inputs of each asset, by name."""
TRACES: Final = {**{node.name: node.traces for node in NODES}, REPORT: NODE_NAMES[:-1]}
"""By the name of each asset, the other nodes that it reads: the checkpoints from which its inputs were computed."""


def downstream(stage: str) -> tuple[str, ...]:
    """A stage and all stages that depend on it, in order, with the report last."""
    found = {stage}
    for node in NODES:
        if found.intersection(node.reads):
            found.add(node.name)
    return (*(name for name in NODE_NAMES if name in found), REPORT)


def selection(first: str | None = None, until: str | None = None) -> tuple[str, ...]:
    """The stages of a run, in order: all, or `first` and what depends on it; up to `until`, if given."""
    names = (*NODE_NAMES, REPORT)
    last = names.index(until or REPORT)
    return tuple(name for name in (downstream(first) if first else names) if names.index(name) <= last)


def upstream(stages: Collection[str]) -> tuple[str, ...]:
    """The stages whose checkpoints a run of `stages` reads without running them, in order."""
    needed = {NODES[-1].name} if REPORT in stages else set()
    for node in reversed(NODES):
        if node.name in stages or node.name in needed:
            needed.update(node.reads)
    return tuple(name for name in NODE_NAMES if name in needed and name not in stages)
