"""Reports how a run ended, and writes its report files.

Belongs here: a run's row for --json and its output on the terminal. `run.py` and other commands execute the runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from touchline.errors import BadInputError, TouchlineError
from touchline_cli import session

if TYPE_CHECKING:
    from rich.progress import Progress

    from detection_assets.jobs.run_outcome import RunOutcome
    from resources.connection import Connection


STOPPED: Final = 3
"""Exit code if runs were paused or cancelled by request and none failed."""


@dataclass
class Ended:
    """A run that has ended, with the folder and number of its debug pictures, if any.

    `error` is an error that occurred after the run.
    """

    outcome: RunOutcome
    pictures: Path | None = None
    drawn: int = 0
    error: str = ""


def row_of(
    connection: Connection,
    ended: Ended | TouchlineError,
    video: Path,
    report: tuple[Path, str] | None,
    progress: Progress,
    as_json: bool,
) -> dict[str, Any]:
    """Prints how a run ended and writes its report. Returns the run's row for --json.

    `report` is the folder for reports and the name of this report. An error is recorded as the row's `error`, so that
    it does not affect other runs.
    """
    if isinstance(ended, TouchlineError):
        refused = isinstance(ended, BadInputError)
        session.complain(str(ended) if video.name in str(ended) else f"{video.name}: {ended}")
        return {"source": str(video), "status": "refused" if refused else "failed", "error": str(ended)}
    outcome = ended.outcome
    row: dict[str, Any] = {
        "source": str(video),
        "partition_key": outcome.job.partition_key,
        "job_id": str(outcome.job.id),
    }
    row |= {"status": str(outcome.job.status), "dagster_run_id": outcome.run_id}

    def say(what: Any) -> None:
        if not as_json:
            # Without markup: file names may contain brackets.
            progress.console.print(what, markup=False, highlight=False, soft_wrap=isinstance(what, str))

    if outcome.continued is not None:
        row["continued_job"] = str(outcome.continued.id)
        say(f"{video.name}: continued the unfinished job {outcome.continued.id}")
    troubles = [outcome.error if not outcome.succeeded else "", ended.error]
    if outcome.succeeded and not outcome.job.report_prefix:
        say(f"{video.name}: done, {outcome.job.run_type} job {outcome.job.id}; no report was requested")
    elif outcome.succeeded:
        try:
            contents = json.loads(connection.objects.get(outcome.job.report_prefix + "report.json"))
            row["brands"] = {brand["name"]: brand["seconds"] for brand in contents["brands"]}
            length = "" if contents["media"]["is_image"] else f"  ({contents['duration_s']:.1f} s)"
            say(session.brand_table(contents, f"{video.name}{length}"))
            if report is not None:
                row["report"] = str(_written(connection, ended, report))
                say(f"  report: {row['report']}")
        except TouchlineError as error:
            row.pop("report", None)
            troubles.append(f"{error}; `touchline report {outcome.job.partition_key} --out DIR` writes it")
    if ended.pictures is not None and not ended.error:
        row["debug_pictures"] = str(ended.pictures)
        say(f"  {ended.drawn} debug pictures: {ended.pictures}")
    if any(troubles):
        row["error"] = "; ".join(filter(None, troubles))
        # A stop by request is not an error.
        asked = outcome.stopped and not ended.error
        session.complain(f"{video.name}: {row['error']}", "yellow" if asked else "red")
    return row


def exit_code(rows: Iterable[Mapping[str, Any]]) -> int:
    """The exit code for runs with these rows: 1 if one failed, else STOPPED if one was stopped, else 0."""
    wrong = [row for row in rows if "error" in row]
    if any(row["status"] not in ("paused", "cancelled") for row in wrong):
        return 1
    return STOPPED if wrong else 0


def _written(connection: Connection, ended: Ended, report: tuple[Path, str]) -> Path:
    from detection_assets.local.report_files import fetch_report
    from touchline.report.files import folder_of

    folder = folder_of(*report, ended.outcome.job.partition_key)
    fetch_report(connection, ended.outcome.job, folder)
    return folder / "report.html"
