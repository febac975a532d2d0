"""The default OCR engine: what it reads does not depend on what it read before, nor on who reads beside it."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from touchline.errors import ModelUnavailableError
from touchline.geometry import bounds, line_length
from touchline.ocr import rapid
from touchline.ocr.engine import StripText, TextPlace
from touchline.ocr.networks import Runtime
from touchline.ocr.pp_ocr import TextRecogniser
from touchline.ocr.rapid import (
    EASY,
    LONGEST_STRIP,
    SHORT_SIDE,
    SMALL_FINDS,
    WIDTH_RATIO,
    RapidOcrEngine,
    search_scale,
    strip_scale,
)
from touchline.stages.run_ocr import LOWEST, LOWEST_BESIDE_BOARDS
from touchline.values import Image
from touchline.vision.strips import TEXT_LINES

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

WEIGHTS = Path(rapid.__file__).parent / "weights"
STRIPS = SMALL_FINDS / TEXT_LINES
WORDS = ("HEINEKEN", "QATAR AIRWAYS", "SANTANDER", "UNICREDIT")


def strip(*words: str, height: int = 64) -> Image:
    """Words side by side, white on blue, each in 420 pixels."""
    picture = np.zeros((height, 420 * len(words), 3), np.uint8)
    picture[:] = (120, 40, 20)
    for number, word in enumerate(words):
        cv2.putText(picture, word, (20 + 420 * number, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (240,) * 3, 3, cv2.LINE_AA)
    return picture


def frame(word: str) -> Image:
    """A strip in a grey picture of 720 lines."""
    picture = np.full((720, 1280, 3), 90, np.uint8)
    picture[300:364, 200:620] = strip(word)
    return picture


def read(engine: RapidOcrEngine, picture: Image) -> list[tuple[TextPlace, StripText]]:
    """The lines of a picture, from left to right."""
    places = sorted(engine.find(picture), key=lambda place: bounds(place.quad)[0])
    return list(zip(places, engine.read(picture, places), strict=True))


@pytest.fixture(scope="module", params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> RapidOcrEngine:
    return RapidOcrEngine(threads=2, runtime=request.param)


def test_words_of_a_strip_are_read_at_their_places(engine: RapidOcrEngine) -> None:
    picture = strip(*WORDS)
    found = sorted(engine.find(picture, target_height=TEXT_LINES), key=lambda place: bounds(place.quad)[0])
    assert [text.text for text in engine.read(picture, found)] == list(WORDS)
    for number, place in enumerate(found):
        x1, y1, x2, y2 = bounds(place.quad)
        assert 420 * number <= x1 < x2 <= 420 * (number + 1)
        assert 0 <= y1 < 30
        assert 40 < y2 <= 64


def test_a_strip_too_long_for_the_network_is_searched_smaller(engine: RapidOcrEngine) -> None:
    picture = strip(*WORDS * 3)
    found = engine.find(picture, target_height=TEXT_LINES)
    texts = {text.text for text in engine.read(picture, found)}
    assert texts >= {"HEINEKEN", "SANTANDER"}


def test_small_text_is_read_at_its_place_in_a_frame(engine: RapidOcrEngine) -> None:
    [(place, text)] = read(engine, frame("SANTANDER"))
    assert text.text == "SANTANDER"
    x1, y1, x2, y2 = bounds(place.quad)
    assert 200 <= x1 < 240
    assert 300 <= y1 < y2 <= 364


def test_where_higher_lines_are_sought_the_picture_is_searched_smaller(
    engine: RapidOcrEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales: list[tuple[float, float]] = []

    def noted(image: Image, scale: tuple[float, float]) -> NDArray[np.float32]:
        scales.append(scale)
        return np.empty((0, 4, 2), np.float32)

    monkeypatch.setattr(engine, "_finds", noted)
    monkeypatch.setattr(engine, "_finds_small", noted)
    for target in (None, 5.0, LOWEST, LOWEST_BESIDE_BOARDS, TEXT_LINES, 2 * TEXT_LINES):
        engine.find(np.zeros((720, 1280, 3), np.uint8), target_height=target)
    assert [down for _, down in scales] == [1.0, 1.0, 1.0, 0.9, 0.65, 0.325]


def test_only_the_rows_asked_for_are_searched_and_as_large_as_in_the_whole_picture(
    engine: RapidOcrEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = frame("SANTANDER")
    picture[600:664, 700:1120] = strip("UNICREDIT")
    searched: list[tuple[int, tuple[float, float]]] = []
    finds = engine._finds

    def noted(image: Image, scale: tuple[float, float]) -> NDArray[np.float32]:
        searched.append((image.shape[0], scale))
        return finds(image, scale)

    monkeypatch.setattr(engine, "_finds", noted)
    [place] = engine.find(picture, rows=(500, 720))
    assert engine.read(picture, [place])[0].text == "UNICREDIT"
    assert 590 < bounds(place.quad)[1] < bounds(place.quad)[3] < 670
    engine.find(picture)
    (rows, scale), (whole, same) = searched
    assert (rows, whole) == (220, 720)
    assert scale == same


def test_readings_are_the_same_alone_again_and_side_by_side(engine: RapidOcrEngine) -> None:
    pictures = [frame(word) for word in WORDS] * 3
    alone = [read(engine, picture) for picture in pictures[:4]] * 3
    with ThreadPoolExecutor(engine.parallel) as pool:
        assert list(pool.map(partial(read, engine), pictures)) == alone


@pytest.mark.parametrize("width", [40, 300, 1111, 4085, 4096])
def test_few_widths_are_searched_and_none_is_much_stretched(width: int) -> None:
    across, down = strip_scale(width, STRIPS)
    assert 1 / 1.06 < across / down < 1.06
    assert width * across <= LONGEST_STRIP
    widths = {round(w * strip_scale(w, STRIPS)[0]) for w in range(200, 4097)}
    assert len(widths) < np.log(4096 / 130) / np.log(WIDTH_RATIO)


def test_pictures_are_searched_at_the_size_of_the_detectors_letters() -> None:
    assert search_scale(360, 640) == pytest.approx(SHORT_SIDE / 360)
    assert search_scale(720, 1280) == 1.0
    assert search_scale(1080, 1920) == 1.0
    assert search_scale(2160, 3840) == pytest.approx(2048 / 3840)


def test_both_runtimes_read_the_same() -> None:
    picture = strip(*WORDS)
    one, other = (RapidOcrEngine(threads=1, runtime=runtime) for runtime in RUNTIMES)
    places = one.find(picture, target_height=TEXT_LINES)
    assert len(places) == len(WORDS)
    for place, same in zip(places, other.find(picture, target_height=TEXT_LINES), strict=True):
        assert np.abs(np.array(place.quad) - np.array(same.quad)).max() < 2
        [here], [there] = one.read(picture, [place]), other.read(picture, [place])
        assert here.text == there.text
        assert here.confidence == pytest.approx(there.confidence, abs=0.01)


def test_only_lines_that_the_smaller_network_is_not_sure_of_go_to_the_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RapidOcrEngine(threads=1)
    clear, crowd = (
        strip("SANTANDER")[4:60, 10:330],
        np.random.default_rng(7).integers(0, 255, (48, 200, 3)).astype(np.uint8),
    )
    asked: list[Image] = []
    larger = engine._reads

    def noted(image: Image) -> tuple[str, float]:
        asked.append(image)
        return larger(image)

    monkeypatch.setattr(engine, "_reads", noted)
    [easy, noise] = engine.read_lines([clear, crowd])
    assert (easy.text, easy.confidence >= EASY) == ("SANTANDER", True)
    assert noise.confidence < rapid.NO_TEXT
    assert not asked
    # Of the first the smaller network is unsure; of the second it is sure, but it is two letters.
    short = [strip(word)[4:60, 10:90] for word in ("GO", "OK")]
    unsure, sure = (engine._reads_easy(image)[1] for image in short)
    assert rapid.NO_TEXT < unsure < EASY < sure
    assert [text.text for text in engine.read_lines(short)] == ["GO", "OK"]
    assert len(asked) == 2


def test_weights_that_come_along_are_those_that_were_published() -> None:
    listed = dict(re.findall(r"\| `(\S+)` \|.*\| `([0-9a-f]{64})` \|", (WEIGHTS / "README.md").read_text("utf-8")))
    assert listed == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in WEIGHTS.iterdir()
        if file.name not in {"README.md", "LICENSE"}
    }
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 7e6


def test_a_recogniser_without_characters_is_refused() -> None:
    with pytest.raises(ModelUnavailableError, match=r"PP-OCRv6_tiny_rec\.onnx: names no characters"):
        TextRecogniser(WEIGHTS / "PP-OCRv6_tiny_rec.onnx", threads=1)


@pytest.mark.parametrize("degrees", [-35, -20, 20, 35])
def test_upright_letters_on_a_slanted_board_are_read(engine: RapidOcrEngine, degrees: int) -> None:
    """A side board: its edges are slanted, its letters are narrow and upright."""
    slope = np.tan(np.radians(degrees))
    slant = np.array([[0.55, 0.0, 100.0], [0.55 * slope, 1.0, 300.0 if degrees < 0 else 100.0]])
    picture = cv2.warpAffine(strip("LEVISSIMA"), slant, (480, 480), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    place = max(engine.find(picture), key=lambda place: line_length(place.quad))
    upright = place.upright()
    assert upright is not None
    tl, tr, br, bl = upright.quad
    assert (tl[0], tr[0]) == pytest.approx((bl[0], br[0]))
    assert (tr[1] - tl[1]) / (tr[0] - tl[0]) == pytest.approx(slope, abs=0.1)
    [as_it_is, turned] = engine.read(picture, [place, upright])
    assert turned.text == "LEVISSIMA"
    assert turned.confidence > max(0.9, as_it_is.confidence if as_it_is.text != "LEVISSIMA" else 0.0)
