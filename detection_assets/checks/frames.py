"""Checks of `extract_frames` and `filter_scenes`: the number of frames, and that some were kept.

Belongs here: counting the stored frames. The rules are in `touchline/checks.py`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from detection_assets.checks.outputs import intact_spec, judged, row_of, source_of, spec
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
            "The number of frames is the video's length times the sampling rate, within 5 %. Too few or too many "
            "frames are a warning (a truncated video, a wrong length in its header). No frame at all stops the run.",
            blocking=True,
        ),
    ],
)
def extract_frames_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Counts the frames of the stored output; the row's count is not used."""
    connection = storage.connect()
    source = source_of(context, connection)
    row = row_of(context, connection, "extract_frames")
    # Where timestamps jump, the difference of the first and the last one is not the length.
    announced = None if row.stats.get("clock_steps") else source.duration
    rule = partial(
        frame_count,
        duration_s=float(announced or row.stats.get("duration_s") or 0.0),
        sample_fps=float(row.config_snapshot["sample_fps"]),
        fps=float(row.stats.get("fps") or source.fps or 0.0),
        is_image=bool(row.stats.get("is_image")),
    )
    yield from judged(context, connection, row, "frame_count", lambda documents: sum(1 for _ in documents), rule)


@dg.multi_asset_check(
    name="filter_scenes_checks",
    can_subset=True,
    specs=[
        intact_spec("filter_scenes"),
        spec(
            "filter_scenes",
            "frames_kept",
            "At least one frame was kept: neither black nor blurred nor a duplicate. Otherwise the check warns, "
            "because the report of a black video is correctly empty.",
            blocking=False,
        ),
    ],
)
def filter_scenes_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Counts sampled and kept frames."""
    connection = storage.connect()
    row = row_of(context, connection, "filter_scenes")
    yield from judged(context, connection, row, "frames_kept", _sampled_and_kept, lambda counts: frames_kept(*counts))


def _sampled_and_kept(documents: Iterator[Any]) -> tuple[int, int]:
    sampled = kept = 0
    for document in documents:
        assert isinstance(document, SceneFrame)
        sampled, kept = sampled + 1, kept + document.kept
    return sampled, kept


CHECKS = (extract_frames_checks, filter_scenes_checks)
