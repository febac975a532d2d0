"""Objects by YOLO, with a real model trained here on drawn players; and what happens where there is no model."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import bson
import cv2
import numpy as np
import pytest

from resources.models import default_weights
from resources.settings import Settings
from tests.support import tiny_yolo
from touchline.errors import BadInputError, ModelUnavailableError
from touchline.geometry import iou
from touchline.stages.detect_objects import (
    DetectObjects,
    DetectObjectsConfig,
    configured_detector,
    deserialize,
    serialize,
)
from touchline.synthetic import Rendered
from touchline.values import Chunk, DetectedObject, FrameObjects, Image, SceneFrame
from touchline.vision.detector import ObjectDetector
from touchline.vision.yolo import OFFICIAL_SHA256, YoloDetector, find_weights, installed
from touchline.weights import models_folder, reachable, sha256_of

needs_ultralytics = pytest.mark.skipif(not installed(), reason="ultralytics is not installed (extra `yolo`)")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TOUCHLINE_YOLO_WEIGHTS", raising=False)
    monkeypatch.delenv("TOUCHLINE_YOLO_SHA256", raising=False)
    reachable.cache_clear()
    yield
    reachable.cache_clear()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A trained model and its checksum."""
    file = tiny_yolo.train(tmp_path_factory.mktemp("tiny-yolo"))
    return file, sha256_of(file)


@pytest.fixture(scope="session")
def detector(model: tuple[Path, str]) -> YoloDetector:
    return YoloDetector(*model, image_size=tiny_yolo.SIDE, device="cpu")


@pytest.fixture(scope="session")
def held_out() -> list[Rendered]:
    """Frames of a match that the model was not trained on."""
    return list(tiny_yolo.pictures(seed=9, count=8))


def scores(frames: list[Rendered], found: list[tuple[DetectedObject, ...]]) -> tuple[float, float]:
    """Recall of whole figures and precision against all players, at an overlap of one half."""
    wanted = hits = right = said = 0
    for frame, objects in zip(frames, found, strict=True):
        figures = tiny_yolo.figures(frame)
        wanted += len(figures)
        hits += sum(any(iou(box, o.box) > 0.5 for o in objects) for box in figures)
        said += len(objects)
        right += sum(any(iou(box, o.box) > 0.5 for box in frame.players) for o in objects)
    return hits / wanted, right / said


def chunk_of(frames: list[Rendered], chunk_id: int = 0, shots: list[int] | None = None) -> Chunk:
    images = {frame.index: frame.image for frame in frames}
    scenes = [
        SceneFrame(f.index, f.time, shots[i] if shots else 0, True, None, "", 100.0, 100.0)
        for i, f in enumerate(frames)
    ]
    dropped = SceneFrame(9999, 99.0, 0, False, None, "blur", 100.0, 1.0)
    return Chunk(chunk_id, (), lambda sequence, lines=None: images[sequence], {"filter_scenes": [*scenes, dropped]})


def detector_here(config: DetectObjectsConfig) -> ObjectDetector:
    """The detector of these settings and this process's environment."""
    return configured_detector(config, default_weights(config, Settings.from_environment()))


class Counting:
    """A detector that sees one object in everything and keeps what it was shown."""

    identity = "counting"
    runtime = "none"
    labels = frozenset({"person", "ball"})

    def __init__(self) -> None:
        self.batches: list[int] = []

    def detect(self, images: Sequence[Image]) -> list[tuple[DetectedObject, ...]]:
        self.batches.append(len(images))
        return [(DetectedObject("person", 0.5, (0.0, 0.0, 1.0, 1.0)),) for _ in images]


@needs_ultralytics
def test_players_of_a_match_never_seen_are_found_where_they_are(
    detector: YoloDetector, held_out: list[Rendered]
) -> None:
    found = detector.detect([frame.image for frame in held_out])
    recall, precision = scores(held_out, found)
    assert recall >= 0.7
    assert precision >= 0.8
    for objects in found:
        assert {o.label for o in objects} <= {"player"}
        assert [o.confidence for o in objects] == sorted((o.confidence for o in objects), reverse=True)


