"""The speed of a run on a long video, and the share of its overhead.

Belongs here: one run and its times. The video is the rendered demo broadcast, repeated; the baseline, which takes the
same time for every repetition, is timed on one broadcast.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.baseline import PlainOcr
from benchmarks.clips import Clip
from benchmarks.memory import repeat
from benchmarks.pipeline import run
from detection_assets.local.runner import Runner
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.journal import Journal
from touchline.brands import shipped
from touchline.parallel import cores
from touchline.synthetic import DEMO, render


def measure(runner: Runner, folder: Path, minutes: float) -> dict[str, Any]:
    """Runs `minutes` of 720p video with all defaults: wall time [s] by stage, outside the stages, and within them in
    checkpoints and the database (summed over all threads, so partly in parallel with the work).
    """
    short, video = folder / "short.mp4", folder / "long.mp4"
    render(short, DEMO)
    warm = Clip(short, {})
    run(runner, warm, None, {})  # loads the models
    baseline_s = _baseline_s(short)
    repeat(short, video, 60 * minutes)
    with _timed() as spent:
        measured = run(runner, Clip(video, {}), None, {})
    return {
        "minutes": minutes,
        "cores": cores(),
        "duration_s": round(measured.duration_s, 1),
        "wall_s": round(measured.wall_s, 1),
        "times_real_time": round(measured.duration_s / measured.wall_s, 2),
        "baseline_wall_s": round(baseline_s / DEMO.duration_s * measured.duration_s, 1),
        "stages": {name: round(seconds, 1) for name, seconds in measured.stages.items()},
        "outside_s": round(measured.plumbing_s, 1),
        "within_s": {name: round(seconds, 1) for name, seconds in spent.items()},
    }


def _baseline_s(video: Path) -> float:
    """Wall time of the baseline for a video, without loading its models [s]."""
    plain = PlainOcr(shipped())
    plain.run(video)
    began = time.perf_counter()
    plain.run(video)
    return time.perf_counter() - began


def page(found: Mapping[str, Any]) -> list[str]:
    """The figures as Markdown."""
    within, wall = found["within_s"], found["wall_s"]
    beside = within["frames"] / found["cores"]
    share = (found["outside_s"] + within["documents"] + within["rows"] + beside) / wall
    return [
        f"{found['minutes']:g} minutes of rendered broadcast at 720p, two frames a second, all defaults: "
        f"{wall:.0f} s, **{found['times_real_time']:.1f} times real time**. The baseline would take "
        f"{found['baseline_wall_s']:.0f} s at the rate at which it reads one repetition: "
        f"**{wall / found['baseline_wall_s']:.2f} of its time**. Plumbing: outside the stages "
        f"{found['outside_s']:.1f} s; within them {within['documents']:.1f} s for documents and {within['rows']:.1f} s "
        f"for rows; frames are stored and fetched in threads beside the work, {within['frames']:.1f} s of them all, on "
        f"{found['cores']} cores {beside:.1f} s at most. Together **{share:.1%} of the run**.",
        "",
        "| stage | seconds |",
        "|---|---|",
        *(f"| `{name}` | {seconds:.1f} |" for name, seconds in found["stages"].items()),
    ]


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Sums the seconds of calls of the stores in all threads; nested calls count once."""
    spent = {"frames": 0.0, "documents": 0.0, "rows": 0.0}
    busy = threading.local()
    lock = threading.Lock()

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            if getattr(busy, "calling", False):
                return function(*args, **options)
            busy.calling = True
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                busy.calling = False
                with lock:
                    spent[name] += time.perf_counter() - began

        return call

    def streamed(name: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Iterator[Any]:
            documents, after = function(*args, **options), object()
            advance = timed(name, next)
            while (document := advance(documents, after)) is not after:
                yield document

        return call

    with ExitStack() as patches:
        for owner, method, name in (
            (CheckpointStore, "put_frame", "frames"),
            (CheckpointStore, "get_frame", "frames"),
            (Journal, "write", "documents"),
            (CheckpointStore, "commit", "rows"),
            (Database, "transact", "rows"),
        ):
            patches.enter_context(patch.object(owner, method, timed(name, getattr(owner, method))))
        for owner, method in ((CheckpointStore, "read"), (Journal, "documents")):
            patches.enter_context(patch.object(owner, method, streamed("documents", getattr(owner, method))))
        yield spent
