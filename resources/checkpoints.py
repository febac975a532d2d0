"""Checkpoints: the documents of a stage as one BSON stream in the object store, and a row with its SHA-256.

Belongs here: writing, reading and verifying checkpoints and frames. The stream format is in
`touchline/bson_stream.py`, chunks of unfinished stages in `journal.py`, queries in `touchline/library/repository/`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from resources.database import Database
from resources.frame_cache import FrameCache
from resources.journal import Journal
from resources.object_store import ObjectStore
from resources.tempfiles import scratch_file
from touchline.bson_stream import Document, StreamHeader, read_header, read_stream, size_of, write_stream
from touchline.errors import CheckpointError
from touchline.library import repository
from touchline.library.tables import DetectJob, StageCheckpoint
from touchline.nodes import NODE_INDEX
from touchline.values import SampledFrame

__all__ = ["CheckpointStore", "Journal", "frame_key", "frames_prefix", "output_key"]

FRAME_CACHE: Final = 1024**3
"""Size of the frame cache of each process [bytes]: the frames of a match at 720p and 2 fps."""
OWN: Final = frozenset(
    {"id", "job_id", "created_at", "input_checkpoint_ids", "reused_from", "wall_s", "is_scenario", "scenario_label"}
)
"""Columns that are not copied from a checkpoint to the row that reuses it."""


def frames_prefix(job_id: UUID) -> str:
    """The prefix of the frames of a job."""
    return f"checkpoints/{job_id}/frames/"


def frame_key(job_id: UUID, sequence: int) -> str:
    """The object key of a frame."""
    return f"{frames_prefix(job_id)}{sequence:06d}.jpg"


def output_key(job_id: UUID, stage: str) -> str:
    """The object key of a stage's output."""
    return f"checkpoints/{job_id}/stages/{stage}.bson"


class CheckpointStore:
    """Writes and reads the checkpoints of one database and one bucket. Thread-safe."""

    def __init__(self, objects: ObjectStore, database: Database) -> None:
        self._objects = objects
        self._database = database
        self._frames = FrameCache(FRAME_CACHE)

    def journal(self, job_id: UUID, stage: str, fingerprint: str) -> Journal:
        """The journal of a stage of a job, with the finished chunks of this fingerprint."""
        return Journal(self._objects, job_id, stage, fingerprint)

    def put_frame(self, job_id: UUID, sequence: int, jpeg: bytes) -> str:
        """Stores a frame and returns its key. Raises ServiceError."""
        key = frame_key(job_id, sequence)
        self._objects.put(key, jpeg)
        self._frames.put(key, jpeg)
        return key

    def get_frame(self, key: str) -> bytes:
        """The JPEG of a frame, from the cache if possible. Raises CheckpointError, ServiceError."""
        held = self._frames.get(key)
        if held is None:
            held = self._objects.get(key)
            self._frames.put(key, held)
        return held

    def commit(
        self,
        *,
        job: DetectJob,
        stage: str,
        fingerprint: str,
        journal: Journal,
        stats: Mapping[str, Any],
        config_snapshot: Mapping[str, Any],
        config_overrides: Mapping[str, Any],
        input_checkpoint_ids: Sequence[UUID],
        frames: Sequence[SampledFrame] | None = None,
        filtered: Sequence[int] = (),
        wall_s: float = 0.0,
        guard: Callable[[Session], None] | None = None,
    ) -> StageCheckpoint:
        """Commits a complete journal as a checkpoint: stores the blob, inserts the row, clears the journal.

        `frames` are those of `extract_frames`, `filtered` the kept sequences of `filter_scenes`. The call is idempotent
        after an interruption at any point; a blob that a row names is never overwritten. `guard` is called at the end
        of the transaction; its exceptions roll it back. Raises CheckpointError if the journal is damaged or of another
        stage or fingerprint, ServiceError.
        """
        if (journal.stage, journal.fingerprint) != (stage, fingerprint):
            raise CheckpointError(f"{journal.prefix}: expected the journal of {stage} with fingerprint {fingerprint}")

        def store(session: Session) -> StageCheckpoint:
            repository.lock_checkpoint(session, job.id, stage)
            row = repository.job_checkpoint(session, job.id, stage, fingerprint=fingerprint)
            if row is None:
                identity = uuid.uuid4()
                key = output_key(job.id, stage)
                if repository.job_checkpoint(session, job.id, stage) is not None:
                    key = key.removesuffix(".bson") + f".{identity}.bson"
                header = StreamHeader(stage, str(job.id), str(job.source_asset_id), fingerprint)
                with scratch_file(key) as file:
                    count = write_stream(file, header, journal.documents())
                    size, digest = size_of(file), _sha256(file)
                    self._objects.put_file(key, file)
                row = StageCheckpoint(
                    id=identity,
                    job_id=job.id,
                    stage=stage,
                    stage_index=NODE_INDEX[stage],
                    source_asset_id=job.source_asset_id,
                    stage_output_key=key,
                    stage_output_sha256=digest,
                    stage_output_size=size,
                    item_count=count,
                    fingerprint=fingerprint,
                    stats=repository.plain_json(stats),
                    config_snapshot=repository.plain_json(config_snapshot),
                    config_overrides=repository.plain_json(config_overrides),
                    input_checkpoint_ids=list(input_checkpoint_ids),
                    video_path=job.video_path,
                    profile_name=job.profile_name,
                    wall_s=float(wall_s),
                    **_frame_columns(job.id, frames),
                    filtered_frame_sequences=[int(sequence) for sequence in filtered],
                )
                repository.add_checkpoint(session, row)
            if guard is not None:
                guard(session)
            return row

        row = self._database.transact(store)
        journal.clear()
        return row

    def reuse(
        self,
        row: StageCheckpoint,
        job: DetectJob,
        *,
        input_checkpoint_ids: Sequence[UUID] | None = None,
        guard: Callable[[Session], None] | None = None,
    ) -> StageCheckpoint:
        """Inserts a row of this job that reuses the blob and the frames of another job's `row`.

        `input_checkpoint_ids` are the inputs of this job, by default those of `row`. `guard` as in `commit`.
        """

        def note(session: Session) -> StageCheckpoint:
            repository.lock_checkpoint(session, job.id, row.stage)
            known = repository.job_checkpoint(session, job.id, row.stage, fingerprint=row.fingerprint)
            if known is not None:
                return known
            inputs = row.input_checkpoint_ids if input_checkpoint_ids is None else input_checkpoint_ids
            new = StageCheckpoint(
                job_id=job.id,
                reused_from=row.reused_from or row.id,
                input_checkpoint_ids=list(inputs),
                **{c.key: getattr(row, c.key) for c in StageCheckpoint.__table__.columns if c.key not in OWN},
            )
            repository.add_checkpoint(session, new)
            if guard is not None:
                guard(session)
            return new

        return self._database.transact(note)

    def read(self, row: StageCheckpoint) -> Iterator[Document]:
        """The documents of a checkpoint, streamed from a temporary file after its size and SHA-256 were checked.

        Raises CheckpointError, with the key, if the blob is missing, does not match its row or has an unknown format.
        The file is deleted with the iterator.
        """
        documents = self._read(row)
        next(documents)  # downloads and verifies now instead of at the first document
        return documents

    def _read(self, row: StageCheckpoint) -> Iterator[Document]:
        key = row.stage_output_key
        if not key:
            raise CheckpointError(f"checkpoint {row.id} of {row.stage} names no output. Replay {row.stage}.")
        with scratch_file(key) as file:
            self._objects.download(key, file)
            if (size := size_of(file)) != row.stage_output_size:
                raise _damaged(row, file, f"expected {row.stage_output_size} bytes, got {size}")
            if (digest := _sha256(file)) != row.stage_output_sha256:
                raise _damaged(row, file, f"expected SHA-256 {row.stage_output_sha256}, got {digest}")
            header = read_header(file, key=key)
            file.seek(0)
            documents = read_stream(file, stage=row.stage, key=key)
            _check_header(row, header)
            yield {}
            yield from documents


