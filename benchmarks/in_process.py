"""All stages on one video in this process, without servers, Dagster and journals. Their output is kept in memory.

Belongs here: running the stages. `determinism.py` compares the output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson

from detection_assets.execution.registry import STAGES, Context
from detection_assets.execution.run_stage import DocumentStream
from touchline.brands import BrandBook
from touchline.errors import TouchlineError
from touchline.nodes import NODE_NAMES, NODES
from touchline.ocr.engine import OcrEngine
from touchline.profiles import apply_overrides, load_profile
from touchline.report import SourceFacts
from touchline.report.tables import render_json
from touchline.stages.brand_report import build_report
from touchline.stages.detect_objects import DetectObjectsConfig
from touchline.stages.extract_frames import ExtractFrames
from touchline.values import Chunk, Image, SampledFrame
from touchline.video.opening import decode_frame
from touchline.vision.detector import ObjectDetector


class FixedModels:
    """Replaces the resource `Models`: one OCR engine, no object detector."""

    def __init__(self, engine: OcrEngine) -> None:
        self._engine = engine

    def ocr(self, engine: str, runtime: str) -> OcrEngine:
        """The engine, whatever the settings."""
        return self._engine

    def detector(self, config: DetectObjectsConfig) -> tuple[ObjectDetector | None, str]:
        """None."""
        return None, "left out"


@dataclass(frozen=True)
class Walked:
    """Each stage's documents in their stored form, and the text of report.json without job and times."""

    documents: Mapping[str, list[dict[str, Any]]]
    report: str

    def digests(self) -> dict[str, str]:
        """SHA-256 by node, and of `report`, hex."""
        blobs = {name: b"".join(bson.encode(d) for d in documents) for name, documents in self.documents.items()}
        blobs["report"] = self.report.encode()
        return {name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()}


def walk(
    video: Path,
    engine: OcrEngine,
    brands: BrandBook,
    overrides: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
) -> Walked:
    """Runs all stages and the report. With `resume`, each stage is restarted after every chunk, as from its journal."""
    profile = apply_overrides(load_profile(), dict(overrides or {}))
    deps = Context(FixedModels(engine), lambda: brands)  # type: ignore[arg-type]
    pictures: dict[int, bytes] = {}

    def save(sequence: int, jpeg: bytes) -> str:
        pictures[sequence] = jpeg
        return f"{sequence:06d}.jpg"

    frames: dict[int, SampledFrame] = {}

    def load(sequence: int, lines: int | None = None, /) -> Image:
        image = decode_frame(pictures[sequence], frames[sequence], lines)
        if image is None:
            raise TouchlineError(f"{video}: frame {sequence} does not decode")
        return image

    chunks, stats = _extracted(video, profile.extract_frames, save, resume)
    frames.update((frame.sequence, frame) for chunk in chunks.values() for frame in chunk)
    written: dict[str, list[Any]] = {"extract_frames": list(frames.values())}
    for node in NODES[1:]:
        stage = STAGES[node.name]
        config = profile.stage(node.name)
        streams = {name: DocumentStream(iter(written[name])) for name in node.reads if name != "extract_frames"}
        written[node.name], worker = [], None
        for chunk_id, sampled in chunks.items():
            if worker is None or resume:
                state: dict[str, Any] | None = bson.decode(bson.encode(worker.state())) if worker else None
                assert stage.worker is not None
                worker = stage.worker(config, deps, state)
            documents = {name: stream.up_to(sampled[-1].sequence) for name, stream in streams.items()}
            written[node.name] += worker.run_chunk(Chunk(chunk_id, tuple(sampled), load, documents))
    report = build_report(
        source=SourceFacts(
            key=video.stem,
            path=video.name,
            duration_s=float(stats["duration_s"]),
            sample_fps=profile.extract_frames.sample_fps,
            fps=float(stats["fps"]),
            codec=str(stats["codec"] or ""),
            is_image=bool(stats["is_image"]),
        ),
        job_id="",
        profile=profile.name,
        frames=frames.values(),
        scenes=written["filter_scenes"],
        documents=written[NODE_NAMES[-1]],
        load=load,
        config=profile.brand_report,
    )
    return Walked(
        {name: list(_serialized(name, documents)) for name, documents in written.items()}, render_json(report)
    )


def _extracted(
    video: Path, config: Any, save: Any, resume: bool
) -> tuple[dict[int, list[SampledFrame]], Mapping[str, Any]]:
    """The chunks with their frames, and the facts of the video."""
    chunks: dict[int, list[SampledFrame]] = {}
    while True:
        extractor = ExtractFrames(video, config, save=save)
        before = len(chunks)
        for chunk_id, frames in extractor.chunks(max(chunks, default=None)):
            chunks[chunk_id] = frames
            if resume:
                break
        if not resume or len(chunks) == before:
            return chunks, extractor.stats()


def _serialized(stage: str, documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return map(STAGES[stage].module.serialize, documents)
