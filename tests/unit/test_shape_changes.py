"""A picture that changes its shape in the middle: nothing breaks, and what is found lies where it is in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import bson
import cv2
import numpy as np
import pytest

from detection_assets.execution.debug_pictures import drawn
from detection_assets.metadata.pictures import findings
from tests.unit.test_extract_frames import marked
from tests.unit.test_report import candidate, scene
from touchline.brands import BrandBook, BrandEntry
from touchline.ocr.registry import load_engine
from touchline.report import SourceFacts
from touchline.report.model import Report
from touchline.stages.brand_report import build_report
from touchline.stages.detect_edges import DetectEdges, DetectEdgesConfig
from touchline.stages.filter_scenes import FilterScenes, FilterScenesConfig
from touchline.stages.match_brands import MatchBrands, MatchBrandsConfig
from touchline.stages.run_ocr import RunOcr, RunOcrConfig
from touchline.synthetic import CLIP, Broadcast
from touchline.values import BrandDetection, Chunk, FrameEdges, Image, Reading, SampledFrame, SceneFrame
from touchline.vision.motion import camera_motion

SIZES = [(960, 540)] * 3 + [(720, 576)] * 3 + [(480, 270)] * 2
"""As a channel that switches to SD and on to a smaller picture of the first shape."""


def resized(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def chunk_of(images: Sequence[Image], first: int = 0, **documents: Sequence[Any]) -> Chunk:
    frames = tuple(
        SampledFrame(first + i, 0, (first + i) / 2, first + i, (1, 2), image.shape[1], image.shape[0], "", "", 0)
        for i, image in enumerate(images)
    )
    return Chunk(0, frames, lambda sequence, lines=None: images[sequence - first], documents)


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """One shot of a slow pan, sampled twice a second, in three sizes."""
    broadcast = Broadcast(CLIP)
    return [resized(broadcast.frame(round(i * CLIP.fps / 2)).image, size) for i, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def scenes(pictures: list[Image]) -> list[SceneFrame]:
    return FilterScenes(FilterScenesConfig()).run_chunk(chunk_of(pictures))


@pytest.fixture(scope="module")
def edges(pictures: list[Image], scenes: list[SceneFrame]) -> list[FrameEdges]:
    return list(DetectEdges(DetectEdgesConfig()).run_chunk(chunk_of(pictures, filter_scenes=scenes)))


@pytest.fixture(scope="module")
def readings(pictures: list[Image], scenes: list[SceneFrame], edges: list[FrameEdges]) -> list[Reading]:
    chunk = chunk_of(pictures, filter_scenes=scenes, detect_edges=edges)
    return list(RunOcr(RunOcrConfig(), load_engine("rapidocr")).run_chunk(chunk))


def test_each_change_of_the_size_begins_a_shot(scenes: list[SceneFrame]) -> None:
    assert [scene.shot for scene in scenes] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_a_change_of_the_size_between_chunks_begins_a_shot_after_an_interruption(pictures: list[Image]) -> None:
    config = FilterScenesConfig()
    for at in range(1, len(pictures)):
        before = FilterScenes(config)
        shots = [scene.shot for scene in before.run_chunk(chunk_of(pictures[:at]))]
        after = FilterScenes(config, bson.decode(bson.encode(before.state())))
        shots += [scene.shot for scene in after.run_chunk(chunk_of(pictures[at:], at))]
        assert shots == [0, 0, 0, 1, 1, 1, 2, 2]


def test_the_camera_is_followed_within_a_size_and_lost_between_two(edges: list[FrameEdges]) -> None:
    assert [edge.camera is None for edge in edges] == [True, False, False, True, False, False, True, False]
    grey = [cv2.cvtColor(marked(width, 360), cv2.COLOR_BGR2GRAY).astype(np.uint8) for width in (640, 450)]
    assert camera_motion(grey[0], grey[1], 360) is None


def test_words_are_read_in_every_size_and_lie_inside_the_picture(readings: list[Reading]) -> None:
    for sequence, (width, height) in enumerate(SIZES):
        here = [reading for reading in readings if reading.sequence == sequence]
        assert here, f"nothing read at {width} x {height}"
        assert all(-9 <= x <= width + 9 and -9 <= y <= height + 9 for reading in here for x, y in reading.quad)
    shots = {track: {r.shot for r in readings if r.track == track} for track in {r.track for r in readings}}
    assert all(len(of_one) == 1 for of_one in shots.values())


def test_an_overlay_has_its_place_in_each_size(pictures: list[Image]) -> None:
    rng = np.random.default_rng(5)
    images = []
    for size in [(960, 540)] * 8 + [(640, 480)] * 8:
        moving = cv2.resize(rng.integers(0, 255, (27, 48, 3), dtype=np.uint8), size, interpolation=cv2.INTER_NEAREST)
        width, height = size
        bug = moving[height // 10 : height // 5, width // 10 : width // 4]
        bug[:] = 20
        cv2.putText(
            moving, "1-0 45:00", (width // 10 + 4, height // 5 - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255,) * 3, 2
        )
        images.append(np.asarray(moving, np.uint8))
    scenes = [scene(i, shot=i) for i in range(len(images))]
    found = list(DetectEdges(DetectEdgesConfig()).run_chunk(chunk_of(images, filter_scenes=scenes)))
    for edge, image in zip(found, images, strict=True):
        height, width = image.shape[:2]
        assert edge.overlays
        for overlay in edge.overlays:
            x1, y1, x2, y2 = overlay.box
            assert 0.05 * width < x1 < x2 < 0.4 * width and 0.05 * height < y1 < y2 < 0.25 * height


def report_of(pictures: Sequence[Image], scenes: Sequence[SceneFrame], documents: Sequence[Any]) -> Report:
    return build_report(
        source=SourceFacts("a-match-1", "league/A match.ts", len(pictures) / 2, 2.0, 25.0, "h264", False),
        job_id="00000000-0000-0000-0000-000000000001",
        profile="soccer_broadcast",
        frames=chunk_of(pictures).frames,
        scenes=scenes,
        documents=documents,
        load=lambda sequence: pictures[sequence],
    )


def test_brands_of_all_sizes_reach_the_report_and_the_change_is_told(
    pictures: list[Image], scenes: list[SceneFrame], readings: list[Reading]
) -> None:
    book = BrandBook.from_entries([BrandEntry.of(name, ()) for name in ("Qatar Airways", "Pepsi", "Heineken")])
    chunk = chunk_of(pictures, filter_scenes=scenes, run_ocr=readings)
    documents = list(MatchBrands(MatchBrandsConfig(), book).run_chunk(chunk))
    report = report_of(pictures, scenes, documents)
    assert {d.shot for d in documents if isinstance(d, BrandDetection)} == {0, 1, 2}
    assert (report.media["width"], report.media["height"]) == (960, 540)
    assert report.cuts == [1.25, 2.75]
    (warning,) = (one for one in report.warnings if "changes its size" in one)
    assert "960 x 540 px from 0.00 s, 720 x 576 px from 1.50 s, 480 x 270 px from 3.00 s" in warning
    assert findings("extract_frames", chunk.frames, lambda sequence: pictures[sequence])["picture"]


def test_many_changes_are_counted_rather_than_listed_and_none_is_no_warning() -> None:
    images = [marked(*size) for _ in range(5) for size in ((96, 64), (64, 64))]
    scenes = [scene(i, shot=i) for i in range(10)]
    (warning,) = report_of(images, scenes, [candidate("LOGO", [1])]).warnings
    assert "and 6 more" in warning
    assert report_of(images[::2], scenes[:5], []).warnings == []
    assert all(a.shape != b.shape for a, b in pairwise(images))


@pytest.mark.parametrize("size", [(1920, 1), (1920, 26), (32, 1920), (1, 300), (540, 960)])
def test_a_picture_of_any_shape_can_be_drawn_on(size: tuple[int, int]) -> None:
    picture = cv2.imdecode(np.frombuffer(drawn(marked(*size), scene(0), []), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape[1] >= min(1280, size[0])
