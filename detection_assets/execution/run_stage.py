"""Runs one stage on one source, chunk by chunk, each chunk journalled.

Belongs here: the order of work that all stages share: settings, fingerprint, reuse, resuming, progress. What a stage
does with a chunk is in `touchline/stages/`; what is stored how is in `resources/checkpoints.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg

from detection_assets.execution.registry import STAGES, Context, Stage
from detection_assets.jobs.heartbeat import Heartbeat, announce
from detection_assets.jobs.job_of_run import open_job, record_failure, selected_stages, stop_if_asked
from detection_assets.jobs.run_config import given
from detection_assets.metadata.materialization import described
from detection_assets.metadata.pictures import findings
from detection_assets.metadata.provenance import input_tags, read_from
from io_managers.stage_io import StageInput, StageOutput
from resources.audit import checkpoint_faults
from resources.brand_lists import stored_list
from resources.checkpoints import Journal
from resources.leases import check
from resources.models import Models
from resources.run_settings import RunSettings
from resources.source_files import content_check, replacement, with_content_now
from resources.storage import Connection, Storage
from resources.uploads import local_video
from touchline.brands import BrandBook
from touchline.bson_stream import Document
from touchline.config import silently
from touchline.errors import BadInputError, CheckpointError
from touchline.fingerprint import fingerprint_of
from touchline.library import repository
from touchline.library.retention import ADOPTABLE
from touchline.library.tables import DetectJob, SourceAsset, StageCheckpoint
from touchline.nodes import TRACES
from touchline.profiles import Profile, difference, profile_of, with_settings
from touchline.stages.extract_frames import ExtractFrames
from touchline.values import Chunk, FrameLoader, Image, SampledFrame, SceneFrame, UnresolvedCandidate
from touchline.video.opening import decode_frame


@dataclass(frozen=True)
class Work:
    """One stage of one run on one source: everything its work needs.

    `read` holds all checkpoints that it reads, by stage: those of `inputs`, and those they were computed from.
    """

    context: dg.AssetExecutionContext
    connection: Connection
    stage: Stage
    source: SourceAsset
    profile: Profile
    base: Profile
    job: DetectJob
    deps: Context
    fresh: bool
    inputs: Mapping[str, StageInput] = field(default_factory=dict)
    read: Mapping[str, StageCheckpoint] = field(default_factory=dict)

    @property
    def config(self) -> Any:
        """The stage's settings in this run."""
        return self.profile.stage(self.stage.name)

    @cached_property
    def heart(self) -> Heartbeat:
        """What is told of this stage's progress."""
        run = self.context.run
        return Heartbeat(self.connection, self.job.id, self.stage.name, selected_stages(run), run.run_id)


def run_stage(
    context: dg.AssetExecutionContext,
    config: dg.Config,
    inputs: Mapping[str, StageInput],
    storage: Storage,
    models: Models,
    run_settings: RunSettings,
) -> dg.MaterializeResult[StageOutput]:
    """Runs one stage: settings, fingerprint, then reuse or computation. The IO manager commits its checkpoint."""
    stage = STAGES[context.asset_key.path[-1]]
    connection = storage.connect()
    with connection.database.session() as session:
        source = repository.get_source(session, context.partition_key)
    base = profile_of(source.partition_key, source.profile_name, run_settings.profile, context.log.warning)
    job = open_job(context, connection, source, base.name, job_overrides(context, base))
    with record_failure(connection, job):
        read = _read(connection, stage.name, inputs)
        source, video = _video(context, connection, source, stage, read)
        profile = with_settings(base, {stage.name: given(config.model_dump())}, silently)
        deps = Context(models, lru_cache(1)(lambda: brand_book(connection, run_settings)))
        work = Work(context, connection, stage, source, profile, base, job, deps, run_settings.fresh, inputs, read)
        work.heart.begin()
        print_ = fingerprint(work)
        old = None if work.fresh else _finished(work, print_)
        output = _reuse(work, old, print_) if old else _compute(work, print_)
        tags = input_tags(context, read)
        metadata: dict[str, Any] = {}
        if old is None and output.journal is not None:
            load = frame_loader(connection, lambda: _frames(work, output))
            metadata = findings(stage.name, map(stage.module.deserialize, output.journal.documents()), load)
        # What was found comes first, keys and ids last.
        metadata |= {**described(output), **video, **read_from(inputs), "fingerprint": print_}
    announce(stage.name, 1.0)
    return dg.MaterializeResult(value=output, metadata=metadata, data_version=dg.DataVersion(print_), tags=tags)


