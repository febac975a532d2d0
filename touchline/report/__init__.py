"""The report of one source: `Report`, and its forms as JSON, HTML and CSV.

Belongs here: what a report says and how it is written. How its numbers are found is in `touchline/exposure/`; how it is
put together from the stages' documents, in `touchline/stages/brand_report.py`.
"""

from touchline.report.files import write_report
from touchline.report.html import render_html
from touchline.report.model import (
    BrandRow,
    Evidence,
    Report,
    SegmentRow,
    SourceFacts,
    StageRow,
    StageSummary,
    StretchRow,
    UnresolvedRow,
)
from touchline.report.tables import render_csv, render_json, render_summary

__all__ = [
    "BrandRow",
    "Evidence",
    "Report",
    "SegmentRow",
    "SourceFacts",
    "StageRow",
    "StageSummary",
    "StretchRow",
    "UnresolvedRow",
    "render_csv",
    "render_html",
    "render_json",
    "render_summary",
    "write_report",
]
