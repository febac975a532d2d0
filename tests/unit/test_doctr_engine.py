"""DocTR behind the OCR protocol: its real pipeline with untrained models, so that shapes and places are checked.

Where a test must know what will be found, the picture's own brightness stands for what the network would say; docTR's
resizing, padding, search for outlines and mapping back are its own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from touchline.errors import ModelUnavailableError
from touchline.geometry import bounds, centre, iou
from touchline.ocr.engine import OcrEngine, StripText, TextPlace
from touchline.ocr.registry import load_engine
from touchline.values import Box, Image, Quad
from touchline.weights import reachable, sha256_of

if importlib.util.find_spec("doctr") is None:
    pytest.skip("docTR is not installed (extra `doctr`)", allow_module_level=True)

from touchline.ocr import doctr_engine
from touchline.ocr.doctr_engine import DoctrEngine, LineOfWords, clockwise, hub_file, join_words, rows, without_repeats

RED, BLUE, WHITE = (0, 0, 255), (255, 0, 0), (255, 255, 255)


@pytest.fixture(scope="module")
def engine() -> DoctrEngine:
    """Random weights: what it reads means nothing, how it is called and answered does."""
    import torch

    torch.manual_seed(1)
    return DoctrEngine(pretrained=False, device="cpu", min_text_score=0.0)


@pytest.fixture
def seeing(engine: DoctrEngine) -> Iterator[DoctrEngine]:
    """The engine, its detector taking for text what is bright in the first channel of what it is shown (red)."""
    model: Any = engine._detector.model
    shown: list[Any] = []

    def remember(_: Any, inputs: tuple[Any, ...]) -> None:
        shown.append(inputs[0])

    def answer(_: Any, __: Any, output: Any) -> Any:
        import torch

        red = shown.pop()[:, :1]
        middle = (red.amax() + red.amin()) / 2
        assert output.shape == red.shape
        return torch.where(red > middle, 8.0, -8.0)

    hooks = [model.register_forward_pre_hook(remember), model.prob_head.register_forward_hook(answer)]
    yield engine
    for hook in hooks:
        hook.remove()


def picture(width: int, height: int, *boxes: Box, colour: tuple[int, int, int] = WHITE) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), colour, -1)
    return image


def grown(box: Box) -> Box:
    """A box as the detector widens it: by 1.5 times its area over its outline, because it finds words' cores."""
    width, height = box[2] - box[0], box[3] - box[1]
    by = 1.5 * width * height / (2 * (width + height))
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def word(x: float, y: float, width: float, height: float = 20) -> Quad:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def test_it_is_an_engine_of_the_protocol() -> None:
    engine: OcrEngine = DoctrEngine(pretrained=False)
    assert "db_mobilenet_v3_large untrained" in engine.identity
    assert "crnn_mobilenet_v3_small untrained" in engine.identity
    image = picture(320, 200, (40, 60, 180, 100))
    assert all(isinstance(place, TextPlace) for place in engine.find(image))
    places = [TextPlace(word(40, 60, 140, 40)), LineOfWords(word(40, 60, 140, 40), (word(40, 60, 140, 40),))]
    plain, worded = engine.read(image, places)
    assert plain == worded
    assert 0 <= plain.confidence <= 1


def test_strips_are_read_one_result_each_in_order(engine: DoctrEngine) -> None:
    rng = np.random.default_rng(3)
    strips = [rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((32, 120), (48, 900), (20, 20), (33, 257))]
    together = engine.read_words(strips)
    assert len(together) == 4
    assert all(isinstance(t, StripText) and 0 <= t.confidence <= 1 for t in together)
    assert [t.text for t in together] == [engine.read_words([strip])[0].text for strip in strips]
    assert engine.read_words([]) == []


def test_the_recogniser_is_shown_rgb(engine: DoctrEngine) -> None:
    shown: list[Any] = []
    hook = engine._recogniser.model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    engine.read_words([np.full((32, 128, 3), RED, np.uint8)])
    hook.remove()
    red, green, blue = shown[0][0].mean(dim=(1, 2)).tolist()
    assert red > green + 1
    assert red > blue + 1


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (400, 400)])
def test_words_come_back_in_the_pixels_of_the_picture(seeing: DoctrEngine, width: int, height: int) -> None:
    """DocTR searches a padded square; relative coordinates must come back to the picture whatever its shape."""
    wanted = [(0.1, 0.15, 0.4, 0.25), (0.5, 0.7, 0.8, 0.8)]
    boxes: list[Box] = [(a * width, b * height, c * width, d * height) for a, b, c, d in wanted]
    found = sorted(seeing.find_words(picture(width, height, *boxes)), key=lambda q: q[0][1])
    assert len(found) == 2
    for quad, box in zip(found, boxes, strict=True):
        assert centre(quad) == pytest.approx(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), abs=3)
        assert iou(bounds(quad), grown(box)) > 0.9
        (x1, y1), (x2, _), (_, y3), (x4, y4) = quad
        assert x1 < x2
        assert y1 < y4
        assert x4 < x2
        assert y1 < y3


