"""Node 4, `run_ocr`: reads the text in the picture, line by line, each with its place, zone and track.

There are two searches, at intervals of their own. One searches the whole picture: overlays, jerseys, banners. The other
searches the rectified strips of the board rows that `detect_edges` found: text of a few pixels, which the first misses.
Lines are read, and propagated by template matching to frames that were not searched, forwards and backwards. Lines of
the same text in successive frames share a track, and all lines of a track have one zone.

Belongs here: settings, documents and the order of work of this node: which frames are searched, and where. Engines,
propagation and tracking are in `touchline/ocr/`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from touchline.brands.scripts import scripts_of
from touchline.config import FORMERLY, PLUGIN, StageConfig
from touchline.geometry import bounds, covered_share, ends_inside, flat, line_height, quad_from
from touchline.machine import in_words
from touchline.ocr.engine import KnowsCharacters, OcrEngine, TextPlace, runtime_of, threads_of
from touchline.ocr.lines import LineReader, Searched
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime
from touchline.ocr.persistence import Line, StripsSearched
from touchline.ocr.tracks import Tracker
from touchline.ocr.zones import Travel, ZoneVotes, zone_of
from touchline.parallel import map_ahead
from touchline.plugins import OCR_ENGINES
from touchline.values import Box, Chunk, FrameEdges, FrameObjects, Image, Origin, Quad, Reading, SceneFrame, Zone
from touchline.vision.detector import PEOPLE
from touchline.vision.pitch import find_pitch
from touchline.vision.strips import TEXT_LINES, StripPart, board_rows, enlargement, parts, rectify

VERSION: Final = "8"
CUT: Final = 0.5
"""Text this near to a cut end of a strip is not whole [heights of the line]."""
LOWEST: Final = 9.0
"""Height of the lowest lines that are sought in a whole frame [pixels of the stored frame]."""
LOWEST_BESIDE_BOARDS: Final = 10.0
"""Height of the lowest lines that are sought in a frame whose board rows are searched separately: other text is larger
[pixels of the stored frame]."""
UNSEEN_S: Final = 1.0
"""A shot's last frame is searched if the last search is this long ago, or half an interval [seconds]."""


