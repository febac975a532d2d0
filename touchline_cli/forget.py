"""`touchline forget`: retires a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from touchline_cli import session

if TYPE_CHECKING:
    from detection_assets.upkeep.retire_source import Inventory


def forget(key_or_path: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Deletes a source and its data, after a confirmation unless `yes`. With `dry_run` it only lists them."""
    from detection_assets.upkeep import retire_source as work

    with session.clients() as clients:
        if yes and not dry_run:
            found = work.forget(clients.instance, clients.connection, key_or_path)
        else:
            found = work.inventory(clients.instance, clients.connection, key_or_path)
            if not dry_run:
                _report(found, gone=False, as_json=as_json)
                session.confirm("Delete all this permanently?", yes, as_json)
                found = work.forget(clients.instance, clients.connection, found.source.partition_key)
    _report(found, gone=not dry_run, as_json=as_json)
    return 0


def _report(found: Inventory, *, gone: bool, as_json: bool) -> None:
    row: dict[str, Any] = {
        "partition_key": found.source.partition_key,
        "video_path": found.source.video_path,
        "dry_run": not gone,
        "jobs": len(found.rows.jobs),
        "checkpoints": found.rows.checkpoints,
        "sightings": found.rows.sightings,
        "objects": len(found.objects),
        "bytes": found.size,
        "kept_objects": list(found.kept),
    }
    if as_json:
        session.print_json(row)
        return
    session.say(
        f"{'forgot' if gone else 'would forget'} {row['partition_key']} ({row['video_path']}): "
        f"{row['objects']} objects of {row['bytes'] / 1e6:.1f} MB, {row['checkpoints']} checkpoints, "
        f"{row['jobs']} jobs, {row['sightings']} sightings, its partition"
    )
    if found.kept:
        session.say(f"kept {len(found.kept)} objects that other sources refer to")
