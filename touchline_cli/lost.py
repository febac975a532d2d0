"""Uploads whose run ended before its work was done, as `touchline jobs` shows them: no job tells of them.

Belongs here: how they look. Which they are is in `touchline/library/repository/upload_ledger.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from touchline.library.intake import PAUSES, UploadState
from touchline_cli import session
from touchline_cli.hints import fitted

if TYPE_CHECKING:
    from touchline.library.tables import Upload

TITLE: Final = "uploads whose run ended too early"


def as_rows(uploads: Sequence[Upload], fields: Sequence[str]) -> list[Mapping[str, Any]]:
    """In the form of jobs, for JSON: without an id, and `pending` or `failed`."""
    return [
        {
            **dict.fromkeys(fields),
            "partition_key": upload.partition_key,
            "status": "failed" if upload.state is UploadState.FAILED else "pending",
            "created_at": upload.last_seen,
            "video_path": upload.location + upload.key,
            "error_message": upload.reason,
        }
        for upload in uploads
    ]


def show(uploads: Sequence[Upload]) -> None:
    """Prints them below the jobs; nothing where there are none."""
    if not uploads:
        return
    table = session.columns("source", "state", "when", title=TITLE)
    for upload in uploads:
        name = session.escaped(PurePosixPath(upload.key).name)
        gone = ", the file is gone" if upload.gone_at is not None else ""
        state = "failed" if upload.state is UploadState.FAILED else f"asked for again ({_count(upload)}){gone}"
        table.add_row(
            f"{upload.partition_key}\n[dim]{name}[/dim]",
            f"{state}\n[red]{session.escaped(fitted(' '.join(upload.reason.split())))}[/red]",
            session.when(upload.last_seen),
        )
    session.console.print(table)


def _count(upload: Upload) -> str:
    return f"run {upload.tries} of {len(PAUSES) + 1}"
