"""Writing of a report to a directory, atomically, and never over the report of another source.

Belongs here: file and folder names, and safe writing. The contents are in `tables.py` and `html.py`.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from touchline.disk import is_full, told
from touchline.errors import BadInputError, TouchlineError
from touchline.report.html import render_html
from touchline.report.model import Report
from touchline.report.tables import render_csv, render_json, render_summary

_ALWAYS: Final = ("report.json", "report.html", "exposures.csv")
"""Names of the files of a report whose report.json does not list its files."""
REPORT_FILES: Final = (*_ALWAYS, "summary.csv")
"""Names of the files of a report."""
SOURCE_FILE: Final = "source.json"
"""Name of the file that says to which source a folder of pictures belongs. A report says that in report.json."""


def files_of(report_json: bytes) -> tuple[str, ...]:
    """The names of a report's files, by its report.json. An older report may have fewer files.

    All of REPORT_FILES if this is not a report.
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
    """Writes REPORT_FILES with `write_files` and returns their paths, in that order. Raises OSError."""
    texts = (render_json(report), render_html(report), render_csv(report), render_summary(report))
    write_files(directory, {name: text.encode() for name, text in zip(REPORT_FILES, texts, strict=True)})
    return tuple(directory / name for name in REPORT_FILES)


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files by name into a directory, which is created if needed.

    All files are first written under temporary names and flushed to disk, then renamed. So a reader never sees an
    incomplete file, and the old files stay if the disk is full. Raises OSError; no temporary files are left.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drafts = {directory / name: directory / f".{name}.{os.getpid()}" for name in contents}
    try:
        for path, draft in drafts.items():
            with draft.open("wb") as file:
                file.write(contents[path.name])
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def folder_of(base: Path, name: str, key: str, label: str = REPORT_FILES[0]) -> Path:
    """The folder under `base` for files of the source `key` with the name `name`.

    It is `base/name`. If that belongs to another source, it is `base/name-` with the last eight digits of the key.
    `label` is the file whose field `source` says to which source a folder belongs. Raises BadInputError if both folders
    belong to other sources.
    """
    first, second = base / name, base / f"{name}-{key[-8:]}"
    for folder in (first, second):
        if owner(folder, label) in (None, key):
            return folder
    raise BadInputError(f"{first} and {second} hold what was made of other sources; name another folder")


def owner(folder: Path, label: str = REPORT_FILES[0]) -> str | None:
    """The key of the source to which a folder belongs; empty if the label cannot be read, None without a label."""
    try:
        found = json.loads((folder / label).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return ""
    return str(found.get("source", "")) if isinstance(found, dict) else ""


def check_folder(option: str, folder: Path) -> None:
    """Creates a folder if needed and checks that files can be created in it.

    Raises BadInputError, with `option`, if they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            why = f"no folder can be made there: {error.filename or folder} is a file"
        else:
            why = f"no files can be made there: {error.strerror}"
        raise BadInputError(f"{option} {folder}: {why}") from error


def unwritten(folder: Path, error: OSError) -> TouchlineError:
    """The error for files that could not be written."""
    why = told(error) if is_full(error) else f"{error.strerror or error}; the results are kept"
    return TouchlineError(f"{folder}: nothing was written there: {why}")
