"""Writing a report to a directory, whole or not at all, and never over another source's.

Belongs here: file and folder names, and safe writing. What the files contain is in `tables.py` and `html.py`.
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
"""What a report consists of whose report.json does not name its files."""
REPORT_FILES: Final = (*_ALWAYS, "summary.csv")
SOURCE_FILE: Final = "source.json"
"""In a folder of pictures: whose they are. A report says it itself."""


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

    Written as `write_files` does. Raises OSError.
    """
    texts = (render_json(report), render_html(report), render_csv(report), render_summary(report))
    write_files(directory, {name: text.encode() for name, text in zip(REPORT_FILES, texts, strict=True)})
    return tuple(directory / name for name in REPORT_FILES)


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files by name into a directory, which is made if need be.

    All are written beside their places and to the disk, then moved there: a reader never meets half a file, and where
    there is no room the old ones stay. Raises OSError, with nothing left behind.
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
    """The folder under `base` for what is made of the source `key`, called `name`.

    That is `base/name`, unless it holds another source's: then `base/name-` and the eight digits at the key's end.
    `label` is the file that tells whose a folder is, by its field `source`. Raises BadInputError if that one is taken
    as well.
    """
    first, second = base / name, base / f"{name}-{key[-8:]}"
    for folder in (first, second):
        if owner(folder, label) in (None, key):
            return folder
    raise BadInputError(f"{first} and {second} hold what was made of other sources; name another folder")


def owner(folder: Path, label: str = REPORT_FILES[0]) -> str | None:
    """The key of the source that a folder belongs to; empty if the label is not to be understood, None without one."""
    try:
        found = json.loads((folder / label).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return ""
    return str(found.get("source", "")) if isinstance(found, dict) else ""


def check_folder(option: str, folder: Path) -> None:
    """Makes a folder if need be, and tries whether files can be made in it.

    Raises BadInputError, naming `option`, where they cannot.
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
    """What to tell of files that could not be written; the work they are of is kept."""
    why = told(error) if is_full(error) else f"{error.strerror or error}; what was found is kept"
    return TouchlineError(f"{folder}: nothing was written there: {why}")
