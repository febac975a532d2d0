"""Writing a report to a directory.

Belongs here: file names and safe writing. What the files contain is in `tables.py` and `html.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from touchline.report.html import render_html
from touchline.report.model import Report
from touchline.report.tables import render_csv, render_json

REPORT_FILES: Final = ("report.json", "report.html", "exposures.csv")


def write_report(report: Report, directory: Path) -> tuple[Path, Path, Path]:
    """Write `report.json`, `report.html` and `exposures.csv` into `directory` (made if need be); return their paths.

    Each is written beside its place and then moved there, so that a reader never meets half a file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    json_path, html_path, csv_path = paths = tuple(directory / name for name in REPORT_FILES)
    for path, text in zip(paths, (render_json(report), render_html(report), render_csv(report)), strict=True):
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return json_path, html_path, csv_path
