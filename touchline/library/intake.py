"""Which uploads are worked on, and when: decided from what the ledger knows, what is there now, and the clock.

Belongs here: the decision alone. Where uploads lie is in `resources/uploads.py`, the ledger's rows are in
`touchline/library/repository/upload_ledger.py`, what follows from the decision is in
`detection_assets/upkeep/scan_uploads.py` and `detection_assets/upkeep/ingest_uploads.py`.

A *version* is one content of one upload as the ledger counts them: 1, 2, 3... Time stamps of uploads are compared with
the clock and never with each other, so nothing is skipped or taken twice for having come early, late or at the same
instant.
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
"""Seconds until a run that ended before its work was done is asked for again: the second time, the third, the fourth.
After that the upload is given up, with the reason: what ends each of its runs would end the next as well."""
QUIESCENCE: Final = timedelta(seconds=30)
"""An upload counts as whole when its content has been the same for so long. Copies that stall for longer are probed as
they are, refused, and taken up when they go on: their content changes."""
BEGUN: Final = (
    "a look into it began and has not ended; if nothing is at work on it, it is tried again, after all others"
)
"""What the ledger says of an upload from before it is opened until it is known what it is."""
PER_RUN: Final = 50
"""Uploads that one ingest run looks into, one after another: a run takes seconds to start, and a small file less than
one to look into."""
PER_RUN_BYTES: Final = 20 * 1024**3
"""Bytes of files that one ingest run hashes at most, but for a single file: about a minute from a good disk."""
MAX_PROBES: Final = 10
"""Looks into an upload without an answer, after which it is refused: ten of them hold up the others enough."""
SCHEME: Final = "s3://"
AGAIN: Final = "/again-"
"""What stands in a run key before its number."""


class UploadState(StrEnum):
    """What became of a version."""

    WAITING = "waiting"
    """Still arriving, or not its turn yet."""
    REQUESTED = "requested"
    """Registered as a source; a run was asked for."""
    STARTED = "started"
    """Dagster has that run."""
    FAILED = "failed"
    """Its runs ended again and again before their work was done, or somebody cancelled the run; the reason stands
    beside."""
    REFUSED = "refused"
    """No video; the reason stands beside."""
    UNCHANGED = "unchanged"
    """Touched or copied over itself: the version before had the same content."""
    FORGOTTEN = "forgotten"
    """Its source was retired by `touchline forget`; not started again as long as the upload stays as it is."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An upload as it is there now. `etag` changes with the content; `modified` is the place's clock, not ours."""

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The newest version of a key in the ledger.

    `since`: our clock, when this content was first seen. `tried`: when it was last looked into without an answer.
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
    """A run that looks into this content was asked for and has not ended, or must not be asked for yet."""

    def is_still(self, upload: Listed) -> bool:
        """Whether the upload is there with this content, and always was."""
        return not self.gone and (self.etag, self.size) == (upload.etag, upload.size)


@dataclass(slots=True)
class Plan:
    """What a look at one place amounts to.

    `new`: versions that get a row of their own. `grown`: waiting ones whose content is another than at the last look,
    or that were gone. `back`: versions that are there again as they were. `gone`: (key, version) of those that are
    not there any more. `settled`: those whose turn it is, oldest first; after them the `tried` ones, those first that
    were tried longest ago. `waiting`: how many still arrive.
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
    """The plan for one place. `known`: all of the ledger's newest versions there, by key; `listed`: all that is there.
    `unread`: keys, and beginnings of keys, of which that is not known; none of them is taken for gone.

    Carried out in part or twice, it does no harm: the next look says again what is left to do.
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
    """Notes one upload. Returns its version if it waits to be worked on (else none), and since when it is as it is."""
    if row is None:
        plan.new.append((upload, 1))
        return 1, now
    same = (row.etag, row.size) == (upload.etag, upload.size)
    if row.state is UploadState.WAITING:
        if row.is_still(upload):
            return row.version, row.since
        plan.changed.append((upload, row.version))
        return row.version, now
    # What was forgotten and taken away is wanted again when it comes back.
    if not same or (row.gone and row.state is UploadState.FORGOTTEN):
        plan.new.append((upload, row.version + 1))
        return row.version + 1, now
    if row.gone:
        plan.returned.append((row.key, row.version))
    return None, row.since


def batch_for_run(due: Iterable[tuple[Listed, int]], limit: int) -> list[tuple[Listed, int]]:
    """The first of `settled` that one ingest run takes: at most `limit`, and PER_RUN_BYTES of what is hashed of them.

    One is taken whatever it holds.
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
    """The key under which Dagster remembers the run of a version, for ever.

    The etag alone would swallow the third upload of A, B, A: its content is the first's, but not what is there before.
    """
    return f"{partition_key}/{version}/{etag}"


def next_run_key(run_key: str, number: int) -> str:
    """The key of the run that is asked for the `number`th time, after the one of `run_key` ended too early."""
    return f"{run_key.partition(AGAIN)[0]}{AGAIN}{number}"


def hidden(key: str) -> bool:
    """Whether a key is left alone: folders, and names with a dot in front (rsync and others write those first)."""
    return key.endswith("/") or any(part.startswith(".") for part in PurePosixPath(key).parts)


def bucket_path(bucket: str, key: str) -> str:
    """The library path of an object."""
    return f"{SCHEME}{bucket}/{key}"


def bucket_key(path: str) -> tuple[str, str] | None:
    """Bucket and key of a library path that is an object's; nothing for one of a file. Raises BadInputError."""
    if not path.startswith(SCHEME):
        return None
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        raise BadInputError(f"{path}: expected s3://BUCKET/KEY")
    return bucket, key
