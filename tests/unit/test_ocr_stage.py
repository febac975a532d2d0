"""`detect_edges`, `run_ocr` and `match_brands` on the synthetic broadcast: real OCR on real pixels, exact truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rapidfuzz import fuzz

from touchline.brands import BrandBook, BrandEntry
from touchline.geometry import bounds, centre, inside, intersection
from touchline.ocr.engine import OcrEngine
from touchline.ocr.registry import load_engine
from touchline.stages.detect_edges import DetectEdges, DetectEdgesConfig
from touchline.stages.match_brands import MatchBrands, MatchBrandsConfig
from touchline.stages.match_brands import deserialize as match_back
from touchline.stages.match_brands import serialize as match_out
from touchline.stages.run_ocr import RunOcr, RunOcrConfig, chosen_frames, rows_with_text
from touchline.synthetic import DEMO, Broadcast
from touchline.values import (
    BrandDetection,
    Chunk,
    DetectedObject,
    FrameEdges,
    FrameObjects,
    Image,
    Reading,
    SampledFrame,
    SceneFrame,
    UnresolvedCandidate,
)

TIMES = (1.0, 1.5, 2.0, 2.5, 14.0, 14.5)
"""Four frames of the wide shot, two of the close-up, as they are sampled; one of each is searched."""


@pytest.fixture(scope="module")
def engine() -> OcrEngine:
    return load_engine("rapidocr")


@pytest.fixture(scope="module")
def broadcast() -> Broadcast:
    return Broadcast(DEMO)


@pytest.fixture(scope="module")
def frames(broadcast: Broadcast) -> dict[int, Image]:
    return {i: broadcast.frame(round(t * DEMO.fps)).image for i, t in enumerate(TIMES)}


def chunk_of(frames: dict[int, Image], **documents: Sequence[object]) -> Chunk:
    sampled = tuple(
        SampledFrame(i, 0, t, round(t * 1000), (1, 1000), 1280, 720, "", "", 0) for i, t in enumerate(TIMES)
    )
    scenes = [SceneFrame(i, t, 0 if t < 10 else 1, True, None, "", 100.0, 100.0) for i, t in enumerate(TIMES)]
    return Chunk(0, sampled, lambda sequence, lines=None: frames[sequence], {"filter_scenes": scenes, **documents})


@pytest.fixture(scope="module")
def edges(frames: dict[int, Image]) -> list[FrameEdges]:
    return list(DetectEdges(DetectEdgesConfig()).run_chunk(chunk_of(frames)))


@pytest.fixture(scope="module")
def readings(
    frames: dict[int, Image], edges: list[FrameEdges], engine: OcrEngine, broadcast: Broadcast
) -> list[Reading]:
    objects = []
    for number, time in enumerate(TIMES):
        boxes = broadcast.geometry(round(time * DEMO.fps)).players
        objects.append(FrameObjects(number, time, tuple(DetectedObject("person", 0.9, box) for box in boxes)))
    return list(RunOcr(RunOcrConfig(), engine).run_chunk(chunk_of(frames, detect_edges=edges, detect_objects=objects)))


def test_boards_are_found_where_the_renderer_put_them(edges: list[FrameEdges], broadcast: Broadcast) -> None:
    for edge in edges[:4]:
        truth = broadcast.geometry(round(edge.timestamp * DEMO.fps))
        for panel in truth.quads:
            x1, y1, x2, y2 = bounds(panel)
            visible = (max(0.0, x1), y1, min(1280.0, x2), y2)
            if visible[2] - visible[0] < 100:
                continue
            middle = ((visible[0] + visible[2]) / 2, (y1 + y2) / 2)
            assert any(inside(middle, board.quad) for board in edge.boards), f"{edge.timestamp} s: no board at {middle}"


def test_the_camera_is_followed_within_the_shot_and_lost_at_the_cut(edges: list[FrameEdges]) -> None:
    assert edges[0].camera is None
    assert all(edge.camera is not None for edge in edges[1:4])
    assert edges[4].camera is None


def test_words_are_read_where_they_stand_with_zone_and_track(readings: list[Reading], broadcast: Broadcast) -> None:
    for number, time in enumerate(TIMES):
        words = broadcast.geometry(round(time * DEMO.fps)).words
        for word in words:
            x1, y1, x2, y2 = bounds(word.quad)
            if x1 < 0 or x2 > 1280 or word.seen < 0.9 or word.height_px < 14:
                continue
            here = [r for r in readings if r.sequence == number and inside(centre(word.quad), r.quad)]
            alike = max((fuzz.ratio(word.text.casefold(), r.text.casefold()) for r in here), default=0.0)
            assert alike >= 85, f"{time} s: {word.text} read as {[r.text for r in here]}"
    zones = {r.text.casefold(): r.zone for r in readings if r.confidence > 0.9}
    assert zones["heineken"] == "board"
    assert zones["adidas"] == "board"
    assert zones["turkish airlines"] == "jersey"
    tracks = {r.track for r in readings if r.text == "TURKISH AIRLINES"}
    assert len(tracks) == 1


def test_readings_of_one_frame_lie_on_the_letters(readings: list[Reading], broadcast: Broadcast) -> None:
    truth = {w.text.casefold(): bounds(w.quad) for w in broadcast.geometry(round(TIMES[4] * DEMO.fps)).words}
    [reading] = [r for r in readings if r.sequence == 4 and r.text == "TURKISH AIRLINES"]
    box, exact = bounds(reading.quad), truth["turkish airlines"]
    assert intersection(box, exact) > 0.8 * (exact[2] - exact[0]) * (exact[3] - exact[1])
    # Lines are found with a margin, so that no letter is cut.
    assert 1.0 <= reading.height_px / (exact[3] - exact[1]) <= 1.5


def scene(sequence: int, timestamp: float, shot: int, sharpness: float) -> SceneFrame:
    return SceneFrame(sequence, timestamp, shot, True, None, "", 100.0, sharpness)


def test_nothing_is_searched_for_on_the_grass(engine: OcrEngine) -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:] = (60, 140, 60)
    worker = RunOcr(RunOcrConfig(), engine)
    assert list(worker.run_chunk(chunk_of(dict.fromkeys(range(len(TIMES)), picture)))) == []
    assert rows_with_text(picture) is None
    overlay = (480.0, 600.0, 900.0, 670.0)
    assert rows_with_text(picture, [overlay]) == (600, 670)
    cv2.putText(picture, "SANTANDER", (160, 560), cv2.FONT_HERSHEY_SIMPLEX, 5, (240, 240, 240), 30)
    found = worker.run_chunk(chunk_of(dict.fromkeys(range(len(TIMES)), picture)))
    assert {reading.text for reading in found} == {"SANTANDER"}


def test_the_sharpest_frame_of_each_stretch_of_a_shot_is_searched_and_its_last() -> None:
    values = [(0.0, 0, 5), (0.5, 0, 9), (1.5, 0, 7), (2.0, 0, 1), (3.5, 0, 1), (4.0, 0, 2), (4.5, 1, 8), (5.0, 1, 3)]
    scenes = [scene(n, *value) for n, value in enumerate(values)]
    assert chosen_frames(scenes, 2.0) == {1, 3, 5, 6}
    assert chosen_frames(scenes[:5], 2.0) == {1, 3, 4}
    assert chosen_frames(scenes, 0.0) == set(range(8))
    assert chosen_frames([], 2.0) == set()


def test_a_shots_last_frame_is_searched_a_second_after_the_search_before_it_however_rare_searches_are() -> None:
    scenes = [scene(n, n / 2, 0, 9 - n) for n in range(4)]
    assert chosen_frames(scenes, 20.0) == {0, 3}
    assert chosen_frames(scenes[:2], 20.0) == {0}


def test_pictures_and_ribbons_are_searched_at_intervals_of_their_own(
    frames: dict[int, Image], edges: list[FrameEdges], engine: OcrEngine
) -> None:
    def searches(picture_s: float, strip_s: float) -> tuple[int, int]:
        worker = RunOcr(RunOcrConfig(search_interval=picture_s, strip_interval=strip_s, new_share=1.0), engine)
        list(worker.run_chunk(chunk_of(frames, detect_edges=edges)))
        stats = worker.stats()
        return stats["frames_searched"], stats["strips_searched"]

    (seldom, few), (often, same), (rare, many) = searches(20.0, 20.0), searches(0.0, 20.0), searches(20.0, 0.0)
    assert (seldom, rare, often) == (3, 3, len(TIMES))
    assert 0 < few == same < many


def reading(sequence: int, text: str, confidence: float, track: int = 1) -> Reading:
    quad = ((10.0, 10.0), (110.0, 10.0), (110.0, 30.0), (10.0, 30.0))
    return Reading(sequence, sequence / 2, 0, track, text, confidence, quad, "board", "strip", 1.0, 20.0)


BOOK = BrandBook.from_entries([BrandEntry.of(name, ()) for name in ("Qatar Airways", "TIM", "Heineken", "Puma")])


def matched(*given: Reading) -> list[BrandDetection | UnresolvedCandidate]:
    chunk = Chunk(0, (), lambda _, lines=None: np.zeros((1, 1, 3), np.uint8), {"run_ocr": list(given)})
    return list(MatchBrands(MatchBrandsConfig(), BOOK).run_chunk(chunk))


def test_one_sure_reading_decides_and_its_track_follows() -> None:
    found = matched(reading(0, "HEINEKEN", 0.98), reading(1, "HEIMEKCN", 0.6), reading(2, "HEINEKE", 0.8))
    assert [d.sequence for d in found if isinstance(d, BrandDetection)] == [0, 1, 2]
    assert {d.brand_name for d in found if isinstance(d, BrandDetection)} == {"Heineken"}


def test_a_weak_reading_alone_names_no_brand() -> None:
    assert not [d for d in matched(reading(0, "HEIMEKCN", 0.6)) if isinstance(d, BrandDetection)]


def test_a_short_name_that_is_read_unsurely_needs_its_track_to_agree() -> None:
    texts = ["Pumn", "Puma", "PUmaX", "pumn", "PUmRY", "PumAX", "PURX"]
    found = matched(*(reading(i, text, 0.65) for i, text in enumerate(texts)))
    assert {d.brand_name for d in found if isinstance(d, BrandDetection)} == {"Puma"}
    assert not [d for d in matched(reading(0, "Puma", 0.65)) if isinstance(d, BrandDetection)]
    others = ["Pump", "Puma", "PUMPX", "Pumpe", "PUMP"]
    found = matched(*(reading(i, text, 0.65) for i, text in enumerate(others)))
    assert not [d for d in found if isinstance(d, BrandDetection)]


def test_real_text_that_is_no_brand_is_unresolved_and_noise_is_not() -> None:
    found = matched(
        *(reading(i, "SCOPRI DI PIU", 0.95, track=1) for i in range(3)),
        *(reading(i, "06:1" + str(i), 0.99, track=2) for i in range(3)),
    )
    [candidate] = found
    assert isinstance(candidate, UnresolvedCandidate)
    assert (candidate.text, candidate.sequences) == ("SCOPRI DI PIU", (0, 1, 2))


def test_short_names_are_not_found_inside_other_words() -> None:
    assert not [d for d in matched(reading(0, "TIMELESS", 0.99)) if isinstance(d, BrandDetection)]
    assert [d.brand_name for d in matched(reading(0, "TIM", 0.99)) if isinstance(d, BrandDetection)] == ["TIM"]


def test_documents_survive_their_own_codec() -> None:
    found = matched(reading(0, "HEINEKEN", 0.98), *(reading(i, "SCOPRI DI PIU", 0.95, track=2) for i in range(3)))
    assert {type(d) for d in found} == {BrandDetection, UnresolvedCandidate}
    assert [match_back(match_out(d)) for d in found] == found


@pytest.fixture
def halves(frames: dict[int, Image]) -> tuple[Chunk, Chunk]:
    whole = chunk_of(frames)
    first = replace(whole, frames=whole.frames[:3], documents={"filter_scenes": whole.documents["filter_scenes"][:3]})
    rest = replace(
        whole, chunk_id=1, frames=whole.frames[3:], documents={"filter_scenes": whole.documents["filter_scenes"][3:]}
    )
    return first, rest


def test_edges_go_on_in_another_process_as_if_never_stopped(halves: tuple[Chunk, Chunk]) -> None:
    whole = DetectEdges(DetectEdgesConfig())
    expected = [*whole.run_chunk(halves[0]), *whole.run_chunk(halves[1])]
    before = DetectEdges(DetectEdgesConfig())
    found = list(before.run_chunk(halves[0]))
    after = DetectEdges(DetectEdgesConfig(), before.state())
    found += after.run_chunk(halves[1])
    assert found == expected