def _video(
    context: dg.AssetExecutionContext,
    connection: Connection,
    source: SourceAsset,
    stage: Stage,
    read: Mapping[str, StageCheckpoint],
) -> tuple[SourceAsset, dict[str, Any]]:
    """The source with the current content of its video, and metadata if that has changed.

    The first stage of a run checks the content for the whole run. If that is a later stage than extract_frames, it uses
    the stored frames, and the metadata say whether they show an earlier content.
    """
    told = ""
    if not read:
        source, told = with_content_now(connection, source)
    elif stage.name == selected_stages(context.run)[0]:
        told = replacement(connection, source, str(read["extract_frames"].stats.get("checksum") or ""))
    if told:
        context.log.warning(told)
    return source, {"video": told} if told else {}


def _read(connection: Connection, stage: str, inputs: Mapping[str, StageInput]) -> dict[str, StageCheckpoint]:
    """All checkpoints that a stage reads, by stage: its inputs, and those they were computed from."""
    rows = {name: chosen.row for name, chosen in inputs.items()}
    traces = [name for name in TRACES[stage] if name not in rows]
    return rows | (ancestors(connection, next(iter(rows.values())), traces) if traces else {})


def fingerprint(work: Work) -> str:
    """SHA-256 over all that the stage's output depends on, hex."""
    upstream = [work.inputs[name].row.fingerprint for name in sorted(work.inputs)] or [work.source.checksum]
    identity = work.stage.identity(work.config, work.deps)
    return fingerprint_of(work.stage.name, work.stage.version, work.config, upstream, identity)


def job_overrides(context: dg.AssetExecutionContext, base: Profile) -> dict[str, dict[str, Any]]:
    """The settings by which this run's config differs from the profile, of all its stages.

    An invalid value is kept as it was given, so that the failed job shows it.
    """
    run_config: Mapping[str, Any] = context.run.run_config
    ops: Mapping[str, Any] = run_config.get("ops") or {}
    settings = {name: values for name, op in ops.items() if (values := given(op.get("config") or {}))}
    try:
        return difference(with_settings(base, settings, silently), base)
    except BadInputError:
        return settings


def brand_book(connection: Connection, settings: RunSettings) -> BrandBook:
    """The brands that this run matches against: the run's own list, or all known brands."""
    if settings.brands:
        return BrandBook.from_entries(stored_list(connection.objects, settings.brands))
    with connection.database.session() as session:
        repository.load_shipped_brands(session)
        return repository.brand_book(session)


def ancestors(connection: Connection, row: StageCheckpoint, stages: Collection[str]) -> dict[str, StageCheckpoint]:
    """The checkpoints of earlier stages that `row` was computed from, directly or not, in the order of `stages`.

    Raises CheckpointError for a stage that has none among them.
    """
    rows, seen = [row], set()
    found: dict[str, StageCheckpoint] = {}
    with connection.database.session() as session:
        while rows:
            current = rows.pop()
            found.setdefault(current.stage, current)
            if found.keys() >= set(stages):
                break
            for identity in current.input_checkpoint_ids:
                if identity not in seen:
                    seen.add(identity)
                    rows.append(repository.get_checkpoint(session, identity))
    if missing := [stage for stage in stages if stage not in found]:
        raise CheckpointError(
            f"{row.stage_output_key}: no {', '.join(missing)} among the checkpoints it was computed from"
        )
    return {stage: found[stage] for stage in stages}


def frames_of(connection: Connection, row: StageCheckpoint) -> Iterator[SampledFrame]:
    """The frames of an `extract_frames` checkpoint, streamed."""
    return map(STAGES["extract_frames"].module.deserialize, connection.checkpoints.read(row))