def _frame_columns(job_id: UUID, frames: Sequence[SampledFrame] | None) -> dict[str, Any]:
    if frames is None:
        return {}
    return {
        "frames_prefix": frames_prefix(job_id),
        "frames_manifest": {frame.sequence: frame.key for frame in frames},
        "frames_meta": [
            {"sequence": f.sequence, "chunk_id": f.chunk_id, "timestamp": f.timestamp, "hash": f.sha256} for f in frames
        ],
    }


def _damaged(row: StageCheckpoint, file: IO[bytes], compared: str) -> CheckpointError:
    """The error for a blob that does not match its row, with what it is as far as it can be read."""
    key = row.stage_output_key
    file.seek(0)
    try:
        header = read_header(file, key=key)
        file.seek(0)
        for _ in read_stream(file, stage=row.stage, key=key):
            pass
        what = f"it is whole, but of job {header.job}, with fingerprint {header.fingerprint}"
    except CheckpointError as error:
        what = str(error).removeprefix(f"{key}: ").partition(". ")[0]
    return CheckpointError(f"{key}: {compared}: it is damaged ({what}). Replay {row.stage}, or restore the object.")


def _check_header(row: StageCheckpoint, header: StreamHeader) -> None:
    """Raises CheckpointError if the header of the blob does not match the row."""
    for name, expected, got in (
        ("documents", row.item_count, header.count),
        ("fingerprint", row.fingerprint, header.fingerprint),
        ("source", str(row.source_asset_id), header.source),
    ):
        if expected != got:
            raise CheckpointError(
                f"{row.stage_output_key}: checkpoint {row.id} says {name} {expected}, its output {got}: they do not "
                f"belong together. Replay {row.stage}."
            )


def _sha256(file: IO[bytes]) -> str:
    """SHA-256 of an open file from its start, hex. The position is set to the start."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
