"""The report for programs and spreadsheets: `report.json`, `exposures.csv` and `summary.csv`.

Belongs here: serialisation. The HTML page is in `touchline/report/html.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final

from touchline.report.model import Report

COLUMNS: Final = (
    *("brand", "zone", "start_s", "end_s", "seconds", "screen_share", "visibility", "confidence"),
    *("video", "source"),
)
"""Columns of exposures.csv."""
_ZONES: Final = ("board", "jersey", "overlay", "other", "board_or_jersey")
_FACTORS: Final = ("size", "position", "clarity", "unoccluded", "share_of_voice")
SUMMARY_COLUMNS: Final = (
    *("brand", "seconds", *(f"{zone}_s" for zone in _ZONES), "solus_seconds", "occurrences"),
    *("share_of_video", "share_of_exposure", "screen_share_mean", "screen_share_max", "visibility"),
    *(*_FACTORS, "confidence", "first_s", "last_s"),
    *("identified_by", "brand_id", "video", "duration_s", "source", "job_id"),
)
"""Columns of summary.csv."""
BOM: Final = "\ufeff"
"""Byte order mark at the beginning of a CSV file, without which Excel does not read it as UTF-8."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings of text cells that spreadsheets run as formulas."""


def render_json(report: Report) -> str:
    """`report.json` as text, in strict JSON. Raises ValueError for NaN and infinity."""
    return json.dumps(report.to_json(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def render_csv(report: Report) -> str:
    """`exposures.csv` as text: one row per segment, brands in the report's order. A still's segment is 0 to 0.

    Rows of one brand never overlap, so the sum of their `seconds` is the brand's. Text that spreadsheets would run as a
    formula gets a leading apostrophe.
    """
    where = (_video(report), report.source)
    return _table(
        COLUMNS,
        (
            (brand.name, s.zone, s.start_s, s.end_s, s.seconds, s.screen_share, s.visibility, s.confidence, *where)
            for brand in report.brands
            for s in brand.segments
        ),
    )


def render_summary(report: Report) -> str:
    """`summary.csv` as text: one row per brand, in the report's order. Shares are 0..1, and 0 for a still picture."""
    exposure = sum(brand.seconds for brand in report.brands)
    return _table(
        SUMMARY_COLUMNS,
        (
            (
                *(brand.name, brand.seconds),
                *(brand.zones[zone] for zone in _ZONES),
                *(brand.solus_seconds, brand.occurrences),
                round(brand.seconds / report.duration_s, 6) if report.duration_s else 0.0,
                round(brand.seconds / exposure, 6) if exposure else 0.0,
                *(brand.screen_share["mean"], brand.screen_share["max"], brand.visibility),
                *(brand.factors[factor] for factor in _FACTORS),
                *(brand.confidence, brand.intervals[0][0], brand.intervals[-1][1], brand.source, brand.brand_id),
                *(_video(report), report.duration_s, report.source, report.job_id),
            )
            for brand in report.brands
        ),
    )


def _video(report: Report) -> str:
    return PurePath(report.video_path).name


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    out.write(BOM)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def _harmless(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
