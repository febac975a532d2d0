"""A picture and a table of detections for a stage's materialization.

Belongs here: pictures and tables for Dagster's event log, which keeps them forever. A picture has 30 kB at most.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import cv2
import dagster as dg
import numpy as np

from detection_assets.metadata.labels import BRAND, COLOURS, Mark, annotated, write
from detection_assets.metadata.markdown import pictured, sentence, table
from touchline.errors import CheckpointError, ServiceError, TouchlineError
from touchline.geometry import bounds, box_quad
from touchline.values import BrandDetection, FrameEdges, FrameObjects, Image, Reading, SampledFrame, SceneFrame

MAX_BYTES: Final = 30_000
"""Most bytes of a WebP; base64 makes it a third larger."""
WIDTH: Final = 1100
"""Width of pictures [px]. At 640 px the text on boards is not legible."""
QUALITIES: Final = (74, 58)
"""WebP qualities to try, first on the picture, then with a blurred background, then on smaller pictures."""
MARGIN: Final = 6
"""Margin around a mark that stays sharp where the background is blurred [px]."""
MOST_LABELS: Final = 16
"""Most labels in one picture; the marks with the highest weights get them."""
TILES: Final = (4, 2)
"""Columns and rows of a contact sheet."""
ROWS: Final = 20
"""Most rows of a table."""
LONGEST: Final = 80
"""Most characters of a detection's name in a table."""

Weighed = tuple[float, Mark]
"""A mark and its weight in the choice of the frame to show, 0..1. Marks in overlays have low weights."""


def findings(stage: str, documents: Iterable[Any], load: Callable[[int], Image]) -> dict[str, Any]:
    """Metadata of one materialization: `picture` (the frame with the most detections, or a contact sheet), and the
    tables `found` and `overlays_and_numbers`.

    If the frame cannot be read, `picture` gives the reason.
    """
    if stage in ("extract_frames", "filter_scenes"):
        return _sheet(documents, load)
    tables: dict[str, Counter[str]] = {"found": Counter(), "overlays_and_numbers": Counter()}
    best: tuple[int, list[Weighed]] = (-1, [])
    current: tuple[int, list[Weighed]] = (-1, [])
    for document in documents:
        sequence, marks, names = _marks(document, escalated=stage.startswith("escalate"))
        for kind, name in names:
            tables[kind][name] += 1
        if sequence is None:
            continue
        current = (sequence, [*current[1], *marks] if sequence == current[0] else marks)
        if sum(weight for weight, _ in current[1]) > sum(weight for weight, _ in best[1]):
            best = current
    metadata: dict[str, Any] = {}
    if best[1]:
        ranked = [mark for _, mark in sorted(best[1], key=lambda one: -one[0])]
        shown = [mark if n < MOST_LABELS else (mark[0], "", mark[2]) for n, mark in enumerate(ranked)]
        metadata["picture"] = _pictured(lambda: _drawn(load(best[0]), shown), f"frame {best[0]}")
    return metadata | {kind: _table(names) for kind, names in tables.items() if names}


def _pictured(make: Callable[[], str], alt: str) -> dg.MarkdownMetadataValue:
    """A picture, or the reason why there is none: a missing picture does not fail the stage."""
    try:
        return pictured(make(), alt)
    except (CheckpointError, ServiceError) as error:
        return sentence(f"no picture of {alt}: {error}")


def _drawn(image: Image, marks: Sequence[Mark]) -> str:
    """The part of a frame that contains the marks, with the marks drawn in, as a `data:` URI."""
    part, (left, top) = _part(image, [bounds(quad) for quad, _, _ in marks])
    moved: list[Mark] = []
    for (a, b, c, d), label, colour in marks:
        a, b, c, d = ((x - left, y - top) for x, y in (a, b, c, d))
        moved.append(((a, b, c, d), label, colour))
    soft = _blurred(part, [bounds(quad) for quad, _, _ in moved])
    return web_picture(annotated(part, moved, width=WIDTH), annotated(soft, moved, width=WIDTH))


def _part(image: Image, boxes: Sequence[tuple[float, float, float, float]]) -> tuple[Image, tuple[int, int]]:
    """The part of a frame that contains all boxes (x1, y1, x2, y2 [px]) with room for labels, at least half as wide as
    the frame, and the (x, y) of its top left corner [px].
    """
    height, width = image.shape[:2]
    room = height // 12
    left, right = min(box[0] for box in boxes) - room, max(box[2] for box in boxes) + room
    top, bottom = min(box[1] for box in boxes) - room, max(box[3] for box in boxes) + room
    wide, high = min(width, max(right - left, width / 2)), min(height, max(bottom - top, height / 2))
    x = int(min(max(0, (left + right - wide) / 2), width - wide))
    y = int(min(max(0, (top + bottom - high) / 2), height - high))
    return image[y : y + int(high), x : x + int(wide)], (x, y)


