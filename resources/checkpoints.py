"""Checkpoints: BSON streams in the object store with a row each, and the journal of a stage in the making."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from resources.database import Database
from resources.object_store import ObjectStore
from touchline import repository
from touchline.bson_stream import StreamHeader, read_header, read_stream, write_stream
from touchline.errors import CheckpointError
from touchline.nodes import NODE_INDEX
from touchline.schema import DetectJob, StageCheckpoint
from touchline.values import SampledFrame


class Journal:
    """The chunks of one stage of one job that are finished with one fingerprint."""

    def __init__(self, objects: ObjectStore, job_id: UUID, stage: str, fingerprint: str) -> None:
        self._objects, self._job, self.stage, self._fingerprint = objects, job_id, stage, fingerprint
        self.prefix = f"checkpoints/{job_id}/stages/{stage}.partial/"
        self._keys: dict[int, str] = {}
        self.state: dict[str, Any] | None = None
        for key, _ in sorted(objects.list(self.prefix)):
            with self._open(key) as file:
                header = read_header(file, key=key)
            if header.fingerprint == fingerprint:
                self._keys[int(Path(key).stem)] = key
                self.state = dict(header.extra["state"])

    @property
    def finished(self) -> tuple[int, ...]:
        return tuple(sorted(self._keys))

    def write(self, chunk_id: int, documents: Sequence[dict[str, Any]], state: dict[str, Any]) -> None:
        key = f"{self.prefix}{chunk_id:06d}.bson"
        with tempfile.TemporaryFile() as file:
            write_stream(file, StreamHeader(self.stage, str(self._job), "", self._fingerprint, extra={"state": state}), documents)
            file.seek(0)
            self._objects.put(key, file.read())
        self._keys[chunk_id], self.state = key, state

    def documents(self) -> Iterator[dict[str, Any]]:
        for chunk in self.finished:
            with self._open(self._keys[chunk]) as file:
                yield from read_stream(file, stage=self.stage, key=self._keys[chunk])

    def clear(self) -> None:
        for key, _ in self._objects.list(self.prefix):
            self._objects.delete(key)

    def _open(self, key: str) -> Any:
        file = tempfile.TemporaryFile()
        file.write(self._objects.get(key))
        file.seek(0)
        return file


class CheckpointStore:
    def __init__(self, objects: ObjectStore, database: Database) -> None:
        self._objects, self._database = objects, database
        self._frames: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0

    def journal(self, job_id: UUID, stage: str, fingerprint: str) -> Journal:
        return Journal(self._objects, job_id, stage, fingerprint)

    def put_frame(self, job_id: UUID, sequence: int, jpeg: bytes) -> str:
        key = f"checkpoints/{job_id}/frames/{sequence:06d}.jpg"
        self._objects.put(key, jpeg)
        return key

    def get_frame(self, key: str) -> bytes:
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        data = self._frames[key] = self._objects.get(key)
        self._held += len(data)
        while self._held > 64 << 20:
            self._held -= len(self._frames.popitem(last=False)[1])
        return data

    def commit(
        self, *, job: DetectJob, stage: str, fingerprint: str, journal: Journal, stats: Mapping[str, Any],
        config_snapshot: Mapping[str, Any], config_overrides: Mapping[str, Any], input_checkpoint_ids: Sequence[UUID],
        frames: Sequence[SampledFrame] | None = None, filtered: Sequence[int] = (), wall_s: float = 0.0,
    ) -> StageCheckpoint:
        key = f"checkpoints/{job.id}/stages/{stage}.bson"
        with tempfile.NamedTemporaryFile() as file:
            header = StreamHeader(stage, str(job.id), str(job.source_asset_id), fingerprint)
            count = write_stream(file, header, journal.documents())
            file.flush()
            path = Path(file.name)
            with path.open("rb") as again:
                digest = hashlib.file_digest(again, "sha256").hexdigest()
            size = path.stat().st_size
            self._objects.put_file(key, path)
        row = StageCheckpoint(
            job_id=job.id, stage=stage, stage_index=NODE_INDEX[stage], source_asset_id=job.source_asset_id,
            stage_output_key=key, stage_output_sha256=digest, stage_output_size=size, item_count=count,
            fingerprint=fingerprint, stats=repository.plain_json(stats), config_snapshot=repository.plain_json(config_snapshot),
            config_overrides=repository.plain_json(config_overrides), input_checkpoint_ids=list(input_checkpoint_ids),
            video_path=job.video_path, profile_name=job.profile_name, wall_s=wall_s,
            frames_prefix=f"checkpoints/{job.id}/frames/" if frames is not None else "",
            frames_manifest={f.sequence: f.key for f in frames or ()},
            frames_meta=[{"sequence": f.sequence, "chunk_id": f.chunk_id, "timestamp": f.timestamp, "hash": f.sha256} for f in frames or ()],
            filtered_frame_sequences=list(filtered),
        )
        with self._database.session() as session:
            repository.add_checkpoint(session, row)
        journal.clear()
        return row

    def reuse(self, row: StageCheckpoint, job: DetectJob) -> StageCheckpoint:
        skipped = {"id", "job_id", "created_at", "reused_from", "wall_s", "is_scenario", "scenario_label"}
        values = {c.key: getattr(row, c.key) for c in StageCheckpoint.__table__.columns if c.key not in skipped}
        new = StageCheckpoint(job_id=job.id, reused_from=row.id, **values)
        with self._database.session() as session:
            repository.add_checkpoint(session, new)
        return new

    def read(self, row: StageCheckpoint) -> Iterator[dict[str, Any]]:
        key = row.stage_output_key
        with tempfile.NamedTemporaryFile() as file:
            self._objects.download(key, Path(file.name))
            with Path(file.name).open("rb") as blob:
                if hashlib.file_digest(blob, "sha256").hexdigest() != row.stage_output_sha256:
                    raise CheckpointError(f"{key}: not what was written; replay from {row.stage}")
                blob.seek(0)
                yield from read_stream(blob, stage=row.stage, key=key)
