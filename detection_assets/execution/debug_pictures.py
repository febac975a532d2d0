"""Output of `touchline run --debug-pictures`: every kept frame with the stages' detections drawn in.

Belongs here: reading a job's checkpoints in step and naming the files. Labels are drawn by `metadata/labels.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2

from detection_assets.execution.registry import STAGES
from detection_assets.execution.run_stage import DocumentStream, frame_loader, frames_of
from detection_assets.metadata.labels import BRAND, COLOURS, Mark, annotated, plain_ascii, write
from resources.storage import Connection
from touchline.errors import BadInputError, CheckpointError
from touchline.geometry import bounds, box_quad
from touchline.library import repository
from touchline.library.tables import DetectJob
from touchline.report.files import SOURCE_FILE, owner, unwritten, write_files
from touchline.values import BrandDetection, FrameEdges, FrameObjects, Image, Reading, SceneFrame

DRAWN: Final = ("detect_edges", "detect_objects", "run_ocr", "match_brands")
"""Stages whose detections are drawn."""
BOARD: Final = (0, 90, 160)
"""Colour of boards, BGR."""
OBJECT: Final = (160, 160, 160)
"""Colour of objects, BGR."""
LEAST_WIDTH: Final = 1280
"""Least width of a picture [px]. Smaller frames are enlarged to it, so that labels are readable."""
LONGEST: Final = 8192
"""Largest height of an enlarged picture [px]. A JPEG has at most 65,535 lines."""


def write_debug_pictures(connection: Connection, job: DetectJob, directory: Path) -> int:
    """Writes one JPEG per kept frame of a job into `directory`, named by sequence and time. Returns their number.

    Boards of `detect_edges` are brown, objects grey, brands green. Readings are coloured by zone (board orange, jersey
    blue, overlay purple, other yellow) and labelled with track and confidence, in brackets where they were propagated
    from the frame before. Stages that the job did not reach are left out. `source.json` names the source.

    Raises BadInputError for a job without frames or a folder with another source's pictures, CheckpointError for a
    damaged checkpoint, TouchlineError where nothing can be written.
    """
    if (other := owner(directory, SOURCE_FILE)) not in (None, job.partition_key):
        raise BadInputError(f"{directory} holds the pictures of {other or 'something else'}; name another folder")
    with connection.database.session() as session:
        rows = {
            stage: repository.lineage_checkpoint(session, job.id, stage)
            for stage in ("extract_frames", "filter_scenes", *DRAWN)
        }
    frames = rows.pop("extract_frames")
    if frames is None or rows["filter_scenes"] is None:
        raise BadInputError(f"job {job.id} did not reach filter_scenes: it has no frames to draw on")
    whose = {"source": job.partition_key, "video_path": job.video_path, "job_id": str(job.id)}
    _write(directory, SOURCE_FILE, json.dumps(whose, ensure_ascii=False).encode())
    streams = {
        stage: DocumentStream(map(STAGES[stage].module.deserialize, connection.checkpoints.read(row)))
        for stage, row in rows.items()
        if row is not None
    }
    written = 0
    for frame in frames_of(connection, frames):
        found = [document for stream in streams.values() for document in stream.up_to(frame.sequence)]
        scene = next((d for d in found if isinstance(d, SceneFrame)), None)
        if scene is None or not scene.kept:
            continue
        image = frame_loader(connection, lambda frame=frame: [frame])(frame.sequence)  # type: ignore[misc]
        name = f"{frame.sequence:06d}_{frame.timestamp:.2f}s.jpg"
        _write(directory, name, drawn(image, scene, found))
        written += 1
    return written


def _write(directory: Path, name: str, data: bytes) -> None:
    try:
        write_files(directory, {name: data})
    except OSError as error:
        raise unwritten(directory, error) from error


def drawn(image: Image, scene: SceneFrame, found: Sequence[Any]) -> bytes:
    """The frame (BGR) as a JPEG, with the stages' documents and a line of text that names the frame drawn in."""
    width = max(image.shape[1], min(LEAST_WIDTH, LONGEST * image.shape[1] // image.shape[0]))
    picture = annotated(image, [mark for document in found for mark in _marks(document)], width=width)
    scale = width / image.shape[1]
    for document in found:
        if isinstance(document, BrandDetection):
            # Below the quad: the reading's label is above it.
            left, _, _, bottom = bounds(document.quad)
            spot = (int(left * scale), int(bottom * scale) + 12)
            write(picture, plain_ascii(document.brand_name), spot, BRAND, size=0.5)
    footer = f"frame {scene.sequence}  {scene.timestamp:.2f} s  shot {scene.shot}"
    write(picture, footer, (8, picture.shape[0] - 8), (255, 255, 255), size=0.5)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise CheckpointError(f"frame {scene.sequence}: the annotated picture could not be encoded as JPEG")
    return data.tobytes()


def _marks(document: Any) -> Iterator[Mark]:
    match document:
        case FrameEdges():
            for board in document.boards:
                yield board.quad, "", BOARD
            for overlay in document.overlays:
                yield box_quad(overlay.box), "", COLOURS["overlay"]
        case FrameObjects():
            for thing in document.objects:
                yield box_quad(thing.box), thing.label, OBJECT
        case Reading():
            label = f"{document.track}: {plain_ascii(document.text)} {document.confidence:.2f}"
            yield document.quad, f"({label})" if document.origin == "carried" else label, COLOURS[document.zone]
        case BrandDetection():
            yield document.quad, "", BRAND
