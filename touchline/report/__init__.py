"""The report of one source: `Report`, and its JSON, HTML and CSV files.

Belongs here: the report's model and its files. `touchline/exposure/` computes its numbers, and
`touchline/stages/brand_report.py` builds it from the stages' documents.
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
