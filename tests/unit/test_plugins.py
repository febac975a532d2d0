"""OCR engines and detectors behind entry points: any engine keeps the contract, and a wrong name says what to do."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
import pytest

from resources.models import Models
from tests.support.plugin_package import DETECTOR, ENGINE, install
from touchline.errors import BadInputError, ModelUnavailableError
from touchline.geometry import bounds, box_quad
from touchline.ocr.engine import DIGITS, EngineSettings, OcrEngine, StripText, TextPlace, runtime_of, threads_of
from touchline.ocr.rapid import RapidOcrEngine
from touchline.ocr.registry import load_engine
from touchline.plugins import DETECTORS, OCR_ENGINES, Group, TellsWhatIsMissing
from touchline.profiles import apply_overrides, load_profile
from touchline.stages.detect_objects import DetectObjectsConfig
from touchline.stages.run_ocr import RunOcr, RunOcrConfig
from touchline.values import Board, Chunk, FrameEdges, Image, SampledFrame, SceneFrame
from touchline.vision.detector import DetectorSettings
from touchline.vision.registry import load_detector

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that Python finds."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def small_rapidocr(_: Path) -> OcrEngine:
    return RapidOcrEngine(threads=2)


def untrained_doctr(_: Path) -> OcrEngine:
    if importlib.util.find_spec("doctr") is None:
        pytest.skip("docTR is not installed (extra `doctr`)")
    from touchline.ocr.doctr_engine import DoctrEngine

    return DoctrEngine(pretrained=False, device="cpu", min_text_score=0.0)


def anothers(packages: Path) -> OcrEngine:
    install(packages, "one_word", OCR_ENGINES.name, {"oneword": "one_word:OneWord"}, ENGINE)
    return load_engine("oneword")


def picture() -> Image:
    """A word in the lower half of a picture."""
    image = np.full((360, 640, 3), 60, np.uint8)
    cv2.putText(image, "HEINEKEN", (180, 280), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (240,) * 3, 3, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("made", [small_rapidocr, untrained_doctr, anothers])
def test_an_engine_keeps_the_contract(made: Callable[[Path], OcrEngine], packages: Path) -> None:
    engine, image = made(packages), picture()
    before = image.copy()
    assert engine.identity
    assert engine.identity == engine.identity.strip()
    assert "\n" not in engine.identity + runtime_of(engine)
    assert threads_of(engine) >= 1
    whole, lower = list(engine.find(image)), list(engine.find(image, (180, 360)))
    high = list(engine.find(image, target_height=40.0))
    for place in [*whole, *lower, *high]:
        x1, y1, x2, y2 = bounds(place.quad)
        assert -16 <= x1 < x2 <= 640 + 16
        assert -16 <= y1 < y2 <= 360 + 16
    assert all(bounds(place.quad)[3] >= 180 for place in lower)
    # Places are followed from frame to frame by their own methods, and given by others.
    moved = [place.mapped(np.array([[1.1, 0, 3], [0, 1.1, -2]])).moved(1, 1).within(640, 360) for place in whole]
    upright = TextPlace(((200, 230), (400, 150), (412, 180), (212, 260))).upright()
    assert upright is not None
    places: list[TextPlace] = [*whole, *moved, TextPlace(box_quad((170, 230, 450, 290))), upright]
    texts = list(engine.read(image, places))
    assert len(texts) == len(places)
    assert all(isinstance(t, StripText) and 0 <= t.confidence <= 1 for t in texts)
    assert all(t.confidence == round(t.confidence, DIGITS) and t.text == t.text.strip() for t in texts)
    assert all(t.confidence == 0 for t in texts if not t.text)
    assert [engine.read(image, [place])[0].text for place in places] == [t.text for t in texts]
    assert list(engine.read(image, [])) == []
    assert (image == before).all()


def test_an_engine_of_another_package_reads_in_the_pipeline(packages: Path) -> None:
    engine = anothers(packages)
    frames = tuple(SampledFrame(n, 0, n / 2, n * 500, (1, 1000), 640, 360, "", "", 0) for n in range(2))
    scenes = [SceneFrame(n, n / 2, 0, True, None, "", 100.0, 100.0) for n in range(2)]
    chunk = Chunk(0, frames, lambda *_: picture(), {"filter_scenes": scenes, "detect_edges": [], "detect_objects": []})
    worker = RunOcr(RunOcrConfig(engine="oneword"), engine)
    assert {reading.text for reading in worker.run_chunk(chunk)} == {"WORD"}
    assert worker.stats()["engine"] == "one word 1"
    assert "one word 1" in worker.stats()["computed_on"]


class TwoPlaces:
    """Finds a word on the board row and one beside it in each frame; the row's word in its strip as well if told so."""

    identity = "two places"

    def __init__(self, *, in_strip: bool) -> None:
        self.in_strip = in_strip

    row, beside = box_quad((100, 205, 300, 245)), box_quad((100, 20, 300, 50))

    def find(
        self, image: Image, rows: tuple[int, int] | None = None, target_height: float | None = None
    ) -> list[TextPlace]:
        if image.shape[:2] == (360, 640):
            return [TextPlace(self.row), TextPlace(self.beside)]
        height, width = image.shape[:2]
        return [TextPlace(box_quad((width * 0.1, height * 0.2, width * 0.5, height * 0.9)))] if self.in_strip else []

    def read(self, image: Image, places: Sequence[TextPlace]) -> list[StripText]:
        return [StripText("WORD", 0.9) for _ in places]


