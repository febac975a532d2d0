"""Node 4, `run_ocr`: the text in the picture, line by line, each with its place, its zone and its track.

Two passes, each only when it is due. The frame pass searches the whole picture: overlays, jerseys, banners. The strip
pass searches the board ribbons of `detect_edges`, straightened and enlarged: text of a few pixels, which the frame pass
does not see. Between passes, text whose pixels are still there is carried on. Lines of successive frames that are the
same thing share a track.

Belongs here: settings, documents and the order of work of this node. The engines and the tracking are in
`touchline/ocr/`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from touchline.ahead import map_ahead
from touchline.config import StageConfig
from touchline.geometry import bounds, box_quad, centre, covered_share, flat, inside, line_height, quad_from
from touchline.ocr.engine import OcrEngine
from touchline.ocr.persistence import Line, Persistence, RibbonsRead
from touchline.ocr.tracks import Tracker, same_place
from touchline.values import Box, Chunk, FrameEdges, FrameObjects, Image, Quad, Reading, SceneFrame, Zone
from touchline.vision.strips import board_height, enlargement, rectify, ribbons

VERSION: Final = "3"
PEOPLE: Final = frozenset({"person", "player", "goalkeeper", "referee"})
"""Labels of an object detector under which somebody wears a jersey."""
CHEST: Final = (0.12, 0.62)
"""Where a jersey's front is in a person's box, share of its height from the top; down to the picture's lower edge for
somebody whom it cuts off."""


class RunOcrConfig(StageConfig):
    """Settings of `run_ocr`."""

    engine: Literal["rapidocr", "doctr"] = Field("rapidocr", description="OCR engine [rapidocr or doctr]")
    min_confidence: float = Field(0.4, ge=0, le=1, description="Readings less sure are dropped [0-1, recogniser's own]")
    min_height: float = Field(5.0, ge=1, description="Lines lower than this are not read [pixels of the stored frame]")
    strips: bool = Field(True, description="Search the straightened board ribbons [yes or no]")
    frame_interval: float = Field(
        1.0,
        ge=0,
        description="Within a shot, search the whole frame no more often than this [seconds]; 0 is every frame",
    )
    reread_share: float = Field(
        0.12,
        ge=0,
        le=1,
        description="Ribbons are read again when this share of them is new or changed [0-1]; 0 is every frame",
    )
    reread_interval: float = Field(
        1.0, ge=0, description="Ribbons that do not change are read again after this time [seconds]"
    )
    reread_below: float = Field(
        16.0,
        ge=0,
        description="Ribbons of lower boards are read in every frame, for one reading of small text is often wrong "
        "[pixels of the stored frame]",
    )
    carry: float = Field(
        3.0,
        ge=0,
        description="Text whose pixels are still there is carried on without being read again for so long [seconds]; "
        "0 is never",
    )
    board_margin: float = Field(
        1.0, ge=0, description="Text this far above a board ribbon still counts as on a board [heights of the ribbon]"
    )
    overlay_travel: float = Field(
        24.0,
        ge=0,
        description="Text that stands still while the camera travels this far is an overlay [pixels of the frame]",
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """A kept frame, and what is to be read in it. `gray` is its picture in grey; `shot_starts` in this chunk."""

    scene: SceneFrame
    edge: FrameEdges | None
    image: Image
    gray: NDArray[np.uint8]
    ribbons: Sequence[Quad]
    frame: bool
    strips: bool
    shot_starts: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read in a frame, and the seconds that each pass took."""

    due: _Due
    lines: Sequence[Line]
    frame_s: float
    strip_s: float


