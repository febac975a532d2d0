"""`touchline sources`: lists the videos and pictures of the library, each with its newest job.

Belongs here: choosing sources by a pattern, and listing them. `touchline/library/repository/sources.py` finds one
source by its name.
"""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from touchline_cli import session

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from touchline.library.tables import DetectJob, SourceAsset


def sources(only: str | None, as_json: bool) -> int:
    """Lists sources in the order of their keys."""
    from touchline.errors import BadInputError
    from touchline.library import repository

    with session.database() as database, database.session() as opened:
        found = matching_sources(opened, only)
        newest = repository.newest_jobs(opened)
    if only is not None and not found:
        raise BadInputError(f"--only {only}: matches no source; `touchline sources` shows all")
    rows = [_row(source, newest.get(source.id)) for source in found]
    if as_json:
        session.print_json(rows)
        return 0
    table = session.columns("source", "length", "size", "newest job", "when")
    for source in found:
        job = newest.get(source.id)
        name = PurePosixPath(source.video_path).name
        state = f"[red]{source.state}[/red]\n" if source.rejection_reason else ""
        table.add_row(
            f"{source.partition_key}\n[dim]{session.escaped(name)}[/dim]",
            session.length(source.duration),
            session.size(source.size),
            state + (str(job.status) if job else "none"),
            session.when(job.created_at) if job else "",
        )
    if rows:
        session.console.print(table)
    session.say(f"{len(rows)} sources" if rows else "no source yet; `touchline run VIDEO` registers one")
    return 0


def matching_sources(opened: Session, only: str | None) -> list[SourceAsset]:
    """All sources, or those whose key or path matches the pattern `only`. Without `*`, `?` and `[` it names one source.

    A pattern can be a relative path, with links and `..`. Raises BadInputError for the name of no source.
    """
    from touchline.library import repository
    from touchline.library.naming import library_path

    found = repository.list_sources(opened)
    if only is None:
        return found
    if named := repository.find_source(opened, only):
        return [named]
    if not any(sign in only for sign in "*?["):
        return [repository.named_source(opened, only)]
    patterns = [_composed(only)]
    if "/" in only and "://" not in only:
        patterns.append(_composed(library_path(only)))
    names = ((source, (source.partition_key, _composed(source.video_path))) for source in found)
    return [source for source, both in names if any(fnmatchcase(name, one) for name in both for one in patterns)]


def _composed(text: str) -> str:
    """The text with composed accents, as file systems differ in how they write them."""
    return unicodedata.normalize("NFC", text)


def _row(source: SourceAsset, job: DetectJob | None) -> dict[str, Any]:
    fields = ("partition_key", "video_path", "duration", "size", "fps", "width", "height", "profile_name", "state")
    row: dict[str, Any] = {name: getattr(source, name) for name in (*fields, "rejection_reason", "created_at")}
    row["newest_job"] = None
    if job is not None:
        row["newest_job"] = {
            "id": job.id,
            "status": job.status,
            "run_type": job.run_type,
            "created_at": job.created_at,
            "brands_found": job.brands_found,
        }
    return row
