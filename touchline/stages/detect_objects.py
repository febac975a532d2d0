"""Node 3, `detect_objects`: players, ball and goal by YOLO. What stands before a board, and what is a jersey.

Without a model the node writes empty documents and says why in its stats; the run goes on unless `required`.

Belongs here: settings, documents and the order of work of this node. The model is in `touchline/vision/objects.py`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from touchline.config import StageConfig
from touchline.errors import ModelUnavailableError
from touchline.values import Chunk, DetectedObject, FrameObjects, SceneFrame
from touchline.vision.objects import ObjectDetector, YoloDetector

VERSION: Final = "1"


class DetectObjectsConfig(StageConfig):
    """Settings of `detect_objects`."""

    weights: str = Field(
        default="",
        description="Path of a YOLO model's weights [.pt file]; empty takes TOUCHLINE_YOLO_WEIGHTS, else none",
    )
    weights_sha256: str = Field(
        default="",
        pattern="^([0-9a-fA-F]{64})?$",
        description="SHA-256 of that file [64 hex digits]; no other file is loaded. Empty takes TOUCHLINE_YOLO_SHA256",
    )
    image_size: int = Field(default=640, ge=64, le=2048, description="Side at which pictures are searched [pixels]")
    device: str = Field(default="", description="Device of the model [cpu, cuda:0...; empty chooses]")
    confidence: float = Field(default=0.3, ge=0, le=1, description="Objects less sure are dropped [0-1]")
    batch: int = Field(default=8, ge=1, le=128, description="Frames given to the model at once [frames]")
    required: bool = Field(default=False, description="Fail the run if there is no model [yes or no]")


def load_detector(config: DetectObjectsConfig) -> ObjectDetector:
    """The configured model. Raises ModelUnavailableError, which says what is missing, if there is none."""
    weights = config.weights or os.environ.get("TOUCHLINE_YOLO_WEIGHTS", "")
    if not weights:
        raise ModelUnavailableError(
            "no YOLO weights are configured; set detect_objects.weights and detect_objects.weights_sha256, "
            "or TOUCHLINE_YOLO_WEIGHTS and TOUCHLINE_YOLO_SHA256"
        )
    sha256 = config.weights_sha256 or os.environ.get("TOUCHLINE_YOLO_SHA256", "")
    return YoloDetector(
        Path(weights), sha256, image_size=config.image_size, device=config.device, confidence=config.confidence
    )


class DetectObjects:
    """Runs the node; `why_not` says why there is no detector. State between chunks: counters."""

    def __init__(
        self,
        config: DetectObjectsConfig,
        detector: ObjectDetector | None,
        why_not: str = "",
        state: dict[str, Any] | None = None,
    ) -> None:
        if detector is None and config.required:
            raise ModelUnavailableError(f"detect_objects.required is set, but {why_not}")
        self._config = config
        self._detector = detector
        self._why_not = why_not
        state = state or {}
        self._frames = int(state.get("frames", 0))
        self._seconds = float(state.get("seconds", 0.0))
        self._labels: Counter[str] = Counter(state.get("labels", {}))

    def run_chunk(self, chunk: Chunk) -> Iterable[FrameObjects]:
        """One document a kept frame; empty ones without a model."""
        began = time.perf_counter()
        kept = [scene for scene in chunk.of("filter_scenes", SceneFrame) if scene.kept]
        found: list[FrameObjects] = []
        for start in range(0, len(kept), self._config.batch):
            scenes = kept[start : start + self._config.batch]
            objects: list[tuple[DetectedObject, ...]] = [()] * len(scenes)
            if self._detector is not None:
                objects = self._detector.detect([chunk.load(scene.sequence) for scene in scenes])
            for scene, seen in zip(scenes, objects, strict=True):
                self._labels.update(o.label for o in seen)
                found.append(FrameObjects(scene.sequence, scene.timestamp, seen))
        self._frames += len(kept)
        self._seconds += time.perf_counter() - began
        return found

    def state(self) -> dict[str, Any]:
        """Counters."""
        return {"frames": self._frames, "seconds": self._seconds, "labels": dict(self._labels)}

    def stats(self) -> dict[str, Any]:
        """Frames, objects by label, seconds, the model; or why there was none, as `skipped`."""
        stats: dict[str, Any] = {"frames": self._frames, "compute_s": round(self._seconds, 3)}
        if self._detector is None:
            return {**stats, "skipped": self._why_not}
        return {**stats, "model": self._detector.identity, "objects": dict(self._labels)}


def serialize(document: FrameObjects) -> dict[str, Any]:
    """One frame as a BSON-able document."""
    return {
        "sequence": document.sequence,
        "timestamp": document.timestamp,
        "objects": [{"label": o.label, "confidence": o.confidence, "box": list(o.box)} for o in document.objects],
    }


def deserialize(document: dict[str, Any]) -> FrameObjects:
    """The frame that `serialize` wrote."""
    return FrameObjects(
        int(document["sequence"]),
        float(document["timestamp"]),
        tuple(
            DetectedObject(str(o["label"]), float(o["confidence"]), (x1, y1, x2, y2))
            for o in document["objects"]
            for x1, y1, x2, y2 in [o["box"]]
        ),
    )
