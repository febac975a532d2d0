"""How one run ended, told to people and machines, and its report written.

Belongs here: a row of --json and what is printed for it. Which runs there are is decided in `run.py` and the other
commands that do some.
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
"""Exit code where runs were paused or cancelled by request: nothing is wrong, and they are not done."""


@dataclass
class Ended:
    """A run that came to its end, and the debug pictures that were drawn of it, if any: their folder and number.

    `error` is what went wrong after the run.
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
    """Tells how one run ended and writes its report; returns its row for --json.

    `report` is the folder for reports and the name of this one. Whatever cannot be done is the row's `error`: others
    are not concerned.
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
            # As it is: brackets in file names are no markup.
            progress.console.print(what, markup=False, highlight=False, soft_wrap=isinstance(what, str))

    if outcome.continued is not None:
        row["continued_job"] = str(outcome.continued.id)
        say(f"{video.name}: went on with the unfinished job {outcome.continued.id}")
    troubles = [outcome.error if not outcome.succeeded else "", ended.error]
    if outcome.succeeded and not outcome.job.report_prefix:
        say(f"{video.name}: done, {outcome.job.run_type} job {outcome.job.id}; no report was asked for")
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
        # What somebody asked for is no fault.
        asked = outcome.stopped and not ended.error
        session.complain(f"{video.name}: {row['error']}", "yellow" if asked else "red")
    return row


def exit_code(rows: Iterable[Mapping[str, Any]]) -> int:
    """What a command ends with that did these runs: 1 if one failed, else STOPPED if one was stopped, else 0."""
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
