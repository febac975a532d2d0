"""`touchline forget`: retiring a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from touchline_cli import session

if TYPE_CHECKING:
    from detection_assets.upkeep.retire_source import Inventory


def forget(key_or_path: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Removes a source with all that was made of it, or tells what that would be. Asks first, unless `yes`."""
    from detection_assets.upkeep import retire_source as work

    with session.clients() as clients:
        if yes and not dry_run:
            found = work.forget(clients.instance, clients.connection, key_or_path)
        else:
            found = work.inventory(clients.instance, clients.connection, key_or_path)
            if not dry_run:
                _tell(found, gone=False, as_json=as_json)
                session.confirm("Delete all this for good?", yes, as_json)
                found = work.forget(clients.instance, clients.connection, found.source.partition_key)
    _tell(found, gone=not dry_run, as_json=as_json)
    return 0


def _tell(found: Inventory, *, gone: bool, as_json: bool) -> None:
    told: dict[str, Any] = {
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
        session.print_json(told)
        return
    session.say(
        f"{'forgot' if gone else 'would forget'} {told['partition_key']} ({told['video_path']}): "
        f"{told['objects']} objects of {told['bytes'] / 1e6:.1f} MB, {told['checkpoints']} checkpoints, "
        f"{told['jobs']} jobs, {told['sightings']} sightings, its partition"
    )
    if found.kept:
        session.say(f"kept {len(found.kept)} objects that other sources name")