def test_the_detector_is_shown_rgb(seeing: DoctrEngine) -> None:
    box = (100.0, 100.0, 300.0, 140.0)
    red = seeing.find_words(picture(640, 360, box, colour=RED))
    assert len(red) == 1
    assert iou(bounds(red[0]), grown(box)) > 0.9
    blue = seeing.find_words(picture(640, 360, box, colour=BLUE))
    assert all(iou(bounds(quad), grown(box)) < 0.5 for quad in blue)


def test_a_leaning_word_is_found_as_a_quad(seeing: DoctrEngine) -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    cv2.fillPoly(image, [np.array([[150, 100], [450, 150], [444, 190], [144, 140]], np.int32)], WHITE)
    (quad,) = seeing.find_words(image)
    rise = (quad[1][1] - quad[0][1]) / (quad[1][0] - quad[0][0])
    assert rise == pytest.approx(50 / 300, abs=0.03)


def test_a_strip_is_searched_in_rows_and_each_word_is_found_once(seeing: DoctrEngine) -> None:
    boxes: list[Box] = [(x, 20.0, x + 150.0, 60.0) for x in range(20, 2900, 230)]
    found = seeing.find_words(picture(3000, 80, *boxes))
    assert len(found) == len(boxes)
    for quad, box in zip(sorted(found, key=lambda q: q[0][0]), boxes, strict=True):
        assert centre(quad) == pytest.approx(((box[0] + box[2]) / 2, 40), abs=6)
        assert all(-1 <= y <= 81 for _, y in quad)


def test_a_line_takes_its_words_with_it_where_it_moves() -> None:
    line = LineOfWords(word(0, 0, 210), (word(0, 0, 100), word(110, 2, 90)))
    assert line.moved(5, 7) == LineOfWords(word(5, 7, 210), (word(5, 7, 100), word(115, 9, 90)))
    assert line.within(300, 100) is line
    cut = line.within(100, 100)
    assert isinstance(cut, LineOfWords)
    assert cut.words == (word(0, 0, 100),)


def test_rows_cover_the_strip_and_overlap() -> None:
    assert rows(360, 640) == ([0], 640)
    for height, width in ((60, 1280), (96, 3000), (100, 251), (32, 6000)):
        starts, length = rows(height, width)
        assert starts[0] == 0
        assert starts[-1] + length == width
        assert all(b - a <= length - 1.9 * height for a, b in pairwise(starts))


def test_corners_run_clockwise_from_the_top_left() -> None:
    wanted = np.array([[10, 12], [90, 20], [88, 45], [8, 37]], float)
    for turn in range(4):
        np.testing.assert_allclose(clockwise(np.roll(wanted, turn, axis=0)), wanted)
        np.testing.assert_allclose(clockwise(np.roll(wanted[::-1], turn, axis=0)), wanted)


def test_a_word_that_an_edge_cut_gives_way_to_the_whole_one() -> None:
    whole, cut, other = word(100, 0, 80), word(100, 1, 40), word(300, 0, 80)
    assert set(without_repeats([cut, whole, other])) == {whole, other}


def test_words_side_by_side_are_one_line() -> None:
    qatar, airways, vivo = word(0, 0, 100), word(110, 2, 90), word(0, 60, 50)
    first, second = join_words([airways, qatar, vivo])
    assert first == LineOfWords(((0, 0), (200, 2), (200, 22), (0, 20)), (qatar, airways))
    assert second == LineOfWords(vivo, (vivo,))
    apart = [word(0, 0, 100), word(130, 0, 90), word(222, 0, 90, height=60)]
    assert [place.words for place in join_words(apart)] == [(quad,) for quad in apart]


