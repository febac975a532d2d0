"""Finding players, ball and goal with a YOLO model through ultralytics.

Belongs here: which weights are loaded, loading them safely, and mapping a model's boxes to documents. What a detector
must do is in `detector.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from touchline.errors import BadInputError, ModelUnavailableError
from touchline.extras import install
from touchline.machine import steady_torch
from touchline.values import DetectedObject, Image
from touchline.vision.detector import DetectorSettings
from touchline.weights import cached_before, models_folder, reachable, registered, verify

DEFAULT_MODEL: Final = "yolo11n.pt"
"""The smallest YOLO11, trained on COCO: its labels `person` and `sports ball` are of use here."""
OFFICIAL_SHA256: Final = {"yolo11n.pt": "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"}
"""Models that may be named without a checksum: assets of ultralytics' releases on GitHub (v8.3.0 and later)."""
HOST: Final = "github.com"
"""Where ultralytics fetches named weights from."""
SCORE_DIGITS: Final = 3
BOX_DIGITS: Final = 1
"""Decimals of confidences (0..1) and of boxes [pixels]. Those beyond differ with the processor, which adds in another
order."""
STRIDE: Final = 32
"""YOLO searches pictures whose sides are multiples of this."""
CONFIGURE: Final = (
    "set detect_objects.weights and detect_objects.weights_sha256, or TOUCHLINE_YOLO_WEIGHTS and TOUCHLINE_YOLO_SHA256"
)
NOT_INSTALLED: Final = f"ultralytics is not installed; {install('yolo')}"
BOXED: Final = ("detect", "segment", "pose")
"""Tasks whose models draw upright boxes."""
ENVIRONMENT: Final = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
}
"""Under these ultralytics reports no usage, looks for no updates, installs nothing, prints nothing but errors, and
rebuilds only model classes that it knows from a checkpoint. They are read when it is imported."""


class YoloDetector:
    """An ultralytics model that draws boxes. Safe to use from one thread at a time.

    `weights` is a .pt file whose SHA-256 (hex) must be `sha256`. `image_size` is the side at which pictures are
    searched [pixels], rounded up to a multiple of 32. `device` is torch's ("cpu", "cuda:0", "mps"); "auto" takes the
    GPU if there is one. `confidence` 0..1 is the least that is kept. `classes` names the labels that are kept, those
    that the model does not know left aside; none keeps all.

    Raises ModelUnavailableError if ultralytics is not installed, the file is missing or another one, it is no such
    model, or the device is not there; BadInputError if the model knows none of `classes`.
    """

    def __init__(
        self,
        weights: Path,
        sha256: str,
        *,
        image_size: int = 640,
        device: str = "auto",
        confidence: float = 0.25,
        classes: Sequence[str] = (),
    ) -> None:
        if weights.suffix != ".pt":
            raise ModelUnavailableError(f"{weights} is no PyTorch checkpoint; expected a .pt file, {CONFIGURE}")
        if not weights.is_file():
            raise ModelUnavailableError(f"no YOLO weights at {weights}; put a file there, or {CONFIGURE}")
        self._sha256 = verify(weights, sha256, CONFIGURE)
        self._weights = weights.name
        self._image_size = math.ceil(image_size / STRIDE) * STRIDE
        self._confidence = confidence
        self._model = _load(weights.absolute())
        self._labels: dict[int, str] = {int(number): str(name) for number, name in self._model.names.items()}
        self._classes = sorted(number for number, name in self._labels.items() if name in classes)
        if classes and not self._classes:
            raise BadInputError(
                f"detect_objects.classes: {weights.name} knows none of {', '.join(classes)}; "
                f"its labels are {', '.join(self._labels.values())}"
            )
        self._device = _device(device)
        computes = f"ultralytics {version('ultralytics')}, torch {version('torch')} f32"
        self._computes, self._runtime = computes, f"{computes} on {self._device}"
        self._warm_up()

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> YoloDetector:
        """The model that the settings name, else DEFAULT_MODEL; raises as the constructor and `find_weights`.

        Takes seconds: it loads PyTorch. On a closed network it fails at once.
        """
        weights, sha256 = find_weights(settings.weights or DEFAULT_MODEL, settings.sha256, download=settings.download)
        return cls(
            weights,
            sha256,
            image_size=settings.image_size,
            device=settings.device,
            confidence=settings.confidence,
            classes=settings.classes,
        )

    @staticmethod
    def missing() -> str:
        """That ultralytics is not installed and how it is, or nothing."""
        return "" if installed() else NOT_INSTALLED

    @property
    def identity(self) -> str:
        """Name and checksum of the weights, the settings that change what is found, and the libraries that compute."""
        kept = ", ".join(self._labels[number] for number in self._classes) or "all"
        return (
            f"{self._weights} sha256:{self._sha256} at {self._image_size} px, confidence {self._confidence:g}, "
            f"labels: {kept}; {self._computes}"
        )

    @property
    def labels(self) -> frozenset[str]:
        """Those of `classes` that the model knows; all of its own without `classes`."""
        return frozenset(self._labels[number] for number in self._classes or self._labels)

    @property
    def runtime(self) -> str:
        """The libraries that compute, in which precision, and the device."""
        return self._runtime

    def detect(self, images: Sequence[Image]) -> list[tuple[DetectedObject, ...]]:
        """One batch. ultralytics takes BGR arrays of any size and gives boxes in each picture's own pixels.

        What is found in a picture does not depend on the others: those of one size are given to the model together.
        Of different sizes it would pad all to one square, in which it finds something else.
        """
        found: list[tuple[DetectedObject, ...]] = [()] * len(images)
        for shape in dict.fromkeys(image.shape for image in images):
            places = [place for place, image in enumerate(images) if image.shape == shape]
            objects = self._predict([images[place] for place in places])
            for place, seen in zip(places, objects, strict=True):
                found[place] = seen
        return found

    def _predict(self, images: list[Image]) -> list[tuple[DetectedObject, ...]]:
        """The objects of pictures of one size."""
        results = self._model.predict(
            images,
            imgsz=self._image_size,
            conf=self._confidence,
            device=self._device,
            classes=self._classes or None,
            verbose=False,
            save=False,
        )
        return [self._objects(result) for result in results]

    def _objects(self, result: Any) -> tuple[DetectedObject, ...]:
        boxes = result.boxes
        found = [
            DetectedObject(
                self._labels[int(label)],
                round(score, SCORE_DIGITS),
                (round(x1, BOX_DIGITS), round(y1, BOX_DIGITS), round(x2, BOX_DIGITS), round(y2, BOX_DIGITS)),
            )
            for (x1, y1, x2, y2), score, label in zip(
                boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist(), strict=True
            )
        ]
        return tuple(sorted(found, key=lambda o: -o.confidence))

    def _warm_up(self) -> None:
        """The first prediction sets the model up, and leaves PyTorch a core fewer than it had."""
        import torch

        threads = torch.get_num_threads()
        self.detect([np.zeros((STRIDE, STRIDE, 3), np.uint8)])
        torch.set_num_threads(threads)


