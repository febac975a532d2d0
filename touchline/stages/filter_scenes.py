"""Node 1, `filter_scenes`: finds shots, and drops black, blurred and duplicate frames.

Belongs here: shot cuts and the rules for dropped frames. Later stages search the kept frames.

Cuts. At 2 fps, a panning camera changes nearly every pixel between two samples: on real football, PySceneDetect's
content score was 29-97 at cuts, and 30-65 in fast pans. Therefore its `ContentDetector` only proposes cuts, and a
proposed cut is confirmed by the colours of the whole picture, which a pan hardly changes: the Bhattacharyya distance of
HSV histograms was 0.55-0.99 at cuts and at most 0.51 within shots. PySceneDetect's `ThresholdDetector` adds fades
through black. A frame of another width or height begins a new shot, because later stages track in pixels.

A frame that is dropped by mistake loses exposure, so each rule has two strict conditions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from touchline.config import StageConfig
from touchline.parallel import map_ahead
from touchline.values import Chunk, DropReason, Image, SceneFrame

if TYPE_CHECKING:
    from scenedetect.detectors import ContentDetector, ThresholdDetector

VERSION: Final = "3"

_LINES: Final = 360
"""Shorter side of the pictures in which sharpness, black and duplicates are measured, whatever the resolution [px]."""
_CUT_SIZE: Final = (160, 90)
"""Width and height of the pictures in which cuts are searched [px]. It suffices for colours."""
_CELL: Final = 8
"""Side of the cells of the duplicate rule, about the height of a letter on a far board [px at 360 lines]."""
_BINS: Final = (12, 4, 4)
"""Numbers of histogram bins of hue, saturation and value."""
_SHARPNESS_MEMORY: Final = 40
"""Number of frames of the current shot whose sharpness is passed to the next chunk."""
_SHOTS_LISTED: Final = 200
"""Largest number of shot starts that `stats()` lists."""


class FilterScenesConfig(StageConfig):
    """Settings of `filter_scenes`."""

    cut_content: float = Field(
        default=20.0,
        ge=0,
        le=255,
        description="PySceneDetect content score below which two successive samples are one shot [mean HSV difference]",
    )
    cut_colour: float = Field(
        default=0.53,
        ge=0,
        le=1,
        description="Least distance of the colour histograms of two samples at a cut [Bhattacharyya, 0-1]",
    )
    black_mean: float = Field(
        default=16.0, ge=0, le=255, description="Highest mean brightness of a black frame [luma, 0-255]"
    )
    black_max: float = Field(
        default=48.0,
        ge=0,
        le=255,
        description="Highest brightness of any pixel of a black frame, so that titles are kept [luma, 0-255]",
    )
    blur_ratio: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Sharpness below which a frame is blurred, as a share of the median of its shot [0-1]",
    )
    blur_floor: float = Field(
        default=4.0,
        ge=0,
        description="Sharpness that a blurred frame must be below as well [variance of the Laplacian at 360 lines]; 0 "
        "keeps every blurred frame",
    )
    duplicate_difference: float = Field(
        default=16.0,
        ge=0,
        le=255,
        description="A duplicate differs from the kept frame by less than this in every cell of 8 x 8 px at 360 "
        "lines: the largest difference of the three colours, averaged over the cell [0-255]; 0 keeps every duplicate",
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    sequence: int
    timestamp: float
    shot: int
    black: bool
    brightness: float
    sharpness: float
    small: Image


class FilterScenes:
    """The worker. Its state holds the last picture, the last kept picture, the shot and the counters."""

    def __init__(self, config: FilterScenesConfig, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._shots = _ShotFinder(config)
        self._kept: tuple[int, Image] | None = None
        self._kept_shot = -1
        self._sharpness: list[float] = []
        self._counts: dict[str, int] = {"frames": 0, "kept": 0, "black": 0, "blur": 0, "duplicate": 0}
        self._starts: list[float] = []
        self._wall_s = 0.0
        if state:
            self._restore(state)

    def run_chunk(self, chunk: Chunk) -> list[SceneFrame]:
        """One document per sampled frame of the chunk, rising by sequence."""
        begun = perf_counter()
        # The blur rule needs the median sharpness of the shot, so all frames are measured first.
        pictures = map_ahead(lambda frame: _at_lines(chunk.load(frame.sequence, _LINES), _LINES), chunk.frames)
        measured = [
            self._measure(frame.sequence, frame.timestamp, small, (frame.width, frame.height))
            for frame, small in zip(chunk.frames, pictures, strict=True)
        ]
        medians = self._medians(measured)
        documents = [self._judge(item, medians[item.shot]) for item in measured]
        self._wall_s += perf_counter() - begun
        return documents

    def state(self) -> dict[str, Any]:
        """See `StageWorker.state`: two small PNGs and numbers, at most a few hundred kB."""
        return {
            "shots": self._shots.state(),
            "kept": None if self._kept is None else {"sequence": self._kept[0], "picture": _png(self._kept[1])},
            "kept_shot": self._kept_shot,
            "sharpness": list(self._sharpness),
            "counts": dict(self._counts),
            "starts": list(self._starts),
            "wall_s": self._wall_s,
        }

    def stats(self) -> dict[str, Any]:
        """Frames, kept, and dropped by reason; `shots`, `shot_starts_s` (the first 200) and `wall_s`."""
        return {
            **self._counts,
            "shots": self._shots.shot + 1,
            "shot_starts_s": list(self._starts),
            "wall_s": round(self._wall_s, 3),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._shots = _ShotFinder(self._config, state["shots"])
        if state["kept"] is not None:
            self._kept = (int(state["kept"]["sequence"]), _from_png(state["kept"]["picture"]))
        self._kept_shot = int(state["kept_shot"])
        self._sharpness = [float(value) for value in state["sharpness"]]
        self._counts = {name: int(value) for name, value in state["counts"].items()}
        self._starts = [float(value) for value in state["starts"]]
        self._wall_s = float(state["wall_s"])

    def _measure(self, sequence: int, timestamp: float, small: Image, size: tuple[int, int]) -> _Measured:
        luma = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        before = self._shots.shot
        shot = self._shots.next(small, size)
        if shot != before and len(self._starts) < _SHOTS_LISTED:
            self._starts.append(timestamp)
        brightness = float(luma.mean())
        return _Measured(
            sequence=sequence,
            timestamp=timestamp,
            shot=shot,
            black=brightness <= self._config.black_mean and float(luma.max()) <= self._config.black_max,
            brightness=brightness,
            sharpness=float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0]) ** 2,
            small=small,
        )

    def _medians(self, measured: list[_Measured]) -> dict[int, float]:
        """The median sharpness by shot of this chunk, without black frames. Keeps the values of the last shot."""
        shots: dict[int, list[float]] = {}
        if measured and self._counts["frames"]:
            # The first frame of a chunk may continue the last shot of the previous chunk.
            continued = measured[0].shot == self._kept_shot or self._kept_shot < 0
            shots[measured[0].shot] = list(self._sharpness) if continued else []
        for item in measured:
            values = shots.setdefault(item.shot, [])
            if not item.black:
                values.append(item.sharpness)
        if measured:
            self._sharpness = shots[measured[-1].shot][-_SHARPNESS_MEMORY:]
        return {shot: float(np.median(values)) if values else 0.0 for shot, values in shots.items()}

    def _judge(self, item: _Measured, median: float) -> SceneFrame:
        represented_by: int | None = None
        reason: DropReason = ""
        if item.black:
            reason = "black"
        elif item.sharpness < self._config.blur_floor and item.sharpness < self._config.blur_ratio * median:
            reason = "blur"
        elif self._kept is not None and item.shot == self._kept_shot and self._same(self._kept[1], item.small):
            reason, represented_by = "duplicate", self._kept[0]
        else:
            self._kept, self._kept_shot = (item.sequence, item.small), item.shot
        self._counts["frames"] += 1
        self._counts[reason or "kept"] += 1
        return SceneFrame(
            sequence=item.sequence,
            timestamp=item.timestamp,
            shot=item.shot,
            kept=not reason,
            represented_by=represented_by,
            reason=reason,
            brightness=round(item.brightness, 3),
            sharpness=round(item.sharpness, 3),
        )

    def _same(self, kept: Image, other: Image) -> bool:
        return difference(kept, other) < self._config.duplicate_difference


class _ShotFinder:
    """Numbers shots from 0. Its state is the last picture, with which the detectors are initialised again."""

    def __init__(self, config: FilterScenesConfig, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._content, self._fade = _detectors(config)
        self._last: Image | None = None
        self._size: tuple[int, int] | None = None
        self._index = 0
        self.shot = -1
        if state is not None and state["picture"] is not None:
            self._last = _from_png(state["picture"])
            self._propose(self._last)
            self.shot = int(state["shot"])
            width, height = state["size"]
            self._size = (int(width), int(height))

    def next(self, image: Image, size: tuple[int, int]) -> int:
        """The shot number of the next picture (BGR, any size) of a frame of `size` (width, height) [px]."""
        # The aspect ratio may change: it is the same within a shot, and histograms do not depend on it.
        picture = cast(Image, cv2.resize(image, _CUT_SIZE, interpolation=cv2.INTER_AREA))
        content, fade = self._propose(picture)
        cut = fade or (content and self._last is not None and self._differs(self._last, picture))
        if cut or size != self._size:
            self.shot += 1
        self._last, self._size = picture, size
        return self.shot

    def state(self) -> dict[str, Any]:
        picture = None if self._last is None else _png(self._last)
        return {"shot": self.shot, "picture": picture, "size": list(self._size or ())}

    def _differs(self, before: Image, after: Image) -> bool:
        return colour_distance(before, after) >= self._config.cut_colour

    def _propose(self, picture: Image) -> tuple[bool, bool]:
        from scenedetect import FrameTimecode

        # For the detectors, each sample is one frame, whatever the sampling rate.
        time = FrameTimecode(self._index, fps=1.0)
        self._index += 1
        return bool(self._content.process_frame(time, picture)), bool(self._fade.process_frame(time, picture))


def _detectors(config: FilterScenesConfig) -> tuple[ContentDetector, ThresholdDetector]:
    from scenedetect.detectors import ContentDetector, ThresholdDetector

    content = ContentDetector(threshold=config.cut_content, min_scene_len=0)
    # With a bias of 1 the cut is at the fade-in.
    return content, ThresholdDetector(threshold=config.black_mean, min_scene_len=0, fade_bias=1.0)


def colour_distance(a: Image, b: Image) -> float:
    """Bhattacharyya distance of the HSV histograms of two images (H x W x 3, BGR, uint8), 0 (equal) to 1 (disjoint)."""
    return float(cv2.compareHist(_histogram(a), _histogram(b), cv2.HISTCMP_BHATTACHARYYA))


def difference(a: Image, b: Image) -> float:
    """The largest difference of two images (H x W x 3, BGR, uint8) in any 8 x 8 px cell, 0-255; 255 if sizes differ.

    The difference in a cell is the mean over its pixels of the largest channel difference. So a changed letter counts.
    """
    if a.shape != b.shape:
        return 255.0
    blue, green, red = cv2.split(cv2.absdiff(a, b))
    worst = cv2.max(cv2.max(blue, green), red).astype(np.float32)
    height, width = worst.shape
    # INTER_AREA is many times faster for whole cells, so incomplete cells at the border are padded by reflection.
    right, below = -width % _CELL, -height % _CELL
    filled = cv2.copyMakeBorder(worst, 0, below, 0, right, cv2.BORDER_REFLECT)
    size = ((width + right) // _CELL, (height + below) // _CELL)
    cells = cv2.resize(filled, size, interpolation=cv2.INTER_AREA)
    return float(cells.max())


def serialize(document: SceneFrame) -> dict[str, Any]:
    """One frame's result as a BSON document."""
    return asdict(document)


def deserialize(document: dict[str, Any]) -> SceneFrame:
    """The result that `serialize` wrote."""
    return SceneFrame(**document)


def _histogram(image: Image) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    histogram = cv2.calcHist([hsv], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256])
    return cast(NDArray[np.float32], histogram / histogram.sum())


def _at_lines(image: Image, lines: int) -> Image:
    height, width = image.shape[:2]
    scale = lines / min(height, width)
    if scale == 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Down to one half, bilinear interpolation skips no pixel and is faster than INTER_AREA.
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR))


def _png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def _from_png(data: bytes) -> Image:
    return cast(Image, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
