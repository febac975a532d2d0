"""`touchline doctor --verify`: whether everything that checkpoints and reports name is there and whole."""

from __future__ import annotations

from typing import Any, Final

from touchline_cli import session

COUNTS: Final = ("checkpoints", "documents", "bytes", "frames", "reports", "reports_without_digests")


def verify(key_or_path: str | None, frames: bool, as_json: bool) -> int:
    """Reads what there is of one source or of all; 1 if anything is wrong that no newer checkpoint makes good."""
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
    told: dict[str, Any] = {
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
        session.print_json(told)
    else:
        _print(told)
    return 0 if found.ok else 1


def _print(told: dict[str, Any]) -> None:
    for fault in told["faults"]:
        where = f"{fault['source']}, {fault['stage']} of job {fault['job_id']}: {fault['message']}"
        if fault["replaced"]:
            session.say(f"{where}\n  a newer one stands for it; nothing is to be done")
        else:
            session.complain(f"{where}\n  next: `{fault['remedy']}`")
    if old := told["reports_without_digests"]:
        session.say(
            f"{old} of {told['reports']} reports are of an earlier version, which kept no digests of their files: that "
            "these are there and whose they are was looked at, and no more. A new run of brand_report makes them again"
        )
    wrong = sum(not fault["replaced"] for fault in told["faults"])
    session.say(
        f"{told['checkpoints']} checkpoints of {told['sources']} sources with {told['documents']} documents, "
        f"{told['frames']} frames ({'read' if told['frames_read'] else 'listed'}), {told['reports']} reports: "
        f"{f'{wrong} faults' if wrong else 'all is well'}"
    )
