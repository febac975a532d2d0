"""Verify that all objects that rows name exist and match them, for `touchline doctor --verify`.

Belongs here: reading everything, comparing, and reporting faults with a remedy. The checks of one stream are in
`checkpoints.py` and `touchline/bson_stream.py`; loading refuses the same faults with the same messages.

Sources are checked in sequence, a row at a time. Blobs are streamed; frames are compared with one listing per job.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.object_store import ObjectStore
from touchline.errors import CheckpointError
from touchline.library import repository
from touchline.library.tables import SourceAsset, StageCheckpoint
from touchline.profiles import override_text
from touchline.report.files import files_of

EXTRACTION: Final = "extract_frames"
"""The stage whose checkpoints have frames."""
LAST: Final = "escalate_cloud"
"""The stage from which a replay makes the report again."""
LISTED: Final = 10
"""Maximum number of keys in a message about frames."""


@dataclass(frozen=True)
class Fault:
    """A mismatch between a row and the object store.

    `kind` is output, frames, inputs or report. `key` is the key of the object, or of the checkpoint's output. `remedy`
    is the command that repairs it; empty if `replaced`: a newer intact checkpoint or report exists.
    """

    kind: str
    source: str
    job: UUID
    stage: str
    checkpoint: UUID | None
    key: str
    message: str
    remedy: str
    fingerprint: str = ""
    replaced: bool = False


@dataclass
class AuditResult:
    """Result of a verification: numbers of checked items by kind, and faults."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are no faults, except replaced ones."""
        return all(fault.replaced for fault in self.faults)


def verify(
    database: Database,
    objects: ObjectStore,
    checkpoints: CheckpointStore,
    sources: Sequence[SourceAsset],
    *,
    frames: bool = False,
    listener: Callable[[int, int], None] | None = None,
) -> AuditResult:
    """Reads every checkpoint and report of these sources, and changes nothing.

    `frames` also reads every frame, instead of checking only its presence and size. `listener` is called after each
    source with the number of finished sources and the total. Raises ServiceError if a server fails.
    """
    verified = AuditResult()
    for number, source in enumerate(sources):
        _Source(database, objects, checkpoints, source, frames, verified).check()
        if listener is not None:
            listener(number + 1, len(sources))
    return verified


def checkpoint_faults(objects: ObjectStore, checkpoints: CheckpointStore, row: StageCheckpoint) -> list[str]:
    """Messages about the output of a checkpoint and the presence of its frames; empty if it is intact.

    Raises ServiceError.
    """
    try:
        if row.stage == EXTRACTION:
            return frame_faults(objects, row, checkpoints)
        deque(checkpoints.read(row), maxlen=0)
    except CheckpointError as error:
        return [str(error)]
    return []


def frame_faults(
    objects: ObjectStore,
    row: StageCheckpoint,
    checkpoints: CheckpointStore,
    *,
    deep: bool = False,
) -> list[str]:
    """Messages about the frames of a checkpoint of `extract_frames`, each with the first LISTED keys.

    `deep` reads every frame. Raises CheckpointError if the output is damaged, ServiceError.
    """
    listed: dict[str, dict[str, int]] = {}
    found: dict[str, list[str]] = {}

    def note(what: str, which: str) -> None:
        found.setdefault(what, []).append(which)

    manifest = row.frames_manifest
    for document in checkpoints.read(row):
        sequence, key, size = int(document["sequence"]), str(document["key"]), int(document["size"])
        if manifest.get(sequence) != key:
            note("are not those of the row's manifest", f"frame {sequence}: {key}, {manifest.get(sequence)} there")
        folder = key.rpartition("/")[0] + "/"
        if folder not in listed:
            listed[folder] = dict(objects.list(folder))
        if key not in listed[folder]:
            note("are missing", key)
        elif listed[folder][key] != size:
            note("have another size", f"{key}: expected {size} bytes, got {listed[folder][key]}")
        elif deep and (digest := hashlib.sha256(objects.get(key)).hexdigest()) != document["sha256"]:
            note("are damaged", f"{key}: expected SHA-256 {document['sha256']}, got {digest}")
    more = len(manifest) - row.item_count
    if more > 0:
        note("are in the row's manifest alone", f"{more} more than the output has")
    return [
        f"{len(which)} of {row.item_count} frames {what}: {'; '.join(which[:LISTED])}"
        + (f" and {len(which) - LISTED} more" if len(which) > LISTED else "")
        for what, which in found.items()
    ]


