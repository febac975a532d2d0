"""Which uploads are processed, and when: a decision from the ledger, the current listing and the clock.

Belongs here: the decision. The upload locations are in `resources/uploads.py`, the ledger's rows in
`touchline/library/repository/upload_ledger.py`. The decision is carried out in
`detection_assets/upkeep/scan_uploads.py` and `detection_assets/upkeep/ingest_uploads.py`.

A *version* is one content of one upload. The ledger numbers them 1, 2, 3... The time stamp of an upload is compared
with the clock, never with that of another upload: the order of arrival cannot skip or repeat an upload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from touchline.errors import BadInputError
from touchline.library.naming import WHOLE

PAUSES: Final = (0.0, 60.0, 600.0)
"""Delays before the second, third and fourth run of an upload whose run ended too early [s]. After the last retry the
upload fails, with the reason."""
QUIESCENCE: Final = timedelta(seconds=30)
"""Quiescence window: an upload is complete when its content has not changed for this time. A copy that stalls for
longer is probed and refused; it becomes a new version when the copy continues."""
BEGUN: Final = (
    "a look into it began and has not ended; if nothing is at work on it, it is tried again, after all others"
)
"""`Upload.reason` while a probe runs. It is stored before the file is opened and replaced by the result."""
PER_RUN: Final = 50
"""Maximum number of uploads that one ingest run probes, in sequence. A run takes seconds to start; a small file takes
less than a second to probe."""
PER_RUN_BYTES: Final = 20 * 1024**3
"""Maximum number of bytes that one ingest run hashes: about a minute of reading. A single file may exceed it."""
MAX_PROBES: Final = 10
"""Maximum number of probes of one content. An upload whose probes all ended without a result is refused."""
SCHEME: Final = "s3://"
"""Scheme of the library path of an object."""
AGAIN: Final = "/again-"
"""Separator between a run key and the number of its retry."""


class UploadState(StrEnum):
    """State of a version."""

    WAITING = "waiting"
    """Not complete yet, or queued for a probe."""
    REQUESTED = "requested"
    """Registered as a source; a run was requested."""
    STARTED = "started"
    """Dagster created the run."""
    FAILED = "failed"
    """All of its runs ended too early, or a user cancelled the run. `Upload.reason` says why."""
    REFUSED = "refused"
    """Not a video or picture. `Upload.reason` says why."""
    UNCHANGED = "unchanged"
    """The previous version had the same content: the file was touched or copied over itself."""
    FORGOTTEN = "forgotten"
    """Its source was retired by `touchline forget`. It is processed again once it changes or is uploaded
    again."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An upload in the current listing.

    `etag` changes with the content. `size` is in bytes. `modified` is by the clock of the location.
    """

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The newest version of a key in the ledger.

    `since`: when this content was first listed, by this machine's clock. `tried`: when a probe last ended without a
    result.
    """

    key: str
    version: int
    etag: str
    size: int
    state: UploadState
    since: datetime
    gone: bool
    tried: datetime | None = None
    asked: bool = False
    """Whether an ingest run for this content was requested and has not ended, or may not be requested yet."""

    def is_still(self, upload: Listed) -> bool:
        """Whether the upload still has this content and was never removed."""
        return not self.gone and (self.etag, self.size) == (upload.etag, upload.size)


@dataclass(slots=True)
class Plan:
    """Result of scanning one location.

    `new`: versions to insert. `changed`: waiting versions with other content than at the last scan, or that were
    removed in between. `returned`: versions that were removed and are listed again. `gone`: key and version of uploads
    that are no longer listed. `due`: uploads to probe, oldest first, then those with a probe that ended without a
    result, least recently probed first. `waiting`: number of uploads that are not complete yet. `asked`: number of
    uploads that an ingest run is assigned to.
    """

    new: list[tuple[Listed, int]] = field(default_factory=list)
    changed: list[tuple[Listed, int]] = field(default_factory=list)
    returned: list[tuple[str, int]] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    due: list[tuple[Listed, int]] = field(default_factory=list)
    waiting: int = 0
    asked: int = 0


