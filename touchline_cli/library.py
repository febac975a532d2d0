"""`touchline report`, `jobs`, `brands list` and `brands import`: looking things up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table

from touchline.watch import stood_still
from touchline_cli import session

if TYPE_CHECKING:
    from touchline.brands import BrandEntry

WORTH_SAYING_S: Final = 60.0
"""A running job that has shown no progress for so long says so [s]."""


def report(key_or_path: str, out: Path, job: str | None) -> int:
    """Writes the report files of a source's newest reported job, or of the job named."""
    from touchline import repository

    with session.runner() as runner:
        with runner.connection.database.session() as database:
            source = repository.get_source(database, key_or_path)
            named = repository.get_job(database, job) if job else None
        path = runner.fetch_report(named or runner.latest_reported_job(source), out)
    session.say(f"wrote {path.parent}")
    return 0


def jobs(key_or_path: str | None, limit: int, as_json: bool) -> int:
    """Lists jobs, newest first."""
    from touchline import repository

    with session.storage() as connection, connection.database.session() as database:
        source = repository.get_source(database, key_or_path) if key_or_path else None
        found = repository.list_jobs(database, source.id if source else None, limit=limit)
        still = repository.standing_still(database, found)
    shown = ("id", "partition_key", "run_type", "status", "current_stage", "progress", "brands_found", "priority")
    fields = (*shown, "created_at")
    if as_json:
        more = (
            "video_path",
            "replay_from_stage",
            "config_overrides",
            "error_message",
            "parent_job_id",
            "dagster_run_id",
        )
        rows = [{name: getattr(job, name) for name in (*fields, *more)} for job in found]
        session.print_json([{**row, "no_progress_s": still.get(job.id)} for row, job in zip(rows, found, strict=True)])
        return 0
    table = Table(*fields[:-1], "created", box=None)
    for job in found:
        values = [getattr(job, name) for name in fields]
        if still.get(job.id, 0.0) >= WORTH_SAYING_S:
            values[3] = f"{job.status}, {stood_still(still[job.id], job.current_stage)}"
        values[5], values[-1] = f"{values[5]:.0%}", f"{values[-1]:%Y-%m-%d %H:%M}"
        table.add_row(*("" if value is None else str(value) for value in values))
    session.print_whole(table)
    return 0


def brands_list(as_json: bool) -> int:
    """Lists the known brands by name."""
    from touchline import repository

    with session.storage() as connection, connection.database.session() as database:
        repository.load_shipped_brands(database)
        found = repository.list_brands(database)
    if as_json:
        fields = ("id", "canonical_name", "aliases", "first_source", "confirmed", "total_occurrences")
        session.print_json([{name: getattr(brand, name) for name in fields} for brand in found])
        return 0
    table = Table("brand", "aliases", "confirmed", "seen", box=None)
    for brand in found:
        confirmed = "yes" if brand.confirmed else ""
        table.add_row(brand.canonical_name, ", ".join(brand.aliases), confirmed, str(brand.total_occurrences or ""))
    session.console.print(table)
    return 0


def brands_import(path: Path) -> int:
    """Adds the brands of a CSV, all or none: the file is checked whole before anything is changed."""
    from touchline import repository
    from touchline.brands import read_csv

    entries = read_csv(path, session.warn)
    with session.storage() as connection, connection.database.session() as database:
        repository.load_shipped_brands(database)
        added, changed = repository.upsert_brands(database, entries, tell=session.warn)
    session.say(f"{added} brands added, {changed} changed, {len(entries) - added - changed} known already")
    if lost := _never_found(entries):
        session.warn(lost)
    return 0


def _never_found(entries: Sequence[BrandEntry]) -> str:
    """Which spellings the default recogniser cannot read, in a sentence; empty if it reads all, or is not there."""
    from touchline.brands.scripts import never_found, scripts_of, spellings_by_script
    from touchline.errors import ModelUnavailableError
    from touchline.ocr.engine import KnowsCharacters, load_engine
    from touchline.profiles import load_profile

    needed = spellings_by_script(entries)
    if not needed:
        return ""
    try:
        engine = load_engine(load_profile().run_ocr.engine)
    except ModelUnavailableError:
        return ""
    return never_found(needed, scripts_of(engine.characters)) if isinstance(engine, KnowsCharacters) else ""