def frame_loader(connection: Connection, frames: Callable[[], Iterable[SampledFrame]]) -> FrameLoader:
    """Decodes a stored frame (BGR, uint8) by its sequence. `frames` are asked for when the first one is wanted.

    The loader raises CheckpointError for a frame that is missing or damaged.
    """

    @cache
    def stored() -> dict[int, SampledFrame]:
        return {frame.sequence: frame for frame in frames()}

    def load(sequence: int, lines: int | None = None, /) -> Image:
        frame = stored()[sequence]
        key, expected = frame.key, frame.sha256
        data = connection.checkpoints.get_frame(key)
        if (digest := hashlib.sha256(data).hexdigest()) != expected:
            raise CheckpointError(
                f"{key}: expected SHA-256 {expected}, got {digest}: the frame is damaged. "
                "Replay extract_frames, or restore the object."
            )
        image = decode_frame(data, frame, lines)
        if image is None:
            raise CheckpointError(f"{key}: not a picture; replay from extract_frames")
        return image

    return load


def _compute(work: Work, print_: str) -> StageOutput:
    journal = _journal(work, print_)
    began = time.perf_counter()
    frames: Sequence[SampledFrame] | None = None
    filtered: list[int] = []
    if work.stage.name == "extract_frames":
        stats = _extract(work, journal)
        frames = [work.stage.module.deserialize(d) for d in journal.documents()]
    else:
        stats = _work_chunks(work, journal)
        if work.stage.name == "filter_scenes":
            scenes: Iterable[SceneFrame] = map(work.stage.module.deserialize, journal.documents())
            filtered = [scene.sequence for scene in scenes if scene.kept]
    return StageOutput(
        job=work.job,
        stage=work.stage.name,
        fingerprint=print_,
        journal=journal,
        reused=None,
        stats=stats,
        config_snapshot=work.config.model_dump(mode="json"),
        config_overrides=difference(work.profile, work.base).get(work.stage.name, {}),
        input_checkpoint_ids=[i.row.id for i in work.inputs.values()],
        frames=frames,
        filtered=filtered,
        wall_s=time.perf_counter() - began,
    )


def _extract(work: Work, journal: Journal) -> dict[str, Any]:
    fetched = partial(work.heart.moved, 0.0)
    with local_video(work.connection.objects, work.source.video_path, work.source.checksum, fetched) as video:
        return _extract_from(video, work, journal)


def _extract_from(video: Path, work: Work, journal: Journal) -> dict[str, Any]:
    checkpoints = work.connection.checkpoints
    duration = work.source.duration or 0.0

    def save(sequence: int, jpeg: bytes) -> str:
        if duration:
            work.heart.moved(sequence / work.config.sample_fps / duration)
        return checkpoints.put_frame(work.job.id, sequence, jpeg)

    check_content = content_check(work.source)
    extractor = ExtractFrames(video, work.config, save=save)
    after = journal.finished[-1] if journal.finished else None
    for chunk_id, frames in extractor.chunks(after, journal.state):
        documents = [work.stage.module.serialize(f) for f in frames]
        share = min(1.0, (frames[-1].timestamp / duration) if duration and frames else 1.0)
        check_content()
        _keep(work, journal, chunk_id, documents, extractor.stats(), share)
    check_content()
    # The length, and what was not whole, is known for sure only once the last frame was decoded.
    return extractor.stats() | {"checksum": work.source.checksum}


def _work_chunks(work: Work, journal: Journal) -> dict[str, Any]:
    make = work.stage.worker
    assert make is not None
    worker = make(work.config, work.deps, journal.state)
    row = work.read["extract_frames"]
    total = max(1, row.item_count)
    streams = {name: DocumentStream(i.documents()) for name, i in work.inputs.items() if name != "extract_frames"}
    done, seen = set(journal.finished), 0
    for chunk_id, group in groupby(frames_of(work.connection, row), key=lambda f: f.chunk_id):
        frames = tuple(group)
        documents = {name: stream.up_to(frames[-1].sequence) for name, stream in streams.items()}
        places = {frame.sequence: place / total for place, frame in enumerate(frames, seen)}
        seen += len(frames)
        if chunk_id in done:
            continue
        load = telling(frame_loader(work.connection, partial(tuple, frames)), places, work.heart)
        found = list(worker.run_chunk(Chunk(chunk_id, frames, load, documents)))
        _keep(work, journal, chunk_id, [work.stage.module.serialize(d) for d in found], worker.state(), seen / total)
    return worker.stats()


