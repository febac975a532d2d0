"""The asset `extract_frames`. The computation is in `touchline/stages/extract_frames.py`."""

from detection_assets.execution.stage_asset import stage_asset

extract_frames = stage_asset(
    "extract_frames",
    description="Frames sampled from the video at their presentation times, stored as JPEGs in chunks.",
    owners=["team:video-engineering"],
    kinds={"ffmpeg", "python", "s3"},
)