class _Source:
    """Verifies the rows of one source."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        checkpoints: CheckpointStore,
        source: SourceAsset,
        deep: bool,
        verified: AuditResult,
    ) -> None:
        self._database, self._objects, self._checkpoints = database, objects, checkpoints
        self._source, self._deep, self._verified = source, deep, verified
        self._known: dict[tuple[str, str, int, str, int], list[tuple[str, str]]] = {}
        """Faults by blob: rows that reuse a checkpoint name the same blob."""

    def check(self) -> None:
        """Adds the counts and faults of this source to the result."""
        with self._database.session() as session:
            ids = repository.checkpoint_ids(session, self._source.id)
        faults: list[Fault] = []
        for identity in ids:
            with self._database.session() as session:
                row = repository.get_checkpoint(session, identity, frames=True)
                unknown = repository.unknown_checkpoints(session, row.input_checkpoint_ids)
            own = list(self._row(row, unknown))
            if not own:
                # Earlier rows of the same stage and fingerprint are replaced by this one.
                faults = [
                    _replaced(f) if (f.stage, f.fingerprint) == (row.stage, row.fingerprint) else f for f in faults
                ]
            faults += own
        self._verified.faults += [*faults, *self._reports()]

    def _row(self, row: StageCheckpoint, unknown: Sequence[UUID]) -> Iterator[Fault]:
        self._verified.counts["checkpoints"] += 1
        about = (row.stage_output_key, row.stage_output_sha256, row.stage_output_size, row.fingerprint, row.item_count)
        if about not in self._known:
            self._known[about] = list(self._blob(row))
        for kind, message in self._known[about]:
            stage = EXTRACTION if kind == "frames" else row.stage
            yield self._fault(kind, row, message, stage)
        if unknown:
            message = f"computed from checkpoints that do not exist: {', '.join(map(str, unknown))}"
            yield self._fault("inputs", row, message, row.stage)

    def _blob(self, row: StageCheckpoint) -> Iterator[tuple[str, str]]:
        self._verified.counts["bytes"] += row.stage_output_size
        try:
            if row.stage != EXTRACTION:
                deque(self._checkpoints.read(row), maxlen=0)
                faults = []
            else:
                faults = frame_faults(self._objects, row, self._checkpoints, deep=self._deep)
                self._verified.counts["frames"] += row.item_count
        except CheckpointError as error:
            yield "output", str(error)
            return
        self._verified.counts["documents"] += row.item_count
        for message in faults:
            yield "frames", message

    def _fault(self, kind: str, row: StageCheckpoint, message: str, stage: str) -> Fault:
        changed = "".join(
            f" --set {shlex.quote(f'{stage}.{name}={override_text(value)}')}"
            for name, value in sorted(row.config_overrides.items())
        )
        profile = (
            f" --profile {shlex.quote(row.profile_name)}"
            if row.profile_name not in ("", self._source.profile_name)
            else ""
        )
        remedy = f"touchline replay {self._source.partition_key} --from {stage}{profile}{changed}"
        return Fault(
            kind,
            self._source.partition_key,
            row.job_id,
            row.stage,
            row.id,
            row.stage_output_key,
            message,
            remedy,
            row.fingerprint,
        )

    def _reports(self) -> list[Fault]:
        """The faults of reports. Those of older jobs are replaced if a newer job has an intact report."""
        faults: list[Fault] = []
        with self._database.session() as session:
            jobs = repository.reported_jobs(session, self._source.id)
        for job, prefix, files in jobs:
            self._verified.counts["reports"] += 1
            self._verified.counts["reports_without_digests"] += not files
            own = list(self._report(job, prefix, files))
            faults = (faults if own else list(map(_replaced, faults))) + own
        return faults

    def _report(self, job: UUID, prefix: str, files: Mapping[str, Any]) -> Iterator[Fault]:
        remedy = f"touchline replay {self._source.partition_key} --from {LAST} --job {job}"
        listed = dict(self._objects.list(prefix))

        def fault(name: str, message: str) -> Fault:
            key = prefix + name
            return Fault(
                "report", self._source.partition_key, job, "brand_report", None, key, f"{key}: {message}", remedy
            )

        content = self._objects.get(prefix + "report.json") if listed.get(prefix + "report.json") else b""
        for name in files or files_of(content):
            if not listed.get(prefix + name):
                yield fault(
                    name,
                    "expected a file of the report, got " + ("an empty one" if prefix + name in listed else "none"),
                )
                continue
            if name not in files:
                continue
            found = content if name == "report.json" else self._objects.get(prefix + name)
            if message := changed_file(found, files[name]):
                yield fault(name, message)
        if not content:
            return
        try:
            named = json.loads(content)["job_id"]
        except (ValueError, KeyError, TypeError) as error:
            yield fault("report.json", f"expected a report, got an unreadable file ({error!r})")
            return
        if named != str(job):
            yield fault("report.json", f"expected the report of job {job}, got that of another job")


def changed_file(content: bytes, said: Mapping[str, Any]) -> str:
    """How a file of a report differs from its `size` and `sha256` in the job's row, in words; empty if it matches."""
    if len(content) != said["size"]:
        return f"expected {said['size']} bytes, got {len(content)}: the file was changed"
    if (digest := hashlib.sha256(content).hexdigest()) != said["sha256"]:
        return f"expected SHA-256 {said['sha256']}, got {digest}: the file was changed"
    return ""


def _replaced(fault: Fault) -> Fault:
    return replace(fault, replaced=True, remedy="")