def test_a_line_is_read_word_by_word(engine: DoctrEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {100: StripText("QATAR", 0.9), 90: StripText("AIRWAYS", 0.8), 50: StripText("l", 0.1)}
    monkeypatch.setattr(
        engine, "read_words", lambda strips: [said[round(s.shape[1] * 20 / s.shape[0])] for s in strips]
    )
    monkeypatch.setattr(engine, "_min_text_score", 0.3)
    words = (word(0, 0, 100), word(110, 2, 90), word(210, 2, 50))
    [read] = engine.read(np.zeros((60, 300, 3), np.uint8), [LineOfWords(word(0, 0, 260), words)])
    assert read.text == "QATAR AIRWAYS"
    assert read.confidence == pytest.approx((0.9 * 5 + 0.8 * 7) / 12, abs=5e-4)


def test_weights_are_loaded_from_a_file_by_checksum_alone(engine: DoctrEngine, tmp_path: Path) -> None:
    import torch

    file = tmp_path / "crnn.pt"
    torch.save(engine._recogniser.model.state_dict(), file)
    detector = tmp_path / "db.pt"
    torch.save(engine._detector.model.state_dict(), detector)
    loaded = DoctrEngine(
        det_weights=detector,
        det_sha256=sha256_of(detector),
        reco_weights=file,
        reco_sha256=sha256_of(file),
        device="cpu",
    )
    assert sha256_of(file) in loaded.identity
    strip = np.random.default_rng(5).integers(0, 255, (32, 128, 3), np.uint8)
    assert loaded.read_words([strip]) == engine.read_words([strip])
    with pytest.raises(ModelUnavailableError, match="expected 00"):
        DoctrEngine(pretrained=False, reco_weights=file, reco_sha256="0" * 64)
    with pytest.raises(ModelUnavailableError, match="not loaded without its SHA-256"):
        DoctrEngine(pretrained=False, reco_weights=file)
    with pytest.raises(ModelUnavailableError, match="holds no weights of this docTR architecture"):
        DoctrEngine(pretrained=False, reco_weights=detector, reco_sha256=sha256_of(detector))


def test_the_identity_names_the_weights_of_the_hub_by_what_they_are(
    engine: DoctrEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    files = {"db_mobilenet_v3_large": tmp_path / "db.pt", "crnn_mobilenet_v3_small": tmp_path / "crnn.pt"}
    for model, file in zip((engine._detector, engine._recogniser), files.values(), strict=True):
        torch.save(model.model.state_dict(), file)
    monkeypatch.setattr("touchline.ocr.doctr_engine._from_hub", lambda url, arch: files[arch])
    identity = DoctrEngine(device="cpu").identity
    for file in files.values():
        assert f"{file.name} sha256:{sha256_of(file)}" in identity


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    import os

    import torch

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    file = tmp_path / "crnn.pt"
    torch.save({"weight": Harm()}, file)
    with pytest.raises(ModelUnavailableError, match="holds no weights"):
        DoctrEngine(pretrained=False, reco_weights=file, reco_sha256=sha256_of(file))
    assert not (tmp_path / "harm").exists()


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ModelUnavailableError, match="no detection architecture 'db_nothing'"):
        DoctrEngine("db_nothing", pretrained=False)
    with pytest.raises(ModelUnavailableError, match="no recognition architecture 'CRNN'"):
        DoctrEngine(reco_arch="CRNN", pretrained=False)


@pytest.mark.parametrize("arch", ["fast_tiny", "linknet_resnet18"])
def test_other_families_of_detectors_work_the_same(arch: str) -> None:
    engine = DoctrEngine(arch, pretrained=False, device="cpu")
    assert isinstance(engine.find_words(picture(320, 200, (40, 60, 180, 100))), list)


def test_without_a_network_it_fails_at_once_and_says_where_to_put_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    reachable.cache_clear()
    with pytest.raises(ModelUnavailableError, match=r"cannot be reached; put db_mobilenet_v3_large-\w+\.pt into"):
        load_engine("doctr")
    reachable.cache_clear()
    assert list(tmp_path.iterdir()) == []


def test_what_lies_in_doctrs_cache_is_used_if_its_hash_is_right(
    engine: DoctrEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))
    file = tmp_path / "state.pt"
    torch.save(engine._recogniser.model.state_dict(), file)
    url = f"https://hub.invalid/models?id=v1/mine-{sha256_of(file)[:8]}.pt&src=0"
    kept = hub_file(url)
    kept.parent.mkdir()
    file.rename(kept)
    assert doctr_engine._from_hub(url, "mine") == kept
    kept.write_bytes(b"something else")
    with pytest.raises(ModelUnavailableError, match=f"could not be fetched.*put {kept.name} into"):
        doctr_engine._from_hub(url, "mine")
    assert capsys.readouterr().out == ""
