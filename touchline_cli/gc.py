"""`touchline gc`: freeing what no checkpoint, journal in use, scenario or report needs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from touchline_cli import session

if TYPE_CHECKING:
    from detection_assets.dagster_internals.clients import Clients
    from detection_assets.upkeep.collect_garbage import Collected

MEANING: Final = {
    "orphans": "objects of jobs that do not exist",
    "journals": "chunks that nobody can go on with",
    "outputs": "stage outputs that no checkpoint names",
    "frames": "frames that no checkpoint and no journal names",
    "reports": "files of reports that no job has",
    "parts": "uploads in parts that broke off",
    "logs": "what runs printed more than 30 days ago",
}
KEPT: Final = {
    "needed": "needed",
    "busy": "of sources with a running or queued run",
    "young": "too young to judge",
    "foreign": "of no known form",
}


def gc(dry_run: bool, hours: float, yes: bool, as_json: bool) -> int:
    """Frees what nothing needs, or tells what that would be. Asks first, unless `yes` or there is nothing to free."""
    with session.clients() as clients:
        if not (yes or dry_run):
            found = _collect(clients, hours, dry_run=True, as_json=as_json)
            _tell(found, dry_run=True, as_json=as_json)
            if not found.objects.total():
                return 0
            session.confirm("Delete all this for good?", yes, as_json)
        _tell(_collect(clients, hours, dry_run=dry_run, as_json=as_json), dry_run=dry_run, as_json=as_json)
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


def _tell(found: Collected, *, dry_run: bool, as_json: bool) -> None:
    told: dict[str, Any] = {
        "dry_run": dry_run,
        "jobs": found.jobs,
        "objects": found.objects.total(),
        "bytes": found.size.total(),
        "kinds": {kind: {"objects": found.objects[kind], "bytes": found.size[kind]} for kind in MEANING},
        "kept": {reason: found.kept[reason] for reason in KEPT},
        "not_ours": found.not_ours,
    }
    if as_json:
        session.print_json(told)
    else:
        _print(told)


def _print(told: dict[str, Any]) -> None:
    session.say(
        f"{'would free' if told['dry_run'] else 'freed'} {told['objects']} objects of {told['bytes'] / 1e6:.1f} MB"
    )
    for kind, meaning in MEANING.items():
        if (of_it := told["kinds"][kind])["objects"]:
            session.say(f"  {kind}: {of_it['objects']} objects of {of_it['bytes'] / 1e6:.1f} MB ({meaning})")
    kept = [f"{number} {KEPT[reason]}" for reason, number in told["kept"].items() if number]
    session.say(f"kept: {', '.join(kept) or 'nothing'}")
    if told["not_ours"]:
        session.say(f"not touched, because their form is unknown: {', '.join(told['not_ours'])}")
