"""`touchline report`, `jobs` and `brands`: reports, jobs and known brands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from touchline.errors import BadInputError
from touchline.watch import stood_still
from touchline_cli import session
from touchline_cli.hints import with_program
from touchline_cli.lost import as_rows, show

if TYPE_CHECKING:
    from touchline.brands import BrandEntry
    from touchline.library.tables import DetectJob

FIELDS: Final = (
    "id",
    "partition_key",
    "run_type",
    "status",
    "current_stage",
    "progress",
    "brands_found",
    "priority",
    "created_at",
    "video_path",
    "replay_from_stage",
    "config_overrides",
    "error_message",
    "parent_job_id",
    "dagster_run_id",
)
"""The fields of a job in JSON."""
SHOWN: Final = 120
"""Approximate number of characters of an error message in the table; JSON has the complete message."""
_IN_BACKTICKS: Final = re.compile(r"`[^`]+`")

WORTH_SAYING_S: Final = 60.0
"""Time without progress after which the table shows it for a running job [s]."""


def report(key_or_path: str, out: Path, job: str | None) -> int:
    """Writes the report files of a job, by default of the source's newest job with a report."""
    from detection_assets.local.report_files import fetch_report, latest_reported_job
    from touchline.library import repository
    from touchline.report.files import check_folder

    with session.storage() as connection:
        with connection.database.session() as db_session:
            source = repository.named_source(db_session, key_or_path)
            named = repository.get_job(db_session, job) if job else None
            if named is not None and named.source_asset_id != source.id:
                raise BadInputError(f"--job {job}: it is a job of {named.partition_key}, not of {source.partition_key}")
        reported = named or latest_reported_job(connection, source)
        check_folder("--out", out)
        path = fetch_report(connection, reported, out)
    session.say(f"wrote {path.parent}")
    return 0


def jobs(key_or_path: str | None, limit: int, as_json: bool) -> int:
    """Lists jobs, newest first."""
    from touchline.library import repository

    with session.database() as opened, opened.session() as db_session:
        source = repository.named_source(db_session, key_or_path) if key_or_path else None
        found = repository.list_jobs(db_session, source.id if source else None, limit=limit)
        still = repository.seconds_without_progress(db_session, found)
        lengths = {one.id: one.duration for one in repository.list_sources(db_session)}
        lost = repository.interrupted_uploads(db_session, source.partition_key if source else None)
        # Waiting uploads have no source yet.
        lost += [] if source else repository.uploads_with_errors(db_session)
    if as_json:
        rows = [{**{name: getattr(job, name) for name in FIELDS}, "no_progress_s": still.get(job.id)} for job in found]
        session.print_json([*rows, *as_rows(lost, (*FIELDS, "no_progress_s"))])
        return 0
    table = session.columns("job", "source", "state", "when")
    for job in found:
        name = session.escaped(PurePosixPath(job.video_path).name)
        length = session.length(lengths.get(job.source_asset_id))
        table.add_row(
            str(job.id)[: repository.SHORT_ID],
            f"{job.partition_key}\n[dim]{name}{f', {length}' if length else ''}[/dim]",
            state(job, still.get(job.id, 0.0)),
            session.when(job.created_at),
        )
    if found:
        session.console.print(table)
    elif not lost:
        session.say("no job yet; `touchline run VIDEO` starts one")
    show(lost)
    return 0


def state(job: DetectJob, still_s: float = 0.0) -> str:
    """Status, progress, kind and error of a job, as a cell of a table.

    `still_s` is the time for which a running job has made no progress [s].
    """
    from touchline.library.tables import DetectJobStatus, RunType

    kind = f"replay of {job.replay_from_stage}" if job.run_type is RunType.REPLAY else str(job.run_type)
    if job.status is DetectJobStatus.COMPLETED:
        return f"{job.status}, {job.brands_found} brands\n[dim]{kind}[/dim]"
    at = f" at {job.current_stage}" if job.current_stage else ""
    asked = f", {job.stop_requested} requested" if job.stop_requested else ""
    message = " ".join((job.error_message or "").split())
    fault = f"\n[yellow]{stood_still(still_s, job.current_stage)}[/yellow]" if still_s >= WORTH_SAYING_S else ""
    if job.status is DetectJobStatus.FAILED and message:
        fault = f"\n[red]{session.escaped(with_program(shortened(message)))}[/red]"
    return f"{job.status}, {job.progress:.0%}{at}{asked}\n[dim]{kind}[/dim]{fault}"