@needs_ultralytics
def test_a_batch_finds_what_single_pictures_find(detector: YoloDetector, held_out: list[Rendered]) -> None:
    images = [frame.image for frame in held_out[:3]]
    together = detector.detect(images)
    alone = [detector.detect([image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        assert [o.label for o in a] == [o.label for o in b]
        for one, other in zip(a, b, strict=True):
            assert one.box == pytest.approx(other.box, abs=0.5)
            assert one.confidence == pytest.approx(other.confidence, abs=0.01)
    assert detector.detect([]) == []


@needs_ultralytics
def test_what_is_found_in_a_picture_does_not_depend_on_the_others_of_its_batch(
    detector: YoloDetector, held_out: list[Rendered]
) -> None:
    images = [frame.image for frame in held_out]
    # A recording may change its size on the way.
    images[1::2] = [cv2.resize(image, (480, 480)).astype(np.uint8) for image in images[1::2]]
    alone = [detector.detect([image])[0] for image in images]
    assert any(alone)
    assert detector.detect(images) == alone


@needs_ultralytics
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (640, 640)])
def test_boxes_are_in_the_pixels_of_the_picture_given_whatever_its_size(
    detector: YoloDetector, held_out: list[Rendered], width: int, height: int
) -> None:
    """The model searches a letterboxed picture; its boxes must come back to the frame's own pixels."""
    frame = held_out[0]
    before = detector.detect([frame.image])[0]
    scale = width / 640
    canvas = np.full((height, width, 3), 114, np.uint8)
    scaled = cv2.resize(frame.image, None, fx=scale, fy=scale)
    top = (height - scaled.shape[0]) // 2
    canvas[top : top + scaled.shape[0]] = scaled
    after = detector.detect([canvas])[0]
    assert before
    for one in before:
        x1, y1, x2, y2 = one.box
        moved = (x1 * scale, y1 * scale + top, x2 * scale, y2 * scale + top)
        assert max((iou(moved, other.box) for other in after), default=0.0) > 0.75


@needs_ultralytics
def test_nothing_is_found_on_an_empty_pitch(detector: YoloDetector) -> None:
    assert detector.detect([np.full((360, 640, 3), (40, 140, 60), np.uint8)]) == [()]


@needs_ultralytics
def test_loading_leaves_the_process_as_it_was(model: tuple[Path, str], tmp_path: Path) -> None:
    """In a process of its own: nothing printed, nothing written to the working folder, threads as before."""
    script = f"""
import cv2, os, socket, numpy
def closed(*_):
    raise AssertionError('a connection was tried')
socket.create_connection = socket.getaddrinfo = closed
before = cv2.getNumThreads(), numpy.get_printoptions(), os.environ.get('OMP_NUM_THREADS')
from pathlib import Path
from touchline.vision.yolo import YoloDetector
import sys
assert 'torch' not in sys.modules and 'ultralytics' not in sys.modules
detector = YoloDetector(Path({str(model[0])!r}), {model[1]!r}, image_size=64)
detector.detect([numpy.zeros((90, 160, 3), numpy.uint8)])
assert before == (cv2.getNumThreads(), numpy.get_printoptions(), os.environ.get('OMP_NUM_THREADS'))
import torch
assert torch.get_num_threads() == int(os.environ['EXPECTED_THREADS']), torch.get_num_threads()
import ultralytics
from ultralytics.utils import ONLINE
from ultralytics.utils.events import events
assert not ONLINE and not events.enabled and ultralytics.settings['sync'] is False
"""
    threads = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.get_num_threads())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    working, home = tmp_path / "working", tmp_path / "home"
    working.mkdir()
    home.mkdir()
    own = {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=working,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "EXPECTED_THREADS": threads, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(working.iterdir()) == []
    assert list(home.rglob("*")) == []


@needs_ultralytics
def test_identity_names_the_model_and_all_that_changes_what_it_finds(
    model: tuple[Path, str], detector: YoloDetector
) -> None:
    assert model[1] in detector.identity
    other = YoloDetector(*model, image_size=tiny_yolo.SIDE, confidence=0.6, classes=["player", "ball"], device="cpu")
    assert other.identity != detector.identity
    assert "labels: player; ultralytics " in other.identity
    assert YoloDetector(*model, image_size=250, device="cpu").identity == detector.identity  # 250 searches at 256


@needs_ultralytics
def test_a_model_that_knows_no_wanted_label_is_a_wrong_setting(model: tuple[Path, str]) -> None:
    with pytest.raises(BadInputError, match="knows none of referee; its labels are player"):
        YoloDetector(*model, classes=["referee"])


@needs_ultralytics
def test_a_device_that_is_not_there_is_named(model: tuple[Path, str]) -> None:
    with pytest.raises(ModelUnavailableError, match="'cuda:77' is not available"):
        YoloDetector(*model, device="cuda:77")


def test_a_file_with_another_checksum_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"not what was promised")
    with pytest.raises(ModelUnavailableError, match="expected 00") as error:
        YoloDetector(file, "0" * 64)
    assert hashlib.sha256(b"not what was promised").hexdigest() in str(error.value)
    with pytest.raises(ModelUnavailableError, match=r"not loaded without its SHA-256.*weights_sha256"):
        YoloDetector(file, "")
    with pytest.raises(ModelUnavailableError, match=r"no YOLO weights at .*missing\.pt"):
        YoloDetector(tmp_path / "missing.pt", "0" * 64)
    with pytest.raises(ModelUnavailableError, match=r"expected a \.pt file"):
        YoloDetector(tmp_path / "model.onnx", "0" * 64)