def web_picture(*images: Image, max_bytes: int = MAX_BYTES) -> str:
    """The first of these BGR pictures that fits into `max_bytes` as WebP, as a `data:` URI.

    Each is tried at all QUALITIES; then the last one is made smaller until it fits.
    """
    tries = list(images)
    while True:
        for one in tries:
            for quality in QUALITIES:
                done, data = cv2.imencode(".webp", one, [cv2.IMWRITE_WEBP_QUALITY, quality])
                if not done:
                    raise TouchlineError("a picture could not be encoded as WebP")
                if data.size <= max_bytes:
                    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")
        height, width = tries[-1].shape[:2]
        size = (max(1, width * 4 // 5), max(1, height * 4 // 5))
        tries = [cv2.resize(tries[-1], size, interpolation=cv2.INTER_AREA).astype(np.uint8)]


def _blurred(image: Image, marked: Sequence[tuple[float, float, float, float]]) -> Image:
    """The picture, blurred outside the marked boxes (x1, y1, x2, y2 [px])."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    for x1, y1, x2, y2 in marked:
        part = (slice(max(0, int(y1) - MARGIN), int(y2) + MARGIN), slice(max(0, int(x1) - MARGIN), int(x2) + MARGIN))
        soft[part] = image[part]
    return soft


def _marks(document: Any, *, escalated: bool) -> tuple[int | None, list[Weighed], list[tuple[str, str]]]:
    """A document's frame, the marks to draw there, and the (table, name) pairs to count."""
    match document:
        case FrameEdges():
            boards = document.boards
            marks = [(b.confidence, (b.quad, f"board {b.confidence:.2f}", COLOURS["board"])) for b in boards]
            marks += [(0.01, (box_quad(o.box), "overlay", COLOURS["overlay"])) for o in document.overlays]
            return document.sequence, marks, [("found", "board")] * len(document.boards)
        case FrameObjects():
            objects = document.objects
            marks = [(o.confidence, (box_quad(o.box), o.label, COLOURS["jersey"])) for o in objects]
            return document.sequence, marks, [("found", o.label) for o in objects]
        case Reading():
            aside = document.zone == "overlay" or not any(c.isalpha() for c in document.text)
            mark = (document.quad, document.text, COLOURS[document.zone])
            weight = document.confidence * (0.01 if aside else 1.0)
            return document.sequence, [(weight, mark)], [("overlays_and_numbers" if aside else "found", document.text)]
        case BrandDetection() if escalated and document.source == "ocr":
            # Passed through unchanged; the picture of `match_brands` shows it.
            return None, [], []
        case BrandDetection():
            weight = document.confidence * (0.1 if document.zone == "overlay" else 1.0)
            name = f"{document.brand_name} ({document.zone})"
            return document.sequence, [(weight, (document.quad, document.brand_name, BRAND))], [("found", name)]
        case _:
            return None, [], []


def _sheet(documents: Iterable[Any], load: Callable[[int], Image]) -> dict[str, Any]:
    """A contact sheet of eight evenly spaced frames; of scenes, the first frames of shots."""
    frames: dict[int, str] = {}
    dropped: Counter[str] = Counter()
    shots: dict[int, tuple[int, str]] = {}
    for document in documents:
        if isinstance(document, SampledFrame):
            frames[document.sequence] = f"{document.timestamp:.1f} s"
        elif isinstance(document, SceneFrame):
            dropped[document.reason or "kept"] += 1
            if document.kept:
                shots.setdefault(
                    document.shot, (document.sequence, f"shot {document.shot}, {document.timestamp:.1f} s")
                )
    frames = frames or dict(shots.values())
    metadata: dict[str, Any] = {}
    if frames:
        columns, rows = TILES
        sequences = list(frames)
        chosen = sorted({sequences[i] for i in np.linspace(0, len(sequences) - 1, columns * rows).astype(int)})

        def sheet() -> str:
            tiles = [_tile(load(sequence), frames[sequence]) for sequence in chosen]
            columns_here = min(columns, len(tiles))
            tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns_here)
            lines = [np.hstack(tiles[i : i + columns_here]) for i in range(0, len(tiles), columns_here)]
            return web_picture(np.vstack(lines).astype(np.uint8))

        metadata["picture"] = _pictured(sheet, f"frames {', '.join(map(str, chosen))}")
    return metadata | ({"found": _table(dropped)} if dropped else {})


def _tile(image: Image, label: str) -> Image:
    """A frame scaled into one tile of a contact sheet, letterboxed, with its label."""
    width = WIDTH // TILES[0]
    height = width * 9 // 16
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    tile = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    write(tile, label, (5, height - 7), (255, 255, 255), size=0.42)
    return tile


def _table(counts: Counter[str]) -> dg.MarkdownMetadataValue:
    rows = [(name[:LONGEST], str(number)) for name, number in counts.most_common(ROWS)]
    rest = len(counts) - ROWS
    if rest > 0:
        rows.append((f"and {rest} more", ""))
    return table(("found", "times"), rows)
