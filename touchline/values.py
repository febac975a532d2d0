"""The values that stages exchange: plain, typed and immutable, without libraries but NumPy.

Belongs here: images, quads, chunks and the documents that stages write. Each stage converts its documents to BSON with
its own `serialize` and `deserialize`, in `touchline/stages/`.

Coordinates are pixels of the stored frame: x to the right, y down, origin at the outer corner of the top left pixel.
Quads run clockwise from the top left. Boxes are `xyxy`. Times (`timestamp`) are seconds from the start of the video,
computed from the exact presentation time (`pts` x `time_base`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""H x W x 3, BGR, uint8 (OpenCV's order)."""

Point = tuple[float, float]
"""X and y [pixels]."""
Quad = tuple[Point, Point, Point, Point]
"""Four corners, clockwise from top left [pixels of the stored frame]."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom: x1, y1, x2, y2 [pixels of the stored frame]."""

Zone = Literal["board", "jersey", "overlay", "other", "board_or_jersey"]
"""Where text is. `board_or_jersey` occurs only in reports: without a model that finds people, text on a board cannot be
told from text on a shirt in front of it."""
Origin = Literal["frame", "strip", "carried"]
"""How a reading was made: in the whole frame, in a rectified strip, or propagated from another frame (`carried`)."""
DropReason = Literal["", "black", "blur", "duplicate"]
"""Why a frame is not kept; empty if it is."""
BrandSourceName = Literal["ocr", "local_vlm", "cloud_llm", "manual"]
"""Who identified a brand."""


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One frame that `extract_frames` took from the video and stored as a JPEG.

    `shown_until` is the time of the video's next frame, sampled or not [s]; none in old checkpoints. `missing_since` is
    the time since which the pictures before this one are not decoded, because they use another codec [s]; none if no
    picture is missing.
    """

    sequence: int
    chunk_id: int
    timestamp: float
    pts: int
    time_base: tuple[int, int]
    width: int
    height: int
    key: str
    sha256: str
    size: int
    shown_until: float | None = None
    missing_since: float | None = None


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """The result of `filter_scenes` for one sampled frame.

    `represented_by` of a duplicate (`kept` false) is the sequence of the kept frame that shows the same; black and
    blurred frames have none. `sharpness` is the variance of the Laplacian at 360 lines, `brightness` the mean luma,
    0-255.
    """

    sequence: int
    timestamp: float
    shot: int
    kept: bool
    represented_by: int | None
    reason: DropReason
    brightness: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class Board:
    """An advertising board, or a part of a board row, in one frame. `confidence` 0..1."""

    quad: Quad
    confidence: float


@dataclass(frozen=True, slots=True)
class Overlay:
    """A region that is static while the camera moves: score bug, channel logo, watermark. `confidence` 0..1."""

    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class FrameEdges:
    """The result of `detect_edges` for one kept frame.

    `pitch_share` is the share of the picture that is grass, 0..1. `camera` is the 2 x 3 affine matrix (row by row) that
    maps points of the previous kept frame of the shot to this frame; None after a cut.
    """

    sequence: int
    timestamp: float
    shot: int
    pitch_share: float
    boards: tuple[Board, ...]
    overlays: tuple[Overlay, ...]
    camera: tuple[float, float, float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """A detected player, ball or goal: the model's label, its confidence 0..1, and the box."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """The result of `detect_objects` for one kept frame; empty without a model."""

    sequence: int
    timestamp: float
    objects: tuple[DetectedObject, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of text in one kept frame.

    Readings of the same text in successive frames of a shot share a `track`. `confidence` is 0..1. `unoccluded` is the
    share of the quad that no detected object covers, `height_px` the height of the line [pixels of the stored frame].
    `origin` says how the reading was made, see `Origin`.
    """

    sequence: int
    timestamp: float
    shot: int
    track: int
    text: str
    confidence: float
    quad: Quad
    zone: Zone
    origin: Origin
    unoccluded: float
    height_px: float


@dataclass(frozen=True, slots=True)
class BrandDetection:
    """A known brand in one kept frame. `text` is the reading. `confidence`, `unoccluded` and `clarity` are 0..1."""

    sequence: int
    timestamp: float
    shot: int
    track: int
    brand_id: str
    brand_name: str
    source: BrandSourceName
    text: str
    confidence: float
    quad: Quad
    zone: Zone
    unoccluded: float
    clarity: float


@dataclass(frozen=True, slots=True)
class UnresolvedCandidate:
    """Text of one track that matches no known brand, for a person or a VLM to identify.

    `sequences` are its kept frames, rising, with `timestamps` [s] and `quads`. `best_sequence` and `best_quad` are the
    clearest of them. `perhaps` is the known brand that the text may mean, or empty.
    """

    track: int
    shot: int
    text: str
    confidence: float
    zone: Zone
    sequences: tuple[int, ...]
    timestamps: tuple[float, ...]
    quads: tuple[Quad, ...]
    best_sequence: int
    best_quad: Quad
    reason: str
    perhaps: str = ""


MatchDocument = BrandDetection | UnresolvedCandidate


D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)


class FrameLoader(Protocol):
    """Decodes a stored frame (H x W x 3, BGR, uint8) by its sequence.

    `lines` is the least length of the picture's shorter side [pixels]; None decodes at full size. A larger frame may be
    decoded at a half, a quarter or an eighth of its size (rounded up), which is faster. Coordinates in such a picture
    are not those of the stored frame.
    """

    def __call__(self, sequence: int, lines: int | None = None, /) -> Image:
        """The frame, or a smaller picture of it whose shorter side has at least `lines` pixels."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Successive sampled frames (60 s by default) with the documents of the upstream stages.

    `documents` holds, by stage, the upstream documents whose frames are in this chunk, rising by sequence within each
    type. `load(sequence)` decodes a stored frame; `load(sequence, lines)` is faster if fewer lines suffice.
    """

    chunk_id: int
    frames: tuple[SampledFrame, ...]
    load: FrameLoader
    documents: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def of(self, stage: str, kind: type[D]) -> list[D]:
        """The documents of `kind` that `stage` wrote for this chunk."""
        return [item for item in self.documents.get(stage, ()) if isinstance(item, kind)]


class StageWorker(Protocol[D_co]):
    """Runs a stage chunk by chunk, in order. Another process can resume from its `state()`."""

    def run_chunk(self, chunk: Chunk) -> Iterable[D_co]:
        """The documents for this chunk, rising by sequence."""
        ...

    def state(self) -> dict[str, Any]:
        """What the next chunk needs, and the counters; small, and of types that BSON can store."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counts, timings and what could not be done, over all chunks so far. Stored with the checkpoint."""
        ...