@pytest.mark.parametrize("in_strip", [True, False])
def test_what_lies_on_a_board_row_is_taken_from_its_strip_if_it_is_found_there(in_strip: bool) -> None:
    frame, scene = (
        SampledFrame(0, 0, 0.0, 0, (1, 1000), 640, 360, "", "", 0),
        SceneFrame(0, 0.0, 0, True, None, "", 1, 1),
    )
    edge = FrameEdges(0, 0.0, 0, 0.5, (Board(box_quad((0, 200, 640, 250)), 0.9),), (), None)
    chunk = Chunk(0, (frame,), lambda *_: picture(), {"filter_scenes": [scene], "detect_edges": [edge]})
    readings = list(RunOcr(RunOcrConfig(), TwoPlaces(in_strip=in_strip)).run_chunk(chunk))
    assert [reading.origin for reading in readings] == ["frame", "strip" if in_strip else "frame"]
    assert readings[0].quad == TwoPlaces.beside
    assert (readings[1].quad == TwoPlaces.row) is not in_strip


def test_a_detector_of_another_package_gets_the_settings(packages: Path) -> None:
    install(packages, "one_player", DETECTORS.name, {"oneplayer": "one_player:OnePlayer"}, DETECTOR)
    found, why_not = Models().detector(DetectObjectsConfig(detector="oneplayer", confidence=0.7))
    assert found is not None, why_not
    assert found.identity == "one player at 0.7"
    [[player]] = found.detect([picture()])
    assert player.box == (0, 0, 640, 360)
    assert load_detector("oneplayer", DetectorSettings(confidence=0.5)).labels == {"player"}


@pytest.mark.parametrize(("group", "own"), [(OCR_ENGINES, "doctr, rapidocr"), (DETECTORS, "yolo")])
def test_a_name_that_nobody_offers_says_what_is_installed(group: Group, own: str) -> None:
    with pytest.raises(BadInputError, match=f"^unknown {group.kind} 'tesseract'; installed are: {own}$"):
        group.load("tesseract")
    setting = {OCR_ENGINES: "run_ocr.engine", DETECTORS: "detect_objects.detector"}[group]
    with pytest.raises(BadInputError, match=f"--set {setting}=tesseract: unknown {group.kind}.*installed are: {own}"):
        apply_overrides(load_profile(), {setting: "tesseract"})


def test_a_wrong_name_of_a_detector_stops_the_run_though_none_is_required() -> None:
    with pytest.raises(BadInputError, match="unknown object detector 'yolox'"):
        Models().detector(DetectObjectsConfig(detector="yolox"))


def test_two_packages_that_offer_one_name_are_both_named(packages: Path) -> None:
    for package in ("one_word", "also_one_word"):
        install(packages, package, OCR_ENGINES.name, {"oneword": f"{package}:OneWord"}, ENGINE)
    both = r"offered by also_one_word 1\.0 \(also_one_word:OneWord\) and one_word 1\.0 \(one_word:OneWord\); uninstall"
    with pytest.raises(BadInputError, match=both):
        load_engine("oneword")
    assert OCR_ENGINES.names() == ["doctr", "oneword", "rapidocr"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import a_library_that_is_not_here", "cannot be imported.*No module named 'a_library_that_is_not_here'"),
        ("1 / 0", "cannot be imported.*ZeroDivisionError"),
        ("", "cannot be imported"),
        ("class OneWord: pass", "has no from_settings; docs/engines.md"),
        (ENGINE.replace("def read", "def recognise"), "lacks read; expected identity, find, read"),
    ],
)
def test_an_engine_that_cannot_be_had_is_named_with_its_package_and_the_reason(
    packages: Path, request: pytest.FixtureRequest, code: str, says: str
) -> None:
    name = f"broken_{abs(hash(request.node.name))}"
    install(packages, name, OCR_ENGINES.name, {"broken": f"{name}:OneWord"}, code)
    with pytest.raises(ModelUnavailableError, match=f"OCR engine 'broken' of {name} 1.0.*{says}"):
        load_engine("broken")


def test_without_its_extra_an_engine_says_what_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = "pip install -c constraints.txt -e '.[{}]'"
    assert command.format("yolo") in (ROOT / "README.md").read_text("utf-8")
    for group, name, extra in ((OCR_ENGINES, "doctr", "doctr"), (DETECTORS, "yolo", "yolo")):
        factory = group.load(name)
        assert isinstance(factory, TellsWhatIsMissing)
        assert command.format(extra) in factory.missing()
    with pytest.raises(ModelUnavailableError, match="docTR is not installed; in the folder of Touchline's source"):
        load_engine("doctr", EngineSettings())


def test_an_installation_older_than_its_source_says_to_run_make_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.plugins.entry_points", lambda group: [])
    with pytest.raises(BadInputError, match=r"'rapidocr'; installed are: none.*earlier version; run make again, or in"):
        load_engine("rapidocr")


def test_the_installation_knows_the_engines_and_detectors_of_its_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = {(e.group, e.name): e.value for e in distribution("touchline").entry_points}
    for group, entries in project["entry-points"].items():
        for name, value in entries.items():
            assert installed.get((group, name)) == value, "the installation is older than its source; run make again"