def find_weights(weights: str, sha256: str, *, download: bool) -> tuple[Path, str]:
    """The file of a model given by path or by name (`yolo11n.pt`), and the SHA-256 that it must have.

    A name is looked for among the registered weights of that SHA-256, then in the models folder, and fetched by
    ultralytics into the latter if `download` says so and the network lets it. The working folder is not looked into:
    it is the server's. Raises ModelUnavailableError, with what to do, if that fails.
    """
    path = Path(weights).expanduser()
    if path.name != weights:
        return path, sha256
    sha256 = sha256 or OFFICIAL_SHA256.get(weights, "")
    kept = models_folder() / path.name
    for place in (registered(weights, sha256), kept, cached_before(weights)):
        if place is not None and place.is_file():
            return place, sha256
    missing = f"no {weights} in {kept.parent}"
    if not sha256:
        raise ModelUnavailableError(f"{missing}, and it is not fetched without its SHA-256; {CONFIGURE}")
    if not download:
        raise ModelUnavailableError(f"{missing}, and detect_objects.download is off; put it there, or {CONFIGURE}")
    if not installed():
        raise ModelUnavailableError(NOT_INSTALLED)
    if not reachable(HOST):
        raise ModelUnavailableError(f"{missing}, and {HOST} cannot be reached; put it there, or {CONFIGURE}")
    _fetch(weights, sha256, kept)
    return kept, sha256


def installed() -> bool:
    """Whether ultralytics is installed; it is not imported."""
    return importlib.util.find_spec("ultralytics") is not None


def _fetch(name: str, sha256: str, target: Path) -> None:
    """Let ultralytics fetch one of its assets; a file with another checksum is thrown away."""
    by_hand = f"fetch it yourself and put it at {target}, or {CONFIGURE}"
    with contained():
        from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset
    if name not in GITHUB_ASSETS_NAMES:
        raise ModelUnavailableError(f"no {name} here, and ultralytics publishes no model of that name; {CONFIGURE}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            came = Path(folder) / name
            attempt_download_asset(came, retry=0, progress=False)
            verify(came, sha256, by_hand)
            came.replace(target)
    except (OSError, MemoryError) as error:  # ConnectionError, a read-only or a full disk
        raise ModelUnavailableError(f"{name} could not be fetched from {HOST} ({error}); {by_hand}") from error


def _load(weights: Path) -> Any:
    if not installed():
        raise ModelUnavailableError(NOT_INSTALLED)
    steady_torch()
    with contained():
        ultralytics: Any = importlib.import_module("ultralytics")
        yolo: Any = ultralytics.YOLO  # imported at this look
    # In memory alone: the settings file is shared by every process of this user.
    dict.update(ultralytics.settings, sync=False)
    try:
        model: Any = yolo(str(weights))
    except Exception as error:  # whatever a file that is no checkpoint makes of the unpickler
        # What it says may quote the file.
        why = type(error).__name__
        raise ModelUnavailableError(f"{weights} is no model that ultralytics can load ({why}); {CONFIGURE}") from None
    if model.task not in BOXED:
        raise ModelUnavailableError(f"{weights} is a model for {model.task!r}; expected {' or '.join(BOXED)}")
    return model


def _device(name: str) -> str:
    import torch

    if name in {"", "auto"}:
        return "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ModelUnavailableError(
            f"detect_objects.device: {name!r} is not there ({first}); use auto or cpu"
        ) from error
    return name


@contextmanager
def contained() -> Iterator[None]:
    """Around an import of ultralytics: it says and asks nothing, and changes nothing that others here rely on.

    By itself it turns OpenCV's threads off, limits OpenMP to one thread in this process and its children, and changes
    how NumPy prints.
    """
    import torch  # noqa: F401 (before ultralytics, which would leave it one thread)

    os.environ.update(ENVIRONMENT)
    # Settings, fonts and compiled kernels go into the home of Touchline, and not into the user's.
    os.environ.setdefault("YOLO_CONFIG_DIR", str(models_folder()))
    os.environ.setdefault("MPLCONFIGDIR", str(models_folder() / "matplotlib"))
    os.environ.setdefault("CUDA_CACHE_PATH", str(models_folder() / "cuda"))
    openmp, threads, printing = os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads(), np.get_printoptions()
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        np.set_printoptions(**printing)
        if openmp is None:
            os.environ.pop("OMP_NUM_THREADS", None)
