"""The values that cross from one stage to the next: plain, typed, immutable, free of any library but NumPy.

Belongs here: images, quads, chunks and the documents that stages write. How a stage's documents become BSON is
the business of that stage's own `serialize` and `deserialize`, in `touchline/stages/`.

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
Quad = tuple[Point, Point, Point, Point]
"""Four corners, clockwise from top left."""
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""

Zone = Literal["board", "jersey", "overlay", "other", "board_or_jersey"]
"""What text stands on. `board_or_jersey` is a word of reports alone: where nobody looked for people, what seems to
stand on a board may stand on a shirt in front of it."""
Origin = Literal["frame", "strip", "carried"]
DropReason = Literal["", "black", "blur", "duplicate"]
BrandSourceName = Literal["ocr", "local_vlm", "cloud_llm", "manual"]


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One frame that `extract_frames` took from the video and stored as a JPEG.

    `shown_until` is when the video's next frame takes its place, be that one taken or passed over, in seconds like
    `timestamp`; none in checkpoints that do not hold it. `missing_since` is from when on the pictures before this one
    are not decoded (they are coded otherwise than the rest), in seconds as well; none where none are missing.
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

    A dropped frame (`kept` false) that shows the same as a kept one names it in `represented_by`; a black or a
    blurred frame, in which nothing can be read, is represented by none.
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
    """An advertising board, or a stretch of a board row, in one frame. `confidence` 0..1."""

    quad: Quad
    confidence: float


@dataclass(frozen=True, slots=True)
class Overlay:
    """A region that stays put while the camera moves: score bug, channel mark, watermark."""

    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class FrameEdges:
    """What `detect_edges` found in one kept frame.

    `pitch_share` is the share of the picture that is grass, 0..1. `camera` is the 2 x 3 affine motion (row by row)
    that carries points of the previous kept frame of the same shot onto this one, or none after a cut.
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
    """What `detect_objects` found in one kept frame; empty where no model is configured."""

    sequence: int
    timestamp: float
    objects: tuple[DetectedObject, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One piece of text in one kept frame.

    `track` is shared by readings of the same thing in successive frames of a shot. `unoccluded` is the share of the
    quad that no detected object covers, `height_px` the height of the letters' line in pixels of the stored frame.
    `origin` is the pass that read it: over the whole frame, over a straightened strip, or none: `carried` text was
    read in an earlier frame and its pixels are still there.
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
    """A known brand in one kept frame. `text` is what was read, `clarity` 0..1 how well it could be read."""

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
    """Text that is no known brand, grouped by track: what a person, or the VLM, reads next.

    `sequences` are the kept frames in which it stands, rising; `best_sequence` and `best_quad` tell the clearest.
    `quads` runs parallel to `sequences`. `perhaps` is the known brand that the text may be meant to say, or empty.
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

    `lines` is how many the picture's shorter side must at least have: a frame of twice as many or more may come at a
    half, a quarter or an eighth of its size (rounded up), which a JPEG gives for a fraction of the time. None: full
    size. A picture asked for with `lines` is hence not measured in pixels of the stored frame.
    """

    def __call__(self, sequence: int, lines: int | None = None, /) -> Image:
        """The frame, or a smaller picture of it with at least so many lines."""
        ...


@dataclass(frozen=True)
class Chunk:
    """A stretch of sampled frames (60 s by default) with what the upstream stages said of them.

    `documents` holds all upstream documents whose frame belongs to this chunk, rising by sequence within each type.
    `load(sequence)` decodes a stored frame, `load(sequence, lines)` for less where fewer lines suffice.
    """

    chunk_id: int
    frames: tuple[SampledFrame, ...]
    load: FrameLoader
    documents: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def of(self, stage: str, kind: type[D]) -> list[D]:
        """The documents of `kind` that `stage` wrote for this chunk; none if it wrote none."""
        return [item for item in self.documents.get(stage, ()) if isinstance(item, kind)]


class StageWorker(Protocol[D_co]):
    """What runs a stage: fed chunk by chunk, in order; able to go on in another process from its `state()`."""

    def run_chunk(self, chunk: Chunk) -> Iterable[D_co]:
        """The documents for this chunk, rising by sequence."""
        ...

    def state(self) -> dict[str, Any]:
        """All that the next chunk needs to know, counters included; must survive BSON. Small."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counts, timings and what could not be done, over all chunks so far; shown in the UI, stored with the row."""
        ...
