"""The progress of a job. Each stage is weighted by its usual share of the run time.

Belongs here: the weights. `detection_assets/jobs/heartbeat.py` reports the progress.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from touchline.nodes import NODE_NAMES, REPORT

WORK: Final[Mapping[str, float]] = {
    "extract_frames": 26.0,
    "filter_scenes": 4.0,
    "detect_edges": 12.0,
    "detect_objects": 1.0,
    "run_ocr": 54.0,
    "match_brands": 1.0,
    "escalate_vlm": 0.5,
    "escalate_cloud": 0.5,
    REPORT: 1.0,
}
"""Share of each stage in a run's time, measured on 10 min of video without an object detector (docs/benchmarks.md, "A
long video") [percent]."""


def share_done(stages: Collection[str], stage: str, share: float) -> float:
    """The share of a job that is done, 0..1, if `share` (0..1) of `stage` and all earlier stages are done.

    `stages` are those that the job runs, in any order; `stage` is one of them.
    """
    order = [name for name in (*NODE_NAMES, REPORT) if name in stages]
    before = sum(WORK[name] for name in order[: order.index(stage)])
    return (before + WORK[stage] * min(1.0, max(0.0, share))) / sum(WORK[name] for name in order)
