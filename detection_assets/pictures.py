"""What a materialization shows: a table of what was found and one frame with it drawn in.

Belongs here: small pictures and tables for Dagster's event log, which keeps them for ever: a picture is 20 KB at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import cv2
import dagster as dg
import numpy as np

from touchline.crops import data_uri, jpeg_within
from touchline.geometry import bounds, box_quad
from touchline.values import (
    BrandDetection,
    FrameEdges,
    FrameObjects,
    Image,
    Quad,
    Reading,
    SampledFrame,
    SceneFrame,
)

MAX_BYTES: Final = 15_000
"""Of the JPEG; base64 makes it a third larger."""
WIDTH: Final = 640
COLOURS: Final = {"board": (0, 140, 255), "jersey": (255, 120, 0), "overlay": (200, 0, 200), "other": (0, 220, 220)}
ROWS: Final = 20

Mark = tuple[Quad, str, tuple[int, int, int]]


def findings(stage: str, documents: Iterable[Any], load: Callable[[int], Image]) -> dict[str, Any]:
    """Metadata for one materialization: `picture` (the frame with most found, or a contact sheet) and `found`.

    Of brands there is a table alone.
    """
    if stage in ("extract_frames", "filter_scenes"):
        return _sheet(documents, load)
    table: Counter[str] = Counter()
    best: tuple[int, list[Mark]] = (-1, [])
    current: tuple[int, list[Mark]] = (-1, [])
    for document in documents:
        sequence, marks, names = _marks(document)
        table.update(names)
        if sequence is None:
            continue
        current = (sequence, [*current[1], *marks] if sequence == current[0] else marks)
        if len(current[1]) > len(best[1]) or best[0] < 0:
            best = current
    metadata: dict[str, Any] = {}
    if best[0] >= 0 and best[1]:
        metadata["picture"] = _markdown_picture(annotated(load(best[0]), best[1]), f"frame {best[0]}")
    if table:
        metadata["found"] = _table(table)
    return metadata


def annotated(image: Image, marks: Sequence[Mark], *, width: int | None = None) -> Image:
    """A copy of a frame (BGR) with quads and their labels drawn in, `width` pixels wide (none: at most 640)."""
    scale = min(1.0, WIDTH / image.shape[1]) if width is None else width / image.shape[1]
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=resample).astype(np.uint8)
    size = 0.35 * max(1.0, small.shape[1] / 1280)
    for quad, label, colour in marks:
        cv2.polylines(small, [np.array(np.multiply(quad, scale), np.int32)], True, colour, 1, cv2.LINE_AA)
        if label:
            x, y, _, _ = bounds(quad)
            # Hershey fonts hold ASCII alone.
            text = label.encode("ascii", "replace").decode()[:28]
            write(small, text, (int(x * scale), max(8, int(y * scale) - 2)), colour, size=size)
    return small


def write(picture: Image, text: str, spot: tuple[int, int], colour: tuple[int, int, int], *, size: float) -> None:
    """Draws ASCII text into a picture, its lower left corner at `spot`, edged with black."""
    # Not drawn thicker for the edge: OpenCV 5 sets thicker letters wider apart.
    for dx, dy, ink in ((-1, 0, (0, 0, 0)), (1, 0, (0, 0, 0)), (0, -1, (0, 0, 0)), (0, 1, (0, 0, 0)), (0, 0, colour)):
        cv2.putText(picture, text, (spot[0] + dx, spot[1] + dy), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def _marks(document: Any) -> tuple[int | None, list[Mark], list[str]]:
    """The frame a document belongs to, what to draw there, and what to count."""
    match document:
        case FrameEdges():
            marks: list[Mark] = [(b.quad, f"{b.confidence:.2f}", COLOURS["board"]) for b in document.boards]
            marks += [(box_quad(o.box), "overlay", COLOURS["overlay"]) for o in document.overlays]
            return document.sequence, marks, ["board"] * len(document.boards)
        case FrameObjects():
            marks = [(box_quad(o.box), o.label, COLOURS["jersey"]) for o in document.objects]
            return document.sequence, marks, [o.label for o in document.objects]
        case Reading():
            return document.sequence, [(document.quad, document.text, COLOURS[document.zone])], [document.text]
        case BrandDetection():
            # From matching on a replay needs no frame; the report, which cuts out evidence, has the pictures.
            return None, [], [f"{document.brand_name} ({document.zone})"]
        case _:
            return None, [], []


def _sheet(documents: Iterable[Any], load: Callable[[int], Image]) -> dict[str, Any]:
    """A contact sheet of eight frames, evenly spread; for scenes, the first frames of shots."""
    sequences: list[int] = []
    dropped: Counter[str] = Counter()
    shots: dict[int, int] = {}
    for document in documents:
        if isinstance(document, SampledFrame):
            sequences.append(document.sequence)
        elif isinstance(document, SceneFrame):
            dropped[document.reason or "kept"] += 1
            if document.kept:
                shots.setdefault(document.shot, document.sequence)
    sequences = sequences or list(shots.values())
    metadata: dict[str, Any] = {"found": _table(dropped)} if dropped else {}
    if sequences:
        chosen = sorted({sequences[i] for i in np.linspace(0, len(sequences) - 1, 8).astype(int)})
        tiles = [cv2.resize(load(s), (160, 90), interpolation=cv2.INTER_AREA).astype(np.uint8) for s in chosen]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 4)
        sheet = np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)]).astype(np.uint8)
        metadata["picture"] = _markdown_picture(sheet, f"frames {', '.join(map(str, chosen))}")
    return metadata


def _markdown_picture(image: Image, alt: str) -> dg.MarkdownMetadataValue:
    return picture(data_uri(jpeg_within(image, MAX_BYTES)), alt)


def picture(uri: str, alt: str) -> dg.MarkdownMetadataValue:
    """A picture given as a `data:` URI, with its description below it."""
    return dg.MetadataValue.md(f"![{alt}]({uri})\n\n{alt}")


def _table(counts: Counter[str]) -> dg.MarkdownMetadataValue:
    rows = [f"| {_cell(name)} | {number} |" for name, number in counts.most_common(ROWS)]
    rest = len(counts) - ROWS
    if rest > 0:
        rows.append(f"| and {rest} more | |")
    return dg.MetadataValue.md("| found | times |\n|---|---|\n" + "\n".join(rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:80]
