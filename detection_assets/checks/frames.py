"""Checks of the first two nodes: enough frames were taken, and some are left to look at.

Belongs here: `extract_frames` and `filter_scenes`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from detection_assets.checks.outputs import (
    INTACT,
    examine,
    intact_spec,
    result,
    row_of,
    source_of,
    spec,
    unreadable,
    wanted,
)
from resources.storage import Storage
from touchline.checks import frame_count, frames_kept
from touchline.values import SceneFrame


@dg.multi_asset_check(
    name="extract_frames_checks",
    can_subset=True,
    specs=[
        intact_spec("extract_frames"),
        spec(
            "extract_frames",
            "frame_count",
            "As many frames as the video's length and the sampling rate promise, within 5 %. Too few or too many is a "
            "warning (a video that breaks off, a wrong length in its header); none at all stops the run.",
            blocking=True,
        ),
    ],
)
def extract_frames_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Counts the frames in the stored output, not in the row."""
    connection = storage.connect()
    source = source_of(context, connection)
    row = row_of(context, connection, "extract_frames")
    intact, frames = examine(connection, row, lambda documents: sum(1 for _ in documents))
    counted = unreadable("extract_frames", "frame_count")
    if frames is not None:
        # Where the clock steps, what its first and last times promise is no length.
        announced = None if row.stats.get("clock_steps") else source.duration
        verdict = frame_count(
            frames,
            duration_s=float(announced or row.stats.get("duration_s") or 0.0),
            sample_fps=float(row.config_snapshot["sample_fps"]),
            fps=float(row.stats.get("fps") or source.fps or 0.0),
            is_image=bool(row.stats.get("is_image")),
        )
        counted = result("extract_frames", "frame_count", verdict)
    yield from wanted(context, {INTACT: intact, "frame_count": counted})


@dg.multi_asset_check(
    name="filter_scenes_checks",
    can_subset=True,
    specs=[
        intact_spec("filter_scenes"),
        spec(
            "filter_scenes",
            "frames_kept",
            "At least one frame is neither black nor blurred nor a duplicate. None at all is a warning: the report of "
            "a black video is rightly empty.",
            blocking=False,
        ),
    ],
)
def filter_scenes_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Counts sampled and kept frames."""
    connection = storage.connect()
    row = row_of(context, connection, "filter_scenes")
    intact, counts = examine(connection, row, _sampled_and_kept)
    kept = unreadable("filter_scenes", "frames_kept")
    if counts is not None:
        kept = result("filter_scenes", "frames_kept", frames_kept(*counts))
    yield from wanted(context, {INTACT: intact, "frames_kept": kept})


def _sampled_and_kept(documents: Iterator[Any]) -> tuple[int, int]:
    sampled = kept = 0
    for document in documents:
        assert isinstance(document, SceneFrame)
        sampled, kept = sampled + 1, kept + document.kept
    return sampled, kept


CHECKS = (extract_frames_checks, filter_scenes_checks)