class RunOcr:
    """Runs the node. State between chunks: open tracks and counters.

    What is due in a frame depends on the pictures alone, not on what was read before: so frames are read side by side,
    on all cores, and followed from one to the next afterwards.
    """

    def __init__(self, config: RunOcrConfig, engine: OcrEngine, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._engine = engine
        state = state or {}
        self._tracker = Tracker(state.get("tracker"))
        self._counts: dict[str, float] = defaultdict(float, state.get("counts", {}))

    def run_chunk(self, chunk: Chunk) -> Iterable[Reading]:
        """Readings of the chunk's kept frames."""
        objects = {o.sequence: o for o in chunk.of("detect_objects", FrameObjects)}
        readings: list[Reading] = []
        travel: dict[int, _Travel] = defaultdict(_Travel)
        persistence = Persistence(self._config.carry)
        for read in map_ahead(self._read, self._due(chunk), threads=self._engine.parallel):
            scene, edge = read.due.scene, read.due.edge
            people = (
                [o.box for o in objects[scene.sequence].objects if o.label in PEOPLE]
                if scene.sequence in objects
                else []
            )
            if read.due.shot_starts:
                persistence = Persistence(self._config.carry)
            lines = self._lines(read, persistence)
            camera = edge.camera if edge else None
            found = [(line.quad, line.text, line.confidence) for line in lines]
            tracks = self._tracker.step(scene.shot, scene.timestamp, camera, found)
            for track, line in zip(tracks, lines, strict=True):
                quad = line.quad
                zone = self._zone(quad, edge, people, read.due.image.shape[0])
                covered = covered_share(quad, people) if zone == "board" else 0.0
                readings.append(
                    Reading(
                        sequence=scene.sequence,
                        timestamp=scene.timestamp,
                        shot=scene.shot,
                        track=track,
                        text=line.text,
                        confidence=line.confidence,
                        quad=quad,
                        zone=zone,
                        origin=line.origin,
                        unoccluded=1.0 - covered,
                        height_px=line_height(quad),
                    )
                )
                travel[track].add(scene.sequence, quad, camera)
            self._count(read)
        still = {track for track, t in travel.items() if t.stands_still(self._config.overlay_travel)}
        self._counts["readings"] += len(readings)
        return [replace(r, zone="overlay") if r.track in still else r for r in readings]

    def _due(self, chunk: Chunk) -> Iterator[_Due]:
        """The kept frames and what is to be read in each: the whole frame, the ribbons, both or nothing."""
        config = self._config
        edges = {e.sequence: e for e in chunk.of("detect_edges", FrameEdges)}
        shot = -1
        frame_at = strips_at = -1e9
        ribbons_read = RibbonsRead()
        for scene in chunk.of("filter_scenes", SceneFrame):
            if not scene.kept:
                continue
            edge = edges.get(scene.sequence)
            image = chunk.load(scene.sequence)
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8)
            now, starts = scene.timestamp, scene.shot != shot
            if starts:
                shot, frame_at, strips_at, ribbons_read = scene.shot, -1e9, -1e9, RibbonsRead()
            ribbons_read.move(edge.camera if edge else None)
            standing = ribbons(edge.boards) if edge and config.strips else []
            frame = now - frame_at >= config.frame_interval - 1e-6
            strips = bool(standing) and (
                now - strips_at >= config.reread_interval - 1e-6
                or board_height(edge.boards if edge else ()) < config.reread_below
                or ribbons_read.new_share(gray, standing) >= config.reread_share
            )
            if frame:
                frame_at = now
            if strips:
                strips_at = now
                ribbons_read.remember(gray)
            yield _Due(scene, edge, image, gray, standing, frame, strips, starts)

    def _read(self, due: _Due) -> _Read:
        """Reads what is due. Called from several threads at once."""
        began = time.perf_counter()
        lines = self._frame_pass(due) if due.frame else []
        between = time.perf_counter()
        lines += self._strip_pass(due) if due.strips else []
        return _Read(due, lines, between - began, time.perf_counter() - between)

    def _frame_pass(self, due: _Due) -> list[Line]:
        """Everything but the ribbons, which the strip pass reads."""
        found = self._engine.read_image(due.image, ignore=due.ribbons)
        return [Line(line.quad, line.text, line.confidence, "frame", due.scene.timestamp) for line in found]

    def _strip_pass(self, due: _Due) -> list[Line]:
        """The ribbons, straightened and enlarged."""
        scale = enlargement(due.edge.boards if due.edge else ())
        found = []
        for quad in due.ribbons:
            strip = rectify(due.image, quad, scale)
            for line in self._engine.read_ribbon(strip.image):
                placed = strip.quad_in_frame(line.quad)
                found.append(Line(placed, line.text, line.confidence, "strip", due.scene.timestamp))
        return found

    def _lines(self, read: _Read, persistence: Persistence) -> list[Line]:
        """Lines of one frame: what was read in it, and those of the frame before that are still there."""
        due, config = read.due, self._config
        followed = persistence.follow(due.gray, due.edge.camera if due.edge else None, due.scene.timestamp)
        new = [
            line
            for line in read.lines
            if line.confidence >= config.min_confidence and line_height(line.quad) >= config.min_height
        ]
        lines = new + [old for old in followed if not any(same_place(old.quad, line.quad) for line in new)]
        persistence.remember(due.gray, lines)
        return lines

    def _count(self, read: _Read) -> None:
        due = read.due
        self._counts["frames"] += 1
        self._counts["frame_passes"] += due.frame
        self._counts["frame_pass_s"] += read.frame_s
        self._counts["strips"] += len(due.ribbons) if due.strips else 0
        self._counts["strip_pass_s"] += read.strip_s

    def _zone(self, quad: Quad, edge: FrameEdges | None, people: Sequence[Box], height: int) -> Zone:
        point = centre(quad)
        if edge and any(inside(point, box_quad(_grown(o.box, 4.0))) for o in edge.overlays):
            return "overlay"
        x1, _, x2, _ = bounds(quad)
        for left, top, right, bottom in people:
            upper = top + CHEST[0] * (bottom - top)
            lower = bottom if bottom >= height - 2 else top + CHEST[1] * (bottom - top)
            if left <= point[0] <= right and upper <= point[1] <= lower and x2 - x1 <= 1.1 * (right - left):
                return "jersey"
        if edge:
            for tl, tr, br, bl in ribbons(edge.boards):
                lift = self._config.board_margin * (bl[1] - tl[1] + br[1] - tr[1]) / 2
                if inside(point, ((tl[0], tl[1] - lift), (tr[0], tr[1] - lift), br, bl)):
                    return "board"
        return "other"

    def state(self) -> dict[str, Any]:
        """Open tracks and counters."""
        return {
            "tracker": self._tracker.state(),
            "counts": dict(self._counts),
        }

    def stats(self) -> dict[str, Any]:
        """Frames, passes, strips and readings; seconds that each pass took, of all threads; the engine's identity."""
        counts = {key: (round(value, 3) if key.endswith("_s") else int(value)) for key, value in self._counts.items()}
        return {"engine": self._engine.identity, **counts}


