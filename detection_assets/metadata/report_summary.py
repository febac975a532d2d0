"""Metadata of a report's materialization: its totals, and a table of brands with small pictures.

Belongs here: the summary for Dagster's event log, which keeps it forever. The report itself is in `touchline/report/`.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import cv2
import numpy as np

from detection_assets.metadata.markdown import as_table, picture, plain
from detection_assets.metadata.materialization import numbers
from detection_assets.metadata.pictures import web_picture
from touchline.report import Report
from touchline.report.model import ZONE_WORDS, BrandRow, zones_seen

PICTURED: Final = 6
"""Number of brands whose evidence is shown, those with most seconds first."""
PICTURE_WIDTH: Final = 240
"""Largest width of a picture of evidence [px]."""
PICTURE_BYTES: Final = 5_000
"""Most bytes of a picture of evidence."""


def totals(report: Report) -> dict[str, Any]:
    """A report's totals as numeric metadata. `seconds` is the sum over brands."""
    return numbers(
        {
            "brands": len(report.brands),
            "seconds": round(float(sum(brand.seconds for brand in report.brands)), 3),
            "occurrences": sum(brand.occurrences for brand in report.brands),
            "unresolved": report.unresolved_total,
            "duration_s": float(report.duration_s),
        }
    )


def brand_table(report: Report) -> str:
    """A table with one row per brand, most seconds first, with total seconds and seconds by zone."""
    found = {zone for brand in report.brands for zone in _zones(brand)}
    zones = [zone for zone in ZONE_WORDS if zone in found]
    lines: list[list[str]] = []
    for brand in report.brands:
        seconds = [f"{brand.zones.get(zone, 0.0):.1f}" if zone in _zones(brand) else "" for zone in zones]
        row = [plain(brand.name), f"{brand.seconds:.1f}", *seconds, str(brand.occurrences)]
        lines.append([*row, f"{brand.visibility:.3f}"])
    head = ["brand", "seconds", *(f"{ZONE_WORDS[zone]} [s]" for zone in zones), "times", "visibility"]
    return as_table(head, lines)


def _zones(brand: BrandRow) -> list[str]:
    return zones_seen(brand.zones, (stretch.zone for stretch in brand.stretches))


def evidence_table(report: Report) -> str:
    """A table of the first brands with a small picture of each; empty if no brand was found."""
    lines = [[plain(brand.name), _evidence(brand)] for brand in report.brands[:PICTURED] if brand.evidence]
    return as_table(("brand", "seen"), lines) if lines else ""


def _evidence(brand: BrandRow) -> str:
    """The evidence with the highest confidence as a small picture, with its time."""
    best = max(brand.evidence, key=lambda one: one.confidence)
    data = np.frombuffer(base64.b64decode(best.crop.partition(",")[2]), np.uint8)
    crop = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if crop is None:
        return f"at {best.t:.1f} s"
    scale = min(1.0, PICTURE_WIDTH / crop.shape[1])
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return f"{picture(web_picture(small, max_bytes=PICTURE_BYTES), brand.name)} {best.t:.1f} s"
