"""What of the stored objects is needed, and what may go: a rule over keys and facts, without any server.

Belongs here: the rule. Finding the facts and deleting, in an order that is safe beside running jobs, is in
`detection_assets/upkeep/collect_garbage.py`.

The rule. Objects are those of `checkpoints/{job}/` and `reports/{job}/`; but for logs nothing else is ever touched,
`uploads/` and `brands/` not even looked at, and a key in those folders that has no known form stays and is told. Of the
rest is needed:

1. what a row names: a stage's output, every frame of a manifest (a replay's row names the frames of the job it goes
   back to), the files of a job's report. Scenarios are rows like others;
2. everything of a source that has a running or queued job or Dagster run: its rows may be on their way, and
   it may go on with the journal of any earlier job;
3. the journals of jobs that failed or were paused, for the next attempt goes on with them; no longer once a checkpoint
   of the same source, stage and fingerprint is finished, which every later run takes over instead. A chunk that cannot
   be read says nothing of its fingerprint and stays;
4. all frames of a source for which such a journal of `extract_frames` is left: its chunks name them, and chunks that
   one job wrote can name the frames of others;
5. what was stored only a short while ago, whatever it is.

Logs, under `logs/`, belong to no job and go by their age alone.

All else is garbage: objects of jobs that do not exist, journals of completed and cancelled jobs, outputs and frames of
attempts that nobody can go on with, reports that no job has.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from touchline.library.tables import DetectJobStatus
from touchline.nodes import NODE_INDEX

FOLDERS: Final = ("checkpoints", "reports")
"""Where objects of jobs lie, by job."""
BRAND_LISTS: Final = "brands"
"""Where lists of brands for single runs lie; small, and named by runs that may be asked for again."""
LOGS: Final = "logs"
"""Where what runs print lies, by run; written by Dagster."""
LOGS_KEPT: Final = timedelta(days=30)
"""Age up to which logs stay. Nothing is computed from them."""
UNTOUCHED: Final = ("uploads", BRAND_LISTS)
"""What people gave us."""
ADOPTABLE: Final = frozenset({DetectJobStatus.FAILED, DetectJobStatus.PAUSED})
"""The next attempt on a source goes on with journals of jobs in one of these, and of no others."""

_STAGE: Final = "|".join(NODE_INDEX)
_ID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf"checkpoints/(?P<job>{_ID})/frames/(?P<frame>\d+)\.jpg",
        rf"checkpoints/(?P<job>{_ID})/stages/(?P<stage>{_STAGE})\.partial/(?P<chunk>\d+)\.bson",
        rf"checkpoints/(?P<job>{_ID})/stages/(?P<stage>{_STAGE})(?:\.{_ID})?\.bson",
        rf"reports/(?P<job>{_ID})/(?P<report>.+)",
    )
)


class Kind(StrEnum):
    """What an object is, by its key."""

    FRAME = "frames"
    OUTPUT = "outputs"
    CHUNK = "journals"
    REPORT = "reports"


class Retention(StrEnum):
    """What becomes of an object. Those of `GARBAGE` go."""

    NEEDED = "needed"
    BUSY = "busy"
    YOUNG = "young"
    FOREIGN = "foreign"
    ORPHAN = "orphans"
    FRAME = "frames"
    OUTPUT = "outputs"
    CHUNK = "journals"
    REPORT = "reports"


GARBAGE: Final = (Retention.ORPHAN, Retention.CHUNK, Retention.OUTPUT, Retention.FRAME, Retention.REPORT)


@dataclass(frozen=True, slots=True)
class Part:
    """An object as its key tells of it; `stage` is empty for frames and reports."""

    kind: Kind
    job: uuid.UUID
    stage: str


@dataclass(frozen=True, slots=True)
class GcFacts:
    """What is known of one job and its source, read after its objects were listed.

    `status`: of the job; nothing if there is no such job. `busy`: its source has a running or queued job or run.
    `named`: the keys under its folder that rows name. `reports`: the prefixes of all reports that lie in its folder.
    `resumable`: its chunks that a later attempt can go on with. `extraction`: such a journal of `extract_frames` is
    left in its source, be it of this job or another.
    """

    status: DetectJobStatus | None
    busy: bool = False
    named: Collection[str] = ()
    reports: tuple[str, ...] = ()
    resumable: Collection[str] = ()
    extraction: bool = False


def part_of(key: str) -> Part | None:
    """What a key says of its object; nothing if it is none of ours."""
    for form, kind in zip(_FORMS, (Kind.FRAME, Kind.CHUNK, Kind.OUTPUT, Kind.REPORT), strict=True):
        if match := form.fullmatch(key):
            return Part(kind, uuid.UUID(match["job"]), match.groupdict().get("stage") or "")
    return None


def job_folder(name: str) -> uuid.UUID | None:
    """The job whose folder is called `name`; nothing if it is no id as we write them."""
    return uuid.UUID(name) if re.fullmatch(_ID, name) else None


def resumable(
    status: DetectJobStatus, stage: str, fingerprint: str | None, finished: Collection[tuple[str, str]]
) -> bool:
    """Whether a later attempt may go on with a chunk of a job of that status.

    `fingerprint` is nothing where the chunk cannot be read; `finished` are stage and fingerprint of all checkpoints of
    the source.
    """
    return status in ADOPTABLE and (fingerprint is None or (stage, fingerprint) not in finished)


def retention_of(key: str, modified: datetime, facts: GcFacts, before: datetime) -> Retention:
    """What becomes of an object that was stored at `modified`, if what is no older than `before` is left alone."""
    part = part_of(key)
    if part is None:
        return Retention.FOREIGN
    if key in facts.named or (part.kind is Kind.REPORT and key.startswith(facts.reports)):
        return Retention.NEEDED
    if facts.busy:
        return Retention.BUSY
    if part.kind is Kind.CHUNK and key in facts.resumable:
        return Retention.NEEDED
    if part.kind is Kind.FRAME and facts.extraction:
        return Retention.NEEDED
    if modified >= before:
        return Retention.YOUNG
    return Retention.ORPHAN if facts.status is None else Retention(part.kind.value)