@needs_ultralytics
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"right checksum, wrong content")
    with pytest.raises(ModelUnavailableError, match="no model that ultralytics can load"):
        YoloDetector(file, sha256_of(file))


@needs_ultralytics
def test_code_in_a_checkpoint_is_not_run_even_with_the_right_checksum(tmp_path: Path) -> None:
    import torch

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    file = tmp_path / "model.pt"
    torch.save({"model": Harm()}, file)
    with pytest.raises(ModelUnavailableError):
        YoloDetector(file, sha256_of(file))
    assert not (tmp_path / "harm").exists()


def test_a_named_model_is_taken_from_the_models_folder(tmp_path: Path) -> None:
    kept = models_folder() / "yolo11n.pt"
    assert kept.is_relative_to(tmp_path)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert find_weights("yolo11n.pt", "", download=False) == (kept, OFFICIAL_SHA256["yolo11n.pt"])
    assert find_weights("yolo11n.pt", "ab" * 32, download=False) == (kept, "ab" * 32)
    # A path that happens to end in an official name carries no official checksum.
    assert find_weights(str(kept), "", download=False) == (kept, "")


def test_a_closed_network_fails_at_once_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailableError, match="download is off; put it there"):
        configured_detector(DetectObjectsConfig(download=False))
    with pytest.raises(ModelUnavailableError, match="not downloaded without its SHA-256"):
        configured_detector(DetectObjectsConfig(weights="yolo11x.pt"))
    # A proxy that refuses stands for a closed network, wherever this test runs.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(ModelUnavailableError, match=r"github\.com cannot be reached|not installed"):
        configured_detector(DetectObjectsConfig())


@needs_ultralytics
def test_a_download_that_breaks_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.vision.yolo.reachable", lambda host: True)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailableError, match=r"could not be downloaded from github\.com.*put it at"):
        configured_detector(DetectObjectsConfig())
    assert [path.name for path in models_folder().iterdir() if path.name != "Ultralytics"] == []
    with pytest.raises(ModelUnavailableError, match="publishes no model of that name"):
        configured_detector(DetectObjectsConfig(weights="mine.pt", weights_sha256="ab" * 32))