class _Travel:
    """How far a track's text moved in the picture, against how far the camera moved meanwhile."""

    def __init__(self) -> None:
        self._frames: set[int] = set()
        self._first: Quad | None = None
        self._moved = 0.0
        self._camera = 0.0

    def add(self, sequence: int, quad: Quad, camera: tuple[float, ...] | None) -> None:
        if self._first is None:
            self._first = quad
        elif sequence not in self._frames and camera is not None:
            self._camera += abs(camera[2]) + abs(camera[5])
        (x, y), (x0, y0) = centre(quad), centre(self._first)
        self._moved = max(self._moved, (abs(x - x0) + abs(y - y0)) / max(8.0, line_height(self._first)))
        self._frames.add(sequence)

    def stands_still(self, travel: float) -> bool:
        """At least three frames, a camera that travelled, and text that moved less than a quarter of its height."""
        return len(self._frames) >= 3 and travel > 0 and self._camera >= travel and self._moved <= 0.25


def _grown(box: Box, by: float) -> Box:
    return (box[0] - by, box[1] - by, box[2] + by, box[3] + by)


def serialize(document: Reading) -> dict[str, Any]:
    """One reading as a BSON-able document."""
    return {
        "sequence": document.sequence,
        "timestamp": document.timestamp,
        "shot": document.shot,
        "track": document.track,
        "text": document.text,
        "confidence": document.confidence,
        "quad": flat(document.quad),
        "zone": document.zone,
        "origin": document.origin,
        "unoccluded": document.unoccluded,
        "height_px": document.height_px,
    }


def deserialize(document: dict[str, Any]) -> Reading:
    """The reading that `serialize` wrote."""
    return Reading(**{**document, "quad": quad_from(document["quad"])})