def decide(
    known: Mapping[str, Known],
    listed: Iterable[Listed],
    now: datetime,
    *,
    quiescence: timedelta = QUIESCENCE,
    unread: Collection[str] = (),
) -> Plan:
    """The plan for one location.

    `known`: the newest versions in the ledger, by key. `listed`: the current listing. `unread`: keys and key prefixes
    that could not be listed; uploads under them do not count as removed. A plan may be carried out in part or twice:
    the next scan plans what is left.
    """
    plan = Plan()
    seen = set()
    for upload in listed:
        seen.add(upload.key)
        version, since = _compare(plan, known.get(upload.key), upload, now)
        if version is None:
            continue
        row = known.get(upload.key)
        if row is not None and row.asked and row.is_still(upload):
            plan.asked += 1
        elif now - upload.modified >= quiescence or now - since >= quiescence:
            plan.due.append((upload, version))
        else:
            plan.waiting += 1
    doubtful = tuple(unread)
    plan.gone = [
        (key, row.version)
        for key, row in known.items()
        if not row.gone and key not in seen and not (doubtful and key.startswith(doubtful))
    ]
    tried = {key: row.tried for key, row in known.items() if row.tried is not None}

    def turn(item: tuple[Listed, int]) -> tuple[bool, datetime, str]:
        upload = item[0]
        return upload.key in tried, tried.get(upload.key, upload.modified), upload.key

    plan.due.sort(key=turn)
    return plan


def _compare(plan: Plan, row: Known | None, upload: Listed, now: datetime) -> tuple[int | None, datetime]:
    """Adds one upload to the plan. Returns its version if it waits for a probe, else None, and its last change."""
    if row is None:
        plan.new.append((upload, 1))
        return 1, now
    same = (row.etag, row.size) == (upload.etag, upload.size)
    if row.state is UploadState.WAITING:
        if row.is_still(upload):
            return row.version, row.since
        plan.changed.append((upload, row.version))
        return row.version, now
    # A forgotten upload that was removed and uploaded again is processed again.
    if not same or (row.gone and row.state is UploadState.FORGOTTEN):
        plan.new.append((upload, row.version + 1))
        return row.version + 1, now
    if row.gone:
        plan.returned.append((row.key, row.version))
    return None, row.since


def batch_for_run(due: Iterable[tuple[Listed, int]], limit: int) -> list[tuple[Listed, int]]:
    """The first uploads of `due` that one ingest run probes: at most `limit`, and PER_RUN_BYTES to hash.

    The first upload is always included.
    """
    taken: list[tuple[Listed, int]] = []
    read = 0
    for upload, version in due:
        read += min(upload.size, WHOLE)
        if len(taken) >= limit or (taken and read > PER_RUN_BYTES):
            break
        taken.append((upload, version))
    return taken


def run_key(partition_key: str, version: int, etag: str) -> str:
    """The Dagster run key of a version.

    It holds the version because Dagster never starts a run key twice: with the etag alone, content A uploaded again
    after content B would not run.
    """
    return f"{partition_key}/{version}/{etag}"


def next_run_key(run_key: str, number: int) -> str:
    """The run key of retry `number` of `run_key`."""
    return f"{run_key.partition(AGAIN)[0]}{AGAIN}{number}"


def hidden(key: str) -> bool:
    """Whether a key is ignored: folders and dotfiles. rsync and others write to a dotfile first."""
    return key.endswith("/") or any(part.startswith(".") for part in PurePosixPath(key).parts)


def bucket_path(bucket: str, key: str) -> str:
    """The library path of an object."""
    return f"{SCHEME}{bucket}/{key}"


def bucket_key(path: str) -> tuple[str, str] | None:
    """Bucket and key of an object's library path; None for the path of a file. Raises BadInputError."""
    if not path.startswith(SCHEME):
        return None
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        raise BadInputError(f"{path}: expected s3://BUCKET/KEY")
    return bucket, key
