"""What the materialization of a report shows of it: its numbers, and a table of brands with small pictures.

Belongs here: a summary that Dagster's event log keeps for ever. The report itself is in `touchline/report/`.
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
"""Brands whose evidence is shown, most seconds first."""
PICTURE_WIDTH: Final = 240
"""[px]"""
PICTURE_BYTES: Final = 5_000


def totals(report: Report) -> dict[str, Any]:
    """The numbers that Dagster plots from one report of a source to the next. Seconds add up, brand by brand."""
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
    """A row a brand, most seconds first: in all and by zone. Dagster shows up to 1000 characters without a click."""
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
    """The first brands with a small picture of each; empty where nothing was found."""
    lines = [[plain(brand.name), _evidence(brand)] for brand in report.brands[:PICTURED] if brand.evidence]
    return as_table(("brand", "seen"), lines) if lines else ""


def _evidence(brand: BrandRow) -> str:
    """The evidence of which the recogniser was surest, small, with its time."""
    best = max(brand.evidence, key=lambda one: one.confidence)
    data = np.frombuffer(base64.b64decode(best.crop.partition(",")[2]), np.uint8)
    crop = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if crop is None:
        return f"at {best.t:.1f} s"
    scale = min(1.0, PICTURE_WIDTH / crop.shape[1])
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return f"{picture(web_picture(small, max_bytes=PICTURE_BYTES), brand.name)} {best.t:.1f} s"
