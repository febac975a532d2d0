"""Which stored objects are needed and which are garbage: a rule over keys and facts, without any server.

Belongs here: the rule. `detection_assets/upkeep/collect_garbage.py` collects the facts and deletes, in an order that is
safe while jobs run.

The rule covers the objects under `checkpoints/{job}/` and `reports/{job}/`. Keys of an unknown form there are kept and
reported. Apart from logs no other object is ever deleted; `uploads/` and `brands/` are not listed. An object is needed
if:

1. a row names it: a stage's output, a frame of a manifest (the row of a replay names frames of the original job), a
   file of a job's report. Scenarios count like other rows;
2. its source has a queued or running job or Dagster run: the row may not be committed yet, and the run may resume from
   the journal of any earlier job;
3. it is a journal chunk of a failed or paused job, from which the next attempt resumes, unless the source has a
   checkpoint of the same stage and fingerprint, which later runs reuse instead. A chunk that cannot be read is kept;
4. it is a frame of a source with such a journal of `extract_frames`: chunks may name frames of other jobs;
5. it was stored recently.

Logs, under `logs/`, belong to no job and are deleted by age.

All other objects are garbage: those of unknown jobs, journals of completed and cancelled jobs, outputs and frames of
attempts that cannot be resumed, and reports that no job has.
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
"""Top-level prefixes of the objects of jobs, followed by the job's id."""
BRAND_LISTS: Final = "brands"
"""Prefix of the brand lists of single runs. They are small, and a run that names one may be executed again."""
LOGS: Final = "logs"
"""Prefix of the compute logs of runs, written by Dagster."""
LOGS_KEPT: Final = timedelta(days=30)
"""Age after which compute logs are deleted."""
UNTOUCHED: Final = ("uploads", BRAND_LISTS)
"""Prefixes of objects that users supplied. They are never deleted."""
ADOPTABLE: Final = frozenset({DetectJobStatus.FAILED, DetectJobStatus.PAUSED})
"""Statuses of the jobs whose journals the next attempt on the source resumes from."""

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
    """Kind of an object, by its key."""

    FRAME = "frames"
    OUTPUT = "outputs"
    CHUNK = "journals"
    REPORT = "reports"


class Retention(StrEnum):
    """Verdict on an object. Those in `GARBAGE` are deleted."""

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
"""Verdicts on objects that are deleted."""


@dataclass(frozen=True, slots=True)
class Part:
    """Parsed key of an object. `stage` is empty for frames and reports."""

    kind: Kind
    job: uuid.UUID
    stage: str


@dataclass(frozen=True, slots=True)
class GcFacts:
    """Facts about one job and its source, read after its objects were listed.

    `status`: the job's status; None if the job does not exist. `busy`: its source has a queued or running job or run.
    `named`: the keys under its prefix that rows name. `reports`: the prefixes of all reports under its prefix.
    `resumable`: the keys of its chunks that a later attempt can resume from. `extraction`: its source has such
    a journal of `extract_frames`, of this job or another.
    """

    status: DetectJobStatus | None
    busy: bool = False
    named: Collection[str] = ()
    reports: tuple[str, ...] = ()
    resumable: Collection[str] = ()
    extraction: bool = False


def part_of(key: str) -> Part | None:
    """The parsed key; None if it has no known form."""
    for form, kind in zip(_FORMS, (Kind.FRAME, Kind.CHUNK, Kind.OUTPUT, Kind.REPORT), strict=True):
        if match := form.fullmatch(key):
            return Part(kind, uuid.UUID(match["job"]), match.groupdict().get("stage") or "")
    return None


def job_folder(name: str) -> uuid.UUID | None:
    """The id of the job whose folder is called `name`; None if the name is no job id."""
    return uuid.UUID(name) if re.fullmatch(_ID, name) else None


def resumable(
    status: DetectJobStatus, stage: str, fingerprint: str | None, finished: Collection[tuple[str, str]]
) -> bool:
    """Whether a later attempt can resume from a chunk of a job with that status.

    `fingerprint` is None if the chunk cannot be read. `finished` has the stage and fingerprint of every checkpoint of
    the source.
    """
    return status in ADOPTABLE and (fingerprint is None or (stage, fingerprint) not in finished)


def retention_of(key: str, modified: datetime, facts: GcFacts, before: datetime) -> Retention:
    """The verdict on an object stored at `modified`. Objects stored at `before` or later are kept."""
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