class RunOcrConfig(StageConfig):
    """Settings of `run_ocr`."""

    engine: str = Field(
        "rapidocr",
        description="OCR engine, one that is installed [rapidocr, doctr or another's name]",
        json_schema_extra={PLUGIN: OCR_ENGINES.name},
    )
    runtime: Runtime = Field(
        DEFAULT_RUNTIME,
        description="Inference runtime of rapidocr's networks; both compute in 32 bits and differ in rounding alone. "
        "docTR uses PyTorch [onnxruntime or openvino]",
    )
    min_confidence: float = Field(0.4, ge=0, le=1, description="Readings of lower confidence are dropped [0-1]")
    min_height: float = Field(5.0, ge=1, description="Lines lower than this are not read [pixels of the stored frame]")
    strips: bool = Field(True, description="Search the rectified board strips [yes or no]")
    search_interval: float = Field(
        2.0,
        ge=0,
        description="A shot is divided into parts of this length; the sharpest frame of each part and the shot's last "
        "frame are searched for text [seconds]; 0 searches every frame",
    )
    strip_interval: float = Field(
        4.0,
        ge=0,
        description="The same for the board strips, whose small text takes longer to find [seconds]; 0 searches every "
        "frame",
        json_schema_extra={FORMERLY: "ribbon_interval"},
    )
    new_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="In the other frames, the new or changed parts of the board strips are searched if they make up at "
        "least this share of the strips [0-1]; 1 searches only strips that are new throughout",
    )
    max_propagation: float = Field(
        4.0,
        ge=0,
        description="A reading is propagated by template matching, forwards and backwards, for at most this long; then "
        "the text is read again [seconds]; 0 does not propagate",
        json_schema_extra={FORMERLY: "carry"},
    )
    read_interval: float = Field(
        0.0,
        ge=0,
        description="A line that was not read surely is read again after this long, and its readings vote [seconds]; 0 "
        "reads it in every frame",
    )
    board_margin: float = Field(
        1.0, ge=0, description="Text up to this far above a board row counts as on a board [heights of the row]"
    )
    overlay_travel: float = Field(
        24.0,
        ge=0,
        description="Text that is static while the camera moves at least this far is an overlay [pixels of the frame]",
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """A kept frame, and where text is searched in it.

    `frame`: in the whole picture except in `board_rows`; `strips`: in these parts of board rows. `gray` is the picture
    in grey; `shot_starts`: the frame is the first of its shot in this chunk.
    """

    scene: SceneFrame
    edge: FrameEdges | None
    image: Image
    gray: NDArray[np.uint8]
    board_rows: Sequence[Quad]
    frame: bool
    strips: Sequence[StripPart]
    shot_starts: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """The places of text in a frame, and the time of each search [s]. `spare`: found in board rows by the search of the
    whole frame.
    """

    due: _Due
    places: Sequence[tuple[TextPlace, Origin]]
    spare: Sequence[TextPlace]
    frame_s: float
    strip_s: float


class RunOcr:
    """Runs the node. State between chunks: open tracks, the votes on their zones, counters, machines.

    Where text is searched depends on the pictures alone, not on earlier readings. So frames are searched in parallel,
    on all cores; reading and propagation follow from frame to frame.
    """

    def __init__(self, config: RunOcrConfig, engine: OcrEngine, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._engine = engine
        state = state or {}
        self._tracker = Tracker(state.get("tracker"))
        self._zones = ZoneVotes(state.get("zones"))
        self._counts: dict[str, float] = defaultdict(float, state.get("counts", {}))
        self._computed_on: list[str] = list(state.get("computed_on", ()))
        if (here := f"{runtime_of(engine)}: {in_words(threads_of(engine))}") not in self._computed_on:
            self._computed_on.append(here)

    def run_chunk(self, chunk: Chunk) -> Iterable[Reading]:
        """Readings of the chunk's kept frames."""
        objects = {o.sequence: o for o in chunk.of("detect_objects", FrameObjects)}
        readings: list[Reading] = []
        people: dict[int, list[Box]] = {}
        travel: dict[int, Travel] = defaultdict(Travel)
        for scene, edge, height, lines in self._lines(chunk):
            looked_at = objects.get(scene.sequence)
            known = looked_at is not None or not objects
            people[scene.sequence] = here = [o.box for o in looked_at.objects if o.label in PEOPLE] if looked_at else []
            camera = edge.camera if edge else None
            found = [(line.quad, line.text, line.confidence) for line in lines]
            tracks = self._tracker.step(scene.shot, scene.timestamp, camera, found)
            for track, line in zip(tracks, lines, strict=True):
                zone = zone_of(line.quad, edge, here, height, board_margin=self._config.board_margin)
                self._zones.add(track, zone, people_known=known)
                readings += [
                    Reading(
                        sequence=scene.sequence,
                        timestamp=scene.timestamp,
                        shot=scene.shot,
                        track=track,
                        text=text.text,
                        confidence=text.confidence,
                        quad=line.quad,
                        zone=zone,
                        origin=line.origin(scene.timestamp),
                        unoccluded=1.0,
                        height_px=line_height(line.quad),
                    )
                    for text in line.texts
                ]
                travel[track].add(scene.sequence, line.quad, camera)
        static = {track for track, t in travel.items() if t.is_static(self._config.overlay_travel)}
        self._counts["readings"] += len(readings)
        return [self._placed(r, people[r.sequence], r.track in static) for r in readings]

    def _placed(self, reading: Reading, people: Sequence[Box], static: bool) -> Reading:
        """The reading with the zone of its track. People cover text on boards."""
        zone: Zone = "overlay" if static else self._zones.winner(reading.track)
        covered = covered_share(reading.quad, people) if zone == "board" else 0.0
        return replace(reading, zone=zone, unoccluded=1.0 - covered)

    def _lines(self, chunk: Chunk) -> list[tuple[SceneFrame, FrameEdges | None, int, list[Line]]]:
        """Each kept frame with its height [pixels] and its lines. Pictures are freed as reading proceeds."""
        config, threads = self._config, threads_of(self._engine)
        frames = []
        with ThreadPoolExecutor(threads, thread_name_prefix="ocr") as pool:
            reader = LineReader(
                self._engine,
                pool,
                carry_s=config.max_propagation,
                read_s=config.read_interval,
                min_confidence=config.min_confidence,
                min_height=config.min_height,
            )
            for found in map_ahead(self._find, self._due(chunk), threads=threads, pool=pool):
                due = found.due
                camera = due.edge.camera if due.edge else None
                began = time.perf_counter()
                lines = reader.read(
                    Searched(
                        due.scene.timestamp, due.image, due.gray, camera, due.shot_starts, found.places, found.spare
                    )
                )
                self._count(found, time.perf_counter() - began)
                frames.append((due.scene, due.edge, due.image.shape[0], lines))
        self._counts["lines_read"] += reader.readings
        return frames

    def _due(self, chunk: Chunk) -> Iterator[_Due]:
        """The kept frames, and where each is searched: in the whole frame, in strips, in both or nowhere."""
        config = self._config
        edges = {e.sequence: e for e in chunk.of("detect_edges", FrameEdges)}
        kept = [scene for scene in chunk.of("filter_scenes", SceneFrame) if scene.kept]
        chosen = chosen_frames(kept, config.search_interval)
        strips_chosen = chosen_frames(kept, config.strip_interval)
        shot = -1
        searched = StripsSearched()
        for scene in kept:
            edge = edges.get(scene.sequence)
            image = chunk.load(scene.sequence)
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8)
            starts = scene.shot != shot
            if starts:
                shot, searched = scene.shot, StripsSearched()
            searched.move(edge.camera if edge else None)
            rows = board_rows(edge.boards) if edge and config.strips else []
            due = scene.sequence in strips_chosen
            strips = [StripPart(quad) for quad in rows] if due else self._new(searched, gray, rows)
            if strips:
                searched.remember(gray)
            yield _Due(scene, edge, image, gray, rows, scene.sequence in chosen, strips, starts)

    def _new(self, searched: StripsSearched, gray: NDArray[np.uint8], rows: Sequence[Quad]) -> list[StripPart]:
        """The parts of the board rows that are new since the last search, if they make up `new_share` of them."""
        cells = searched.new_cells(gray, rows)
        new, number = sum(int(c.sum()) for c in cells), sum(c.size for c in cells)
        if new == 0 or new < self._config.new_share * number:
            return []
        return [part for quad, here in zip(rows, cells, strict=True) for part in parts(quad, here)]

    def _find(self, due: _Due) -> _Found:
        """Searches a frame. Called from several threads at once."""
        began = time.perf_counter()
        places: list[tuple[TextPlace, Origin]] = []
        spare: list[TextPlace] = []
        overlays = [overlay.box for overlay in due.edge.overlays] if due.edge else []
        rows = rows_with_text(due.image, overlays) if due.frame else None
        if rows is not None:
            # Board rows are searched by themselves, which finds smaller text and knows better where it ends.
            for place in self._engine.find(due.image, rows, LOWEST_BESIDE_BOARDS if due.board_rows else LOWEST):
                if any(ends_inside(place.quad, row) for row in due.board_rows):
                    spare.append(place)
                else:
                    places.append((place, "frame"))
        between = time.perf_counter()
        scale = enlargement(due.edge.boards if due.edge else ())
        for part in due.strips:
            strip = rectify(due.image, part.quad, scale)
            for place in self._engine.find(strip.image, target_height=TEXT_LINES):
                left, _, right, _ = bounds(place.quad)
                margin = CUT * line_height(place.quad)
                if (part.left_open and left < margin) or (part.right_open and right > strip.image.shape[1] - margin):
                    continue
                places.append((place.mapped(strip.to_frame), "strip"))
        return _Found(due, places, spare, between - began, time.perf_counter() - between)

    def _count(self, found: _Found, read_s: float) -> None:
        due = found.due
        self._counts["frames"] += 1
        self._counts["frames_searched"] += due.frame
        self._counts["frame_search_s"] += found.frame_s
        self._counts["strips_searched"] += len(due.strips)
        self._counts["strip_search_s"] += found.strip_s
        self._counts["read_s"] += read_s

    def state(self) -> dict[str, Any]:
        """Open tracks with their votes, counters, and on which machines it worked."""
        return {
            "tracker": self._tracker.state(),
            "zones": self._zones.state(self._tracker.open),
            "counts": dict(self._counts),
            "computed_on": self._computed_on,
        }

    def stats(self) -> dict[str, Any]:
        """Frames, searches, lines read and readings; seconds of searching (of all threads) and reading; the engine.

        `computed_on`: runtime, precision, processor, threads and instructions; several if a job was resumed on another
        machine. `scripts`: those that the engine reads; empty if unknown.
        """
        counts = {key: (round(value, 3) if key.endswith("_s") else int(value)) for key, value in self._counts.items()}
        known = self._engine.characters if isinstance(self._engine, KnowsCharacters) else ()
        computed = {"engine": self._engine.identity, "computed_on": "; ".join(self._computed_on)}
        return {**computed, "scripts": scripts_of(known), **counts}


def chosen_frames(scenes: Sequence[SceneFrame], interval_s: float) -> set[int]:
    """The sequences of the sharpest frame of each part of `interval_s` of each shot, and of the shot's last frame.

    Text that appears between two searches is propagated backwards from the second one. After the last search it would
    be missed.
    """
    best: dict[tuple[int, int], SceneFrame] = {}
    starts: dict[int, float] = {}
    last: dict[int, SceneFrame] = {}
    for scene in scenes:
        since = scene.timestamp - starts.setdefault(scene.shot, scene.timestamp)
        stretch = (scene.shot, int(since / interval_s + 1e-6) if interval_s > 0 else scene.sequence)
        if stretch not in best or scene.sharpness > best[stretch].sharpness:
            best[stretch] = scene
        last[scene.shot] = scene
    chosen = {scene.sequence for scene in best.values()}
    for (shot, _), scene in best.items():
        # The later ones of a shot overwrite what the earlier ones said.
        starts[shot] = scene.timestamp
    ends = (scene for shot, scene in last.items() if scene.timestamp - starts[shot] >= min(interval_s / 2, UNSEEN_S))
    return chosen | {scene.sequence for scene in ends}


def rows_with_text(image: Image, overlays: Sequence[Box] = ()) -> tuple[int, int] | None:
    """First and last row of a picture (BGR) between which there may be text; none if there is none.

    Rows of grass alone are left out, unless there is a large graphic or one of the `overlays` (boxes, pixels).
    """
    height = image.shape[0]
    top, bottom = (share * height for share in find_pitch(image).rows_beside())
    spans = [(top, bottom), *((box[1], box[3]) for box in overlays)]
    spans = [(first, last) for first, last in spans if last > first]
    if not spans:
        return None
    return max(0, round(min(first for first, _ in spans))), min(height, round(max(last for _, last in spans)))


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
