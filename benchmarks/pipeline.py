"""Whole runs of Touchline on clips: through Dagster, with checkpoints, in this process.

Belongs here: one measured run and what it took. What is compared with it is in `baseline.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection_assets.local.worker_pool import Task, Workers
from touchline.errors import TouchlineError

if TYPE_CHECKING:
    from benchmarks.clips import Clip
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner


@dataclass(frozen=True)
class Measured:
    """One run on one clip: wall time with everything [s], by stage [s], and what was found, when and where [s].

    `found` are intervals by brand, `seconds` the exposure that the report tells of each.
    """

    wall_s: float
    stages: Mapping[str, float]
    duration_s: float
    found: Mapping[str, Sequence[Sequence[float]]]
    zones: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]

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
    seconds = {brand["name"]: brand["seconds"] for brand in report["brands"]}
    return Measured(wall, stages, float(report["duration_s"]), found, zones, seconds)


def run_together(
    runner: Runner, clips: Sequence[Clip], brands_csv: Path | None, at_once: int, overrides: Mapping[str, Any]
) -> tuple[float, list[Measured]]:
    """Fresh runs of all clips in this order, `at_once` at a time, as `touchline run` does them: wall time [s], results.

    Each process has done one of the runs before, so that its models are loaded as they are in `run`.
    Raises TouchlineError where a run fails.
    """
    tasks = [Task(str(clip.path), partial(_run, clip, brands_csv, overrides)) for clip in clips]
    with Workers(runner.settings, runner.endpoints, at_once) as workers:
        _all_of(workers, tasks[:at_once])
        began = time.perf_counter()
        done = _all_of(workers, tasks)
        return time.perf_counter() - began, done


def _all_of(workers: Workers, tasks: Sequence[Task[Measured]]) -> list[Measured]:
    """The results in the order of the tasks."""
    done: dict[int, Measured] = {}
    for number, result in workers.run(tasks):
        if isinstance(result, TouchlineError):
            raise result
        done[number] = result
    return [done[number] for number in range(len(tasks))]


def _run(
    clip: Clip, brands_csv: Path | None, overrides: Mapping[str, Any], runner: Runner, listener: Listener
) -> Measured:
    return run(runner, clip, brands_csv, overrides)
