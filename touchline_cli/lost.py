"""Uploads without a job, as `touchline jobs` shows them: those whose run ended too early, and those that could not be
probed.

Belongs here: printing them. `touchline/library/repository/upload_ledger.py` selects them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from touchline.library.intake import PAUSES, UploadState
from touchline_cli import session
from touchline_cli.hints import with_program

if TYPE_CHECKING:
    from touchline.library.tables import Upload

TITLE: Final = "uploads whose run ended too early"
WAITING: Final = "uploads that could not be probed yet"


def as_rows(uploads: Sequence[Upload], fields: Sequence[str]) -> list[Mapping[str, Any]]:
    """Uploads in the form of jobs, for JSON: without an id, `pending` or `failed`."""
    return [
        {
            **dict.fromkeys(fields),
            "partition_key": upload.partition_key or None,
            "status": "failed" if upload.state is UploadState.FAILED else "pending",
            "created_at": upload.last_seen,
            "video_path": upload.location + upload.key,
            "error_message": upload.reason,
        }
        for upload in uploads
    ]


def show(uploads: Sequence[Upload]) -> None:
    """Prints the uploads below the jobs, if there are any."""
    _show_waiting([upload for upload in uploads if upload.state is UploadState.WAITING])
    lost = [upload for upload in uploads if upload.state is not UploadState.WAITING]
    if not lost:
        return
    table = session.columns("source", "state", "when", title=TITLE)
    for upload in lost:
        name = session.escaped(PurePosixPath(upload.key).name)
        gone = ", the file is gone" if upload.gone_at is not None else ""
        state = "failed" if upload.state is UploadState.FAILED else f"requested again ({_count(upload)}){gone}"
        table.add_row(
            f"{upload.partition_key}\n[dim]{name}[/dim]",
            f"{state}\n[red]{session.escaped(with_program(' '.join(upload.reason.split())))}[/red]",
            session.when(upload.last_seen),
        )
    session.console.print(table)


def _show_waiting(uploads: Sequence[Upload]) -> None:
    if not uploads:
        return
    table = session.columns("upload", "reason", "when", title=WAITING)
    for upload in uploads:
        reason = session.escaped(with_program(" ".join(upload.reason.split())))
        table.add_row(session.escaped(upload.location + upload.key), reason, session.when(upload.last_seen))
    session.console.print(table)


def _count(upload: Upload) -> str:
    return f"run {upload.tries} of {len(PAUSES) + 1}"
