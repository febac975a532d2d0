"""Whole runs of Touchline on clips: through Dagster, with checkpoints, in this process.

Belongs here: one measured run and what it took. What is compared with it is in `baseline.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchline.errors import TouchlineError

if TYPE_CHECKING:
    from benchmarks.clips import Clip
    from detection_assets.runner import Runner


@dataclass(frozen=True)
class Measured:
    """One run on one clip: wall time with everything [s], by stage [s], and what was found, when and where [s]."""

    wall_s: float
    stages: Mapping[str, float]
    duration_s: float
    found: Mapping[str, Sequence[Sequence[float]]]
    zones: Mapping[str, Mapping[str, float]]

    @property
    def plumbing_s(self) -> float:
        """Wall time outside all stages: Dagster, checkpoints, Postgres, the report's upload."""
        return max(0.0, self.wall_s - sum(self.stages.values()))


def run(runner: Runner, clip: Clip, brands_csv: Path | None, overrides: Mapping[str, Any]) -> Measured:
    """A fresh run of all nodes: nothing is reused. Raises TouchlineError if it fails."""
    began = time.perf_counter()
    source = runner.register(clip.path)
    outcome = runner.run(source, overrides=overrides, brands_csv=brands_csv, fresh=True)
    wall = time.perf_counter() - began
    if not outcome.succeeded:
        raise TouchlineError(f"{clip.path.name}: {outcome.error}")
    report = json.loads(runner.connection.objects.get(f"{outcome.job.report_prefix}report.json"))
    stages = {name: float(stage["wall_s"]) for name, stage in report["stages"].items()}
    found = {brand["name"]: brand["intervals"] for brand in report["brands"]}
    zones = {brand["name"]: brand["zones"] for brand in report["brands"]}
    return Measured(wall, stages, float(report["duration_s"]), found, zones)
