"""`touchline doctor --verify`: checks that all objects of checkpoints and reports exist and are intact."""

from __future__ import annotations

from typing import Any, Final

from touchline_cli import session

COUNTS: Final = ("checkpoints", "documents", "bytes", "frames", "reports", "reports_without_digests")


def verify(key_or_path: str | None, frames: bool, as_json: bool) -> int:
    """Reads the objects of one source or of all. Returns 1 if there is a fault that no newer checkpoint replaces."""
    from resources.audit import verify as check
    from touchline.library import repository

    with session.storage() as connection, session.bar(as_json) as progress:
        task = progress.add_task("sources", total=None)
        with connection.database.session() as opened:
            one = None if key_or_path is None else repository.named_source(opened, key_or_path)
            sources = repository.list_sources(opened) if one is None else [one]
        found = check(
            connection.database,
            connection.objects,
            connection.checkpoints,
            sources,
            frames=frames,
            listener=lambda done, total: progress.update(task, completed=done, total=total),
        )
    row: dict[str, Any] = {
        "ok": found.ok,
        "sources": len(sources),
        **{name: found.counts[name] for name in COUNTS},
        "frames_read": frames,
        "faults": [
            {
                "kind": fault.kind,
                "source": fault.source,
                "job_id": str(fault.job),
                "stage": fault.stage,
                "checkpoint_id": str(fault.checkpoint) if fault.checkpoint else None,
                "key": fault.key,
                "message": fault.message,
                "replaced": fault.replaced,
                "remedy": fault.remedy,
            }
            for fault in found.faults
        ],
    }
    if as_json:
        session.print_json(row)
    else:
        _print(row)
    return 0 if found.ok else 1


def _print(row: dict[str, Any]) -> None:
    for fault in row["faults"]:
        where = f"{fault['source']}, {fault['stage']} of job {fault['job_id']}: {fault['message']}"
        if fault["replaced"]:
            session.say(f"{where}\n  a newer one replaces it; nothing to do")
        else:
            session.complain(f"{where}\n  next: `{fault['remedy']}`")
    if old := row["reports_without_digests"]:
        session.say(
            f"{old} of {row['reports']} reports are from an earlier version without digests of their files: only their "
            "existence and their source were checked. A new run of brand_report records digests"
        )
    wrong = sum(not fault["replaced"] for fault in row["faults"])
    session.say(
        f"{row['checkpoints']} checkpoints of {row['sources']} sources with {row['documents']} documents, "
        f"{row['frames']} frames ({'read' if row['frames_read'] else 'listed'}), {row['reports']} reports: "
        f"{f'{wrong} faults' if wrong else 'no faults'}"
    )
