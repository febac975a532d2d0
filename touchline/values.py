"""The values that stages exchange: plain, typed and immutable. NumPy is the only library.

Belongs here: images, quads, chunks and the documents that stages write. A stage converts its documents to BSON by its
own `serialize` and `deserialize`, in `touchline/stages/`.

Frame of reference everywhere: pixels of the stored frame, x to the right, y down, origin at the outer corner of the
top left pixel. Quads run clockwise from the top left. Boxes are `xyxy`. Times are seconds from the start of the
video (`timestamp`), computed from the exact presentation time (`pts` x `time_base`).
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
"""Four corners, clockwise from top left."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom (x1, y1, x2, y2)."""

Zone = Literal["board", "jersey", "overlay", "other", "board_or_jersey"]
"""Where text is. `board_or_jersey` occurs in reports alone: without a model that finds people, text that seems to be
on a board may be on a shirt in front of it."""
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
    """What `filter_scenes` says of one sampled frame.

    A duplicate (`kept` false) names the kept frame that shows the same in `represented_by`. A black or a blurred frame
    is represented by none.
    `sharpness` is the variance of the Laplacian at 360 lines, `brightness` the mean luma, 0-255.
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
    """What `detect_edges` found in one kept frame.

    `pitch_share` is the share of the picture that is grass, 0..1. `camera` is the 2 x 3 affine motion (row by row)
    that maps points of the previous kept frame of the same shot to this one; none after a cut.
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
    """A player, ball, goal...: the model's label, its confidence 0..1, and the box."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """What `detect_objects` found in one kept frame; empty without a model."""

    sequence: int
    timestamp: float
    objects: tuple[DetectedObject, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One piece of text in one kept frame.

    `track` is shared by readings of the same text in successive frames of a shot. `unoccluded` is the share of the
    quad that no detected object covers, `height_px` the height of the line in pixels of the stored frame. `origin` is
    the search that found it, in the whole frame or in a rectified strip; `carried` text was read in another frame and
    propagated by template matching.
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
    """A known brand in one kept frame. `text` is the reading, `clarity` 0..1 how clearly it can be read."""

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
    """Text of one track that is no known brand, for a person or a VLM to identify.

    `sequences` are its kept frames, rising, and `quads` its places in them; `best_sequence` and `best_quad` are the
    clearest. `perhaps` is the known brand that the text may mean, or empty.
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

    `lines` is the least height of the picture's shorter side. A frame of at least twice that may be decoded at a half,
    a quarter or an eighth of its size (rounded up), which takes a fraction of the time. None: full size. So a picture
    that was loaded with `lines` is not measured in pixels of the stored frame.
    """

    def __call__(self, sequence: int, lines: int | None = None, /) -> Image:
        """The frame, or a smaller picture of it whose shorter side has at least `lines` pixels."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Successive sampled frames (60 s by default) with the documents of the upstream stages.

    `documents` holds all upstream documents whose frame belongs to this chunk, rising by sequence within each type.
    `load(sequence)` decodes a stored frame; `load(sequence, lines)` is cheaper if fewer lines suffice.
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
        """What the next chunk needs, with the counters; small, and BSON-able."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counts, timings and what could not be done, over all chunks so far. Stored with the checkpoint."""
        ...