def _keep(
    work: Work, journal: Journal, chunk_id: int, documents: list[Document], state: dict[str, Any], share: float
) -> None:
    """Makes a finished chunk safe and says so, if the run is still this process's; ends here if somebody asked."""
    check(work.context.run.run_id)
    journal.write(chunk_id, documents, state)
    work.heart.reached(share)
    stop_if_asked(work.context, work.connection, work.job)


def telling(load: FrameLoader, places: Mapping[int, float], heart: Heartbeat) -> FrameLoader:
    """A loader that tells of every frame that is asked for: all before it are done. `places` are shares by sequence."""

    def loaded(sequence: int, lines: int | None = None, /) -> Image:
        heart.moved(places.get(sequence, 0.0))
        return load(sequence, lines)

    return loaded


class DocumentStream:
    """A stream of documents that gives those of one chunk at a time, so that no match is ever held whole."""

    def __init__(self, documents: Iterator[Any]) -> None:
        self._documents = documents
        self._next: Any = None

    def up_to(self, sequence: int) -> list[Any]:
        """The documents whose (first) frame is no later than `sequence`."""
        found: list[Any] = []
        while True:
            if self._next is None:
                self._next = next(self._documents, None)
            if self._next is None or _sequence(self._next) > sequence:
                return found
            found.append(self._next)
            self._next = None


def _sequence(document: Any) -> int:
    return int(document.sequences[0] if isinstance(document, UnresolvedCandidate) else document.sequence)


def _journal(work: Work, print_: str) -> Journal:
    """This job's journal, with the chunks of the furthest of the earlier attempts that did not finish."""
    checkpoints = work.connection.checkpoints
    own = checkpoints.journal(work.job.id, work.stage.name, print_)
    if own.finished or work.fresh:
        return own
    with work.connection.database.session() as session:
        # Not of a job that is at work: its journal grows, and is cleared when its stage is finished.
        jobs = repository.list_jobs(session, work.source.id, statuses=ADOPTABLE, limit=200)
    earlier = [checkpoints.journal(job.id, work.stage.name, print_) for job in jobs if job.id != work.job.id]
    furthest = max(earlier, key=lambda journal: len(journal.finished), default=own)
    if furthest.finished:
        # Copied: a journal is written and cleared by its own job alone, so that two that go on at once do no harm.
        own.copy_from(furthest)
        work.context.log.info(f"resumes after chunk {own.finished[-1]} of job {furthest.job_id}")
    return own


def _finished(work: Work, print_: str) -> StageCheckpoint | None:
    """A checkpoint made from the very same ingredients; not one that is damaged, for then a replay would not help."""
    with work.connection.database.session() as session:
        old = repository.find_by_fingerprint(session, work.source.id, work.stage.name, print_)
    if old is None:
        return None
    if faults := checkpoint_faults(work.connection.objects, work.connection.checkpoints, old):
        work.context.log.warning(f"computes again: checkpoint {old.id} cannot be reused: {'; '.join(faults)}")
    return None if faults else old


def _reuse(work: Work, old: StageCheckpoint, print_: str) -> StageOutput:
    work.context.log.info(f"reuses checkpoint {old.id} of job {old.job_id}: nothing it depends on has changed")
    ids = [i.row.id for i in work.inputs.values()]
    return StageOutput(work.job, work.stage.name, print_, None, old, old.stats, input_checkpoint_ids=ids)


def _frames(work: Work, output: StageOutput) -> Iterable[SampledFrame]:
    if output.frames is not None:
        return output.frames
    return frames_of(work.connection, work.read["extract_frames"])
