"""`touchline gc`: deletes objects that no checkpoint, journal in use, scenario or report needs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from touchline_cli import session

if TYPE_CHECKING:
    from detection_assets.dagster_internals.clients import Clients
    from detection_assets.upkeep.collect_garbage import Collected

MEANING: Final = {
    "orphans": "objects of jobs that do not exist",
    "journals": "chunks that no job can resume",
    "outputs": "stage outputs without a checkpoint",
    "frames": "frames without a checkpoint or a journal",
    "reports": "report files without a job",
    "parts": "multipart uploads that were not completed",
    "logs": "logs of runs, older than 30 days",
}
"""Kinds of garbage, and what they are."""
KEPT: Final = {
    "needed": "needed",
    "busy": "of sources with a running or queued run",
    "young": "too young to judge",
    "foreign": "not written by Touchline",
}
"""Reasons to keep an object."""


def gc(dry_run: bool, hours: float, yes: bool, as_json: bool) -> int:
    """Deletes garbage, after a confirmation unless `yes` or there is none. With `dry_run` it only lists garbage."""
    with session.clients() as clients:
        if not (yes or dry_run):
            found = _collect(clients, hours, dry_run=True, as_json=as_json)
            _report(found, dry_run=True, as_json=as_json)
            if not found.objects.total():
                return 0
            session.confirm("Delete all this permanently?", yes, as_json)
        _report(_collect(clients, hours, dry_run=dry_run, as_json=as_json), dry_run=dry_run, as_json=as_json)
    return 0


def _collect(clients: Clients, hours: float, *, dry_run: bool, as_json: bool) -> Collected:
    from detection_assets.upkeep import collect_garbage

    with session.bar(as_json) as progress:
        task = progress.add_task("jobs", total=None)
        return collect_garbage.collect(
            clients.instance,
            clients.connection,
            older_than=timedelta(hours=hours),
            dry_run=dry_run,
            listener=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _report(found: Collected, *, dry_run: bool, as_json: bool) -> None:
    row: dict[str, Any] = {
        "dry_run": dry_run,
        "jobs": found.jobs,
        "objects": found.objects.total(),
        "bytes": found.size.total(),
        "kinds": {kind: {"objects": found.objects[kind], "bytes": found.size[kind]} for kind in MEANING},
        "kept": {reason: found.kept[reason] for reason in KEPT},
        "not_ours": found.not_ours,
    }
    if as_json:
        session.print_json(row)
        return
    session.say(f"{'would free' if dry_run else 'freed'} {row['objects']} objects of {row['bytes'] / 1e6:.1f} MB")
    for kind, meaning in MEANING.items():
        if (of_it := row["kinds"][kind])["objects"]:
            session.say(f"  {kind}: {of_it['objects']} objects of {of_it['bytes'] / 1e6:.1f} MB ({meaning})")
    kept = [f"{number} {KEPT[reason]}" for reason, number in row["kept"].items() if number]
    session.say(f"kept: {', '.join(kept) or 'nothing'}")
    if found.not_ours:
        session.say(f"not deleted, because Touchline did not write them: {', '.join(found.not_ours)}")