def test_a_name_server_that_never_answers_costs_seconds_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    given_up = []
    answers = threading.Event()

    def silent(*arguments: object, **keywords: object) -> None:
        calls.append(arguments)
        answers.wait(60)
        given_up.append(arguments)
        raise OSError("timed out")

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.create_connection", silent)
    monkeypatch.setattr("touchline.weights.PROBE_S", 0.2)
    assert not reachable("example.invalid")
    assert not reachable("example.invalid")
    assert not given_up, "an answer was waited for"
    assert len(calls) == 1
    answers.set()


@needs_ultralytics
def test_settings_name_the_model_before_the_environment_does(
    model: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHLINE_YOLO_WEIGHTS", str(tmp_path / "elsewhere.pt"))
    monkeypatch.setenv("TOUCHLINE_YOLO_SHA256", "ab" * 32)
    with pytest.raises(ModelUnavailableError, match=r"elsewhere\.pt"):
        detector_here(DetectObjectsConfig())
    file, sha256 = model
    found = detector_here(DetectObjectsConfig(weights=str(file), weights_sha256=sha256.upper(), device="cpu"))
    assert sha256 in found.identity
    monkeypatch.setenv("TOUCHLINE_YOLO_WEIGHTS", str(file))
    monkeypatch.setenv("TOUCHLINE_YOLO_SHA256", sha256)
    assert sha256 in detector_here(DetectObjectsConfig(device="cpu")).identity


@needs_ultralytics
def test_the_node_writes_one_document_a_kept_frame_in_batches(detector: YoloDetector, held_out: list[Rendered]) -> None:
    worker = DetectObjects(DetectObjectsConfig(batch=3), detector)
    documents = list(worker.run_chunk(chunk_of(held_out)))
    assert [d.sequence for d in documents] == [frame.index for frame in held_out]
    recall, _ = scores(held_out, [d.objects for d in documents])
    assert recall >= 0.7
    stats = worker.stats()
    assert stats["frames"] == len(held_out)
    assert stats["objects"]["player"] == sum(len(d.objects) for d in documents)
    assert stats["model"] == detector.identity
    for document in documents:
        assert deserialize(bson.decode(bson.encode(serialize(document)))) == document


def test_without_a_model_the_node_writes_empty_documents_and_says_why(held_out: list[Rendered]) -> None:
    worker = DetectObjects(DetectObjectsConfig(frame_stride=3), None, "no weights are here")
    documents = list(worker.run_chunk(chunk_of(held_out)))
    assert documents == [FrameObjects(f.index, f.time, ()) for f in held_out]
    assert worker.stats()["skipped"] == "no weights are here"
    with pytest.raises(ModelUnavailableError, match=r"required is set.*no weights are here"):
        DetectObjects(DetectObjectsConfig(required=True), None, "no weights are here")


def test_every_nth_frame_counts_within_a_shot_and_across_processes(held_out: list[Rendered]) -> None:
    config = DetectObjectsConfig(frame_stride=3, batch=2)
    shots = [0, 0, 1, 1, 1, 1, 1, 1]
    whole = DetectObjects(config, Counting())
    looked = [d.sequence for d in whole.run_chunk(chunk_of(held_out, shots=shots))]
    assert looked == [held_out[i].index for i in (0, 2, 5)]
    first = DetectObjects(config, Counting())
    begun = list(first.run_chunk(chunk_of(held_out[:4], shots=shots[:4])))
    second = DetectObjects(config, Counting(), state=bson.decode(bson.encode(first.state())))
    ended = list(second.run_chunk(chunk_of(held_out[4:], shots=shots[4:])))
    assert [d.sequence for d in [*begun, *ended]] == looked
    assert second.stats()["frames"] == whole.stats()["frames"]
    assert second.stats()["objects"] == whole.stats()["objects"]


def test_frames_go_to_the_model_a_batch_at_a_time(held_out: list[Rendered]) -> None:
    detector = Counting()
    list(DetectObjects(DetectObjectsConfig(batch=3), detector).run_chunk(chunk_of(held_out)))
    assert detector.batches == [3, 3, 2]
