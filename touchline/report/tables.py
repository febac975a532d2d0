"""The report for machines: `report.json` and `exposures.csv`.

Belongs here: serialisation. The page for people is in `touchline/report/html.py`.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Final

from touchline.report.model import Report

COLUMNS: Final = ("brand", "zone", "start_s", "end_s", "seconds", "screen_share", "visibility", "confidence")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run as a formula by spreadsheets."""


def render_json(report: Report) -> str:
    """`report.json`: self-contained, UTF-8, strictly JSON (a NaN raises ValueError)."""
    return json.dumps(report.to_json(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def render_csv(report: Report) -> str:
    """`exposures.csv`: one row a stretch, brands in the report's order. A still's stretch is 0 to 0.

    A brand whose name would be run as a formula by a spreadsheet gets a leading apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for brand in report.brands:
        name = "'" + brand.name if brand.name.startswith(_FORMULA) else brand.name
        for s in brand.stretches:
            seconds = round(s.end_s - s.start_s, 3)
            writer.writerow([name, s.zone, s.start_s, s.end_s, seconds, s.screen_share, s.visibility, s.confidence])
    return out.getvalue()
