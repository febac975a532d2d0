"""Node 3, `detect_objects`: finds players, ball and goal, which cover boards, and whose jerseys have text.

Without a model the node writes empty documents, with the reason in its stats. The run continues unless `required`.

Belongs here: settings, documents and the sequence of steps. The detector's protocol is in
`touchline/vision/detector.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import Field

from touchline.config import FORMERLY, NAMES_FILE, OPERATIONAL, PLUGIN, StageConfig
from touchline.errors import ModelUnavailableError
from touchline.machine import in_words
from touchline.plugins import DETECTORS
from touchline.values import Chunk, DetectedObject, FrameObjects, SceneFrame
from touchline.vision.detector import PEOPLE, DetectorSettings, ObjectDetector, runtime_of
from touchline.vision.registry import load_detector

VERSION: Final = "3"


class DetectObjectsConfig(StageConfig):
    """Settings of `detect_objects`."""

    detector: str = Field(
        default="yolo",
        description="Object detector, one that is installed [yolo or another's name]",
        json_schema_extra={PLUGIN: DETECTORS.name},
    )
    weights: str = Field(
        default="",
        description="YOLO model: the name of one that ultralytics publishes, or of a registered .pt file (--set "
        "registers a path); in a profile also a path; "
        "empty takes TOUCHLINE_YOLO_WEIGHTS, else yolo11n.pt [name or path]",
        json_schema_extra={NAMES_FILE: True},
    )
    weights_sha256: str = Field(
        default="",
        pattern="^([0-9a-fA-F]{64})?$",
        description="SHA-256 of that file; no other file is loaded. With TOUCHLINE_YOLO_WEIGHTS empty takes "
        "TOUCHLINE_YOLO_SHA256; yolo11n.pt needs none [64 hex digits]",
    )
    download: bool = Field(
        default=True,
        description="Let ultralytics download a model that is given by name and missing here [yes or no]",
        json_schema_extra={OPERATIONAL: True},
    )
    image_size: int = Field(
        default=640, ge=64, le=2048, description="Side to which frames are scaled for the model [px]"
    )
    device: str = Field(
        default="auto",
        description="Where the model runs; auto takes a GPU if there is one [auto, cpu, cuda:0, mps...]",
        json_schema_extra={OPERATIONAL: True},
    )
    confidence: float = Field(default=0.3, ge=0, le=1, description="Objects of lower confidence are dropped [0-1]")
    classes: str = Field(
        default="person, player, goalkeeper, referee, sports ball, ball, goal",
        description="Labels to keep, separated by commas; labels that the model does not have are ignored, empty "
        "keeps all [labels]",
    )
    frame_stride: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Every n-th kept frame of a shot is searched, beginning with its first [frames]",
        json_schema_extra={FORMERLY: "every"},
    )
    batch: int = Field(
        default=8,
        ge=1,
        le=128,
        description="Frames given to the model at once [frames]",
        json_schema_extra={OPERATIONAL: True},
    )
    required: bool = Field(
        default=False,
        description="Fail the run if there is no model [yes or no]",
        json_schema_extra={OPERATIONAL: True},
    )


def configured_detector(config: DetectObjectsConfig, default: tuple[str, str] = ("", "")) -> ObjectDetector:
    """The detector that the settings select, with its model loaded.

    `default` has weights (a name or a path) and their SHA-256, for settings without weights. Raises what
    `touchline.vision.registry.load_detector` raises.
    """
    weights, sha256 = config.weights, config.weights_sha256
    if not weights and default[0]:
        weights, sha256 = default[0], sha256 or default[1]
    return load_detector(
        config.detector,
        DetectorSettings(
            weights=weights,
            sha256=sha256,
            download=config.download,
            image_size=config.image_size,
            device=config.device,
            confidence=config.confidence,
            classes=tuple(label.strip() for label in config.classes.split(",") if label.strip()),
        ),
    )


class DetectObjects:
    """The worker. `why_not` is the reason if there is no detector. Its state holds counters and the current shot.

    Raises ModelUnavailableError without a detector if `required` is set.
    """

    def __init__(
        self,
        config: DetectObjectsConfig,
        detector: ObjectDetector | None,
        why_not: str = "",
        state: dict[str, Any] | None = None,
    ) -> None:
        if detector is None and config.required:
            raise ModelUnavailableError(f"detect_objects.required is set, but there is no model: {why_not}")
        self._config = config
        self._detector = detector
        self._why_not = why_not
        state = state or {}
        self._frames = int(state.get("frames", 0))
        self._seconds = float(state.get("seconds", 0.0))
        self._labels: Counter[str] = Counter(state.get("labels", {}))
        self._shot = int(state.get("shot", -1))
        self._in_shot = int(state.get("in_shot", 0))
        self._computed_on: list[str] = list(state.get("computed_on", ()))
        if detector is not None and (here := f"{runtime_of(detector)}: {in_words()}") not in self._computed_on:
            self._computed_on.append(here)

    def run_chunk(self, chunk: Chunk) -> Iterable[FrameObjects]:
        """One document per searched frame; without a model an empty one per kept frame."""
        began = time.perf_counter()
        scenes = [s for s in chunk.of("filter_scenes", SceneFrame) if s.kept and self._due(s)]
        found: list[FrameObjects] = []
        for start in range(0, len(scenes), self._config.batch):
            batch = scenes[start : start + self._config.batch]
            objects: Sequence[tuple[DetectedObject, ...]] = [()] * len(batch)
            if self._detector is not None:
                objects = self._detector.detect([chunk.load(scene.sequence) for scene in batch])
            for scene, seen in zip(batch, objects, strict=True):
                self._labels.update(o.label for o in seen)
                found.append(FrameObjects(scene.sequence, scene.timestamp, seen))
        self._frames += len(scenes)
        self._seconds += time.perf_counter() - began
        return found

    def _due(self, scene: SceneFrame) -> bool:
        if scene.shot != self._shot:
            self._shot, self._in_shot = scene.shot, 0
        self._in_shot += 1
        return self._detector is None or (self._in_shot - 1) % self._config.frame_stride == 0

    def state(self) -> dict[str, Any]:
        """Counters, the current shot, the number of its kept frames so far, and the runtimes and processors used."""
        return {
            "frames": self._frames,
            "seconds": self._seconds,
            "labels": dict(self._labels),
            "shot": self._shot,
            "in_shot": self._in_shot,
            "computed_on": self._computed_on,
        }

    def stats(self) -> dict[str, Any]:
        """Frames, objects by label, seconds, the model and its runtime; without a model the reason, as `skipped`.

        `people`: whether there was a model that finds people. Without one, the report does not distinguish boards from
        shirts.
        """
        stats: dict[str, Any] = {"frames": self._frames, "compute_s": round(self._seconds, 3)}
        if self._detector is None:
            return {**stats, "people": False, "skipped": self._why_not}
        people = not PEOPLE.isdisjoint(self._detector.labels)
        on = "; ".join(self._computed_on)
        model = {"model": self._detector.identity, "computed_on": on}
        return {**stats, "people": people, **model, "objects": dict(self._labels)}


def serialize(document: FrameObjects) -> dict[str, Any]:
    """One frame as a BSON document."""
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
