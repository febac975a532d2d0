"""The nine assets, one per file: eight stages in order, then the report."""

from detection_assets.assets.brand_report import brand_report
from detection_assets.assets.detect_edges import detect_edges
from detection_assets.assets.detect_objects import detect_objects
from detection_assets.assets.escalate_cloud import escalate_cloud
from detection_assets.assets.escalate_vlm import escalate_vlm
from detection_assets.assets.extract_frames import extract_frames
from detection_assets.assets.filter_scenes import filter_scenes
from detection_assets.assets.match_brands import match_brands
from detection_assets.assets.run_ocr import run_ocr
from detection_assets.jobs.run_config import JOB

ASSETS = (
    extract_frames,
    filter_scenes,
    detect_edges,
    detect_objects,
    run_ocr,
    match_brands,
    escalate_vlm,
    escalate_cloud,
    brand_report,
)

__all__ = ["ASSETS", "JOB"]
