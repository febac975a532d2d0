"""Writing a report to a directory.

Belongs here: file names and safe writing. What the files contain is in `tables.py` and `html.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from touchline.report.html import render_html
from touchline.report.model import Report
from touchline.report.tables import render_csv, render_json, render_summary

_ALWAYS: Final = ("report.json", "report.html", "exposures.csv")
"""What a report consists of whose report.json does not name its files."""
REPORT_FILES: Final = (*_ALWAYS, "summary.csv")


def files_of(report_json: bytes) -> tuple[str, ...]:
    """Names of the files of the report with this report.json: a report may be older than a kind of file.

    All of REPORT_FILES if it is no report.
    """
    try:
        report = json.loads(report_json)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return REPORT_FILES
    named = report.get("files", _ALWAYS)
    return tuple(name for name in REPORT_FILES if name in named)


def write_report(report: Report, directory: Path) -> tuple[Path, ...]:
    """Write REPORT_FILES into `directory` (made if need be); return their paths, in that order.

    Each is written beside its place and then moved there, so that a reader never meets half a file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = tuple(directory / name for name in REPORT_FILES)
    texts = (render_json(report), render_html(report), render_csv(report), render_summary(report))
    for path, text in zip(paths, texts, strict=True):
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return paths