def shortened(message: str, most: int = SHOWN) -> str:
    """A message, cut to about `most` characters. Commands in backticks are kept complete, also those after the cut.

    >>> shortened("no progress for 20 minutes in run_ocr; `touchline resume 8` continues it", 20)
    'no progress for 20 m ... `touchline resume 8`'
    """
    if len(message) <= most:
        return message
    named = list(_IN_BACKTICKS.finditer(message))
    end = next((one.start() for one in named if one.start() < most < one.end()), most)
    kept = [one[0] for one in named if one.start() >= end]
    return " ".join([message[:end].rstrip(), "...", *kept])


def brands_list(as_json: bool) -> int:
    """Lists the known brands by name."""
    from touchline.library import repository

    with session.database() as opened, opened.session() as db_session:
        repository.load_shipped_brands(db_session)
        found = repository.list_brands(db_session)
    if as_json:
        fields = ("id", "canonical_name", "aliases", "first_source", "confirmed", "total_occurrences")
        session.print_json([{name: getattr(brand, name) for name in fields} for brand in found])
        return 0
    table = session.columns("brand", "aliases", "confirmed", "seen")
    for brand in found:
        confirmed = "yes" if brand.confirmed else ""
        names = (session.escaped(name) for name in (brand.canonical_name, ", ".join(brand.aliases)))
        table.add_row(*names, confirmed, str(brand.total_occurrences or ""))
    session.console.print(table)
    return 0


def brands_import(path: Path) -> int:
    """Adds all brands of a CSV file, or none: the complete file is checked before anything is changed."""
    from touchline.brands import read_csv
    from touchline.library import repository

    entries = read_csv(path, session.warn)
    with session.database() as opened, opened.session() as db_session:
        repository.load_shipped_brands(db_session)
        added, changed = repository.upsert_brands(db_session, entries, tell=session.warn)
        matched = repository.sources_with_checkpoints(db_session, {"match_brands"})
        waiting = sum(
            source.id in matched for source in repository.list_sources(db_session) if source.state == "accepted"
        )
    session.say(f"{added} brands added, {changed} changed, {len(entries) - added - changed} known already")
    if lost := _never_found(entries):
        session.warn(lost)
    if (added or changed) and waiting:
        number = "1 source was" if waiting == 1 else f"{waiting} sources were"
        session.say(f"{number} matched with another list: `touchline backfill --from match_brands` matches them again")
    return 0


def brands_store(path: Path) -> int:
    """Stores a list of brands for single runs and prints its reference."""
    from resources.brand_lists import store_list
    from touchline.brands import read_csv

    read_csv(path, session.warn)
    with session.storage() as connection:
        session.say(store_list(connection.objects, path))
    return 0


def _never_found(entries: Sequence[BrandEntry]) -> str:
    """A sentence about spellings that the default OCR engine cannot read; empty if there are none, or no engine."""
    from touchline.brands.scripts import never_found, scripts_of, spellings_by_script
    from touchline.errors import ModelUnavailableError
    from touchline.ocr.engine import EngineSettings, KnowsCharacters
    from touchline.ocr.registry import load_engine
    from touchline.profiles import load_profile

    needed = spellings_by_script(entries)
    if not needed:
        return ""
    try:
        config = load_profile().run_ocr
        engine = load_engine(config.engine, EngineSettings(config.runtime))
    except ModelUnavailableError:
        return ""
    return never_found(needed, scripts_of(engine.characters)) if isinstance(engine, KnowsCharacters) else ""
