"""Node 2, `detect_edges`: finds advertising boards and broadcast overlays.

For each kept frame: the pitch, the board rows along its edge as quads (Canny and Hough, `touchline/vision/bands.py`),
the camera motion since the previous kept frame, and the overlays that are static while the camera moves.

Belongs here: settings, documents and the sequence of steps. The methods are in `touchline/vision/`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from touchline.config import StageConfig
from touchline.geometry import flat, quad_from
from touchline.parallel import map_ahead
from touchline.values import Board, Chunk, FrameEdges, Image, Overlay, SceneFrame
from touchline.vision.bands import BandSettings, find_boards
from touchline.vision.motion import Affine, camera_motion, shift
from touchline.vision.overlays import StaticEdges
from touchline.vision.pitch import WORKING_HEIGHT, find_pitch

VERSION: Final = "5"


class DetectEdgesConfig(StageConfig):
    """Settings of `detect_edges`. Boards are searched at 360 lines, and thresholds hold at that size."""

    canny_low: int = Field(50, ge=0, le=255, description="Canny's lower threshold [grey levels of gradient, 0-255]")
    canny_high: int = Field(150, ge=0, le=255, description="Canny's upper threshold [grey levels of gradient, 0-255]")
    hough_threshold: int = Field(40, ge=1, le=1000, description="Least votes of a line in the Hough transform [pixels]")
    min_line: float = Field(0.05, gt=0, le=1, description="Length of the shortest line [share of the picture's width]")
    min_pitch: float = Field(
        0.08, ge=0, le=1, description="In frames with less grass no boards are searched [share of the picture]"
    )
    overlays: bool = Field(True, description="Find score bugs, channel logos and watermarks [yes or no]")
    overlay_motion: float = Field(
        3.0,
        ge=0,
        description="Least camera motion at which static edges are evidence of an overlay [pixels of the frame]",
    )


class DetectEdges:
    """The worker. Its state holds the accumulated static edges and the counters."""

    def __init__(self, config: DetectEdgesConfig, state: dict[str, Any] | None = None) -> None:
        self._config = config
        state = state or {}
        self._static = StaticEdges(state.get("standing"))
        self._frames = int(state.get("frames", 0))
        self._boards = int(state.get("boards", 0))
        self._with_boards = int(state.get("with_boards", 0))
        self._seconds = float(state.get("seconds", 0.0))
        self._overlays = int(state.get("overlays", 0))

    def run_chunk(self, chunk: Chunk) -> Iterable[FrameEdges]:
        """Boards, camera motion and overlays of the chunk's kept frames. The first frame is treated as after a cut.

        Successive frames of one size all get the overlays that are known after the last of them.
        """
        began = time.perf_counter()
        settings = BandSettings(
            self._config.canny_low, self._config.canny_high, self._config.hough_threshold, self._config.min_line
        )
        found: list[FrameEdges] = []
        of_one_size = 0
        size: tuple[int, int] | None = None
        before: tuple[int, NDArray[np.uint8]] | None = None
        camera: Affine | None = None
        self._static.restart()
        sizes = {frame.sequence: (frame.width, frame.height) for frame in chunk.frames}
        kept = [scene for scene in chunk.of("filter_scenes", SceneFrame) if scene.kept]
        searched = map_ahead(
            lambda scene: self._search(chunk.load(scene.sequence, WORKING_HEIGHT), sizes[scene.sequence], settings),
            kept,
        )
        for scene, (next_size, share, boards, gray) in zip(kept, searched, strict=True):
            if size is not None and size != next_size:
                found[of_one_size:] = self._with_overlays(found[of_one_size:], size)
                of_one_size = len(found)
            size = next_size
            same_shot = before is not None and before[0] == scene.shot
            camera = camera_motion(before[1], gray, size[1], camera) if before is not None and same_shot else None
            if self._config.overlays:
                moving = not same_shot or (camera is not None and shift(camera) >= self._config.overlay_motion)
                self._static.add(gray, moving)
            before = (scene.shot, gray)
            found.append(FrameEdges(scene.sequence, scene.timestamp, scene.shot, share, boards, (), camera))
            self._boards += len(boards)
            self._with_boards += bool(boards)
        if size is not None:
            found[of_one_size:] = self._with_overlays(found[of_one_size:], size)
        self._overlays = len(found[-1].overlays) if found else 0
        self._frames += len(found)
        self._seconds += time.perf_counter() - began
        return found

    def _with_overlays(self, frames: list[FrameEdges], size: tuple[int, int]) -> list[FrameEdges]:
        """Frames of one size (width, height) with the overlays that are known after the last of them."""
        overlays = self._static.overlays(*size) if self._config.overlays else ()
        return [replace(frame, overlays=overlays) for frame in frames]

    def _search(
        self, image: Image, size: tuple[int, int], settings: BandSettings
    ) -> tuple[tuple[int, int], float, tuple[Board, ...], NDArray[np.uint8]]:
        """(size (width, height) [px], share of the pitch, boards, grey picture) of one frame."""
        pitch = find_pitch(image, size[1])
        boards = find_boards(pitch, settings) if pitch.share >= self._config.min_pitch else []
        return size, pitch.share, tuple(boards), pitch.gray

    def state(self) -> dict[str, Any]:
        """The accumulated static edges and the counters."""
        return {
            "standing": self._static.state(),
            "frames": self._frames,
            "boards": self._boards,
            "with_boards": self._with_boards,
            "seconds": self._seconds,
            "overlays": self._overlays,
        }

    def stats(self) -> dict[str, Any]:
        """Numbers of frames, frames with boards, boards, and overlays at the end; seconds of computing."""
        return {
            "frames": self._frames,
            "frames_with_boards": self._with_boards,
            "boards": self._boards,
            "overlays": self._overlays,
            "compute_s": round(self._seconds, 3),
        }


def serialize(document: FrameEdges) -> dict[str, Any]:
    """One frame as a BSON document, with quads as flat lists of eight numbers."""
    return {
        "sequence": document.sequence,
        "timestamp": document.timestamp,
        "shot": document.shot,
        "pitch_share": document.pitch_share,
        "boards": [{"quad": flat(b.quad), "confidence": b.confidence} for b in document.boards],
        "overlays": [{"box": list(o.box), "confidence": o.confidence} for o in document.overlays],
        "camera": None if document.camera is None else list(document.camera),
    }


def deserialize(document: dict[str, Any]) -> FrameEdges:
    """The frame that `serialize` wrote."""
    camera = document["camera"]
    return FrameEdges(
        sequence=int(document["sequence"]),
        timestamp=float(document["timestamp"]),
        shot=int(document["shot"]),
        pitch_share=float(document["pitch_share"]),
        boards=tuple(Board(quad_from(b["quad"]), float(b["confidence"])) for b in document["boards"]),
        overlays=tuple(
            Overlay((float(x1), float(y1), float(x2), float(y2)), float(o["confidence"]))
            for o in document["overlays"]
            for x1, y1, x2, y2 in [o["box"]]
        ),
        camera=None if camera is None else (camera[0], camera[1], camera[2], camera[3], camera[4], camera[5]),
    )
