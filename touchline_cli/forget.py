"""`touchline forget`: retiring a source."""

from __future__ import annotations

from typing import Any

from touchline_cli import session


def forget(key_or_path: str, dry_run: bool, as_json: bool) -> int:
    """Removes a source with all that was made of it, or tells what that would be."""
    from detection_assets import forget as work

    with session.runner() as runner:
        act = work.inventory if dry_run else work.forget
        found = act(runner.instance, runner.connection, key_or_path)
    told: dict[str, Any] = {
        "partition_key": found.source.partition_key,
        "video_path": found.source.video_path,
        "dry_run": dry_run,
        "jobs": len(found.rows.jobs),
        "checkpoints": found.rows.checkpoints,
        "sightings": found.rows.sightings,
        "objects": len(found.objects),
        "bytes": found.size,
        "kept_objects": list(found.kept),
    }
    if as_json:
        session.print_json(told)
        return 0
    session.console.print(
        f"{'would forget' if dry_run else 'forgot'} {told['partition_key']} ({told['video_path']}): "
        f"{told['objects']} objects of {told['bytes'] / 1e6:.1f} MB, {told['checkpoints']} checkpoints, "
        f"{told['jobs']} jobs, {told['sightings']} sightings, its partition",
        highlight=False,
        soft_wrap=True,
    )
    if found.kept:
        session.console.print(f"kept {len(found.kept)} objects that other sources name", highlight=False)
    return 0
