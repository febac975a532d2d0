"""Detection of players, ball and goal with a YOLO model of ultralytics.

Belongs here: finding weights, loading them safely, and converting results to documents. The protocol is in
`detector.py`.
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
"""File name of the default model: the smallest YOLO11, trained on COCO, with the labels `person` and `sports ball`."""
OFFICIAL_SHA256: Final = {"yolo11n.pt": "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"}
"""SHA-256 (hex) of models that need no checksum in the settings: assets of ultralytics' releases (v8.3.0 and later)."""
HOST: Final = "github.com"
"""Host from which ultralytics downloads weights."""
SCORE_DIGITS: Final = 3
"""Number of decimals of confidences that are kept. Further ones depend on the processor."""
BOX_DIGITS: Final = 1
"""Number of decimals of box coordinates [pixels] that are kept. Further ones depend on the processor."""
STRIDE: Final = 32
"""Side lengths of a YOLO model's input are multiples of this [pixels]."""
CONFIGURE: Final = (
    "set detect_objects.weights and detect_objects.weights_sha256, or TOUCHLINE_YOLO_WEIGHTS and TOUCHLINE_YOLO_SHA256"
)
NOT_INSTALLED: Final = f"ultralytics is not installed; {install('yolo')}"
BOXED: Final = ("detect", "segment", "pose")
"""Tasks of ultralytics whose models return upright boxes."""
ENVIRONMENT: Final = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
}
"""Environment variables that ultralytics reads when it is imported. With them it sends no usage data, checks for no
updates, installs nothing, prints only errors, and loads only known classes from a checkpoint."""


class YoloDetector:
    """An ultralytics model that returns boxes. Only one thread at a time may use it.

    `weights` is a .pt file whose SHA-256 (hex) must be `sha256`. `image_size` is the longer side of the model's input
    [pixels], rounded up to a multiple of 32. `device` is that of torch ("cpu", "cuda:0", "mps"); "auto" selects a GPU
    if there is one. Objects of less than `confidence` (0..1) are dropped. `classes` are the labels that are kept; those
    unknown to the model are ignored, and an empty list keeps all.

    Raises ModelUnavailableError if ultralytics is not installed, the file is missing, has another checksum or is not
    such a model, or the device does not exist; BadInputError if the model has none of `classes`.
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
        """The model that the settings name, or DEFAULT_MODEL. It takes seconds, because it loads PyTorch.

        Raises what the constructor and `find_weights` raise.
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
        """A message if ultralytics is not installed, with the install command; otherwise empty."""
        return "" if installed() else NOT_INSTALLED

    @property
    def identity(self) -> str:
        """Name and checksum of the weights, the settings that change the result, and the inference libraries."""
        kept = ", ".join(self._labels[number] for number in self._classes) or "all"
        return (
            f"{self._weights} sha256:{self._sha256} at {self._image_size} px, confidence {self._confidence:g}, "
            f"labels: {kept}; {self._computes}"
        )

    @property
    def labels(self) -> frozenset[str]:
        """Those of `classes` that the model has; all of its labels if `classes` is empty."""
        return frozenset(self._labels[number] for number in self._classes or self._labels)

    @property
    def runtime(self) -> str:
        """The inference libraries, their precision and the device."""
        return self._runtime

    def detect(self, images: Sequence[Image]) -> list[tuple[DetectedObject, ...]]:
        """The objects of each picture (H x W x 3, BGR, uint8) by falling confidence, with boxes in its pixels.

        Only pictures of one size are batched together, because ultralytics would pad others to a common square, and
        the result for a picture would depend on the others.
        """
        found: list[tuple[DetectedObject, ...]] = [()] * len(images)
        for shape in dict.fromkeys(image.shape for image in images):
            indices = [index for index, image in enumerate(images) if image.shape == shape]
            objects = self._predict([images[index] for index in indices])
            for index, seen in zip(indices, objects, strict=True):
                found[index] = seen
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
        """Runs a first prediction, which initialises the model, and restores PyTorch's number of threads."""
        import torch

        threads = torch.get_num_threads()
        self.detect([np.zeros((STRIDE, STRIDE, 3), np.uint8)])
        torch.set_num_threads(threads)


def find_weights(weights: str, sha256: str, *, download: bool) -> tuple[Path, str]:
    """The file of a model given by path or by name (`yolo11n.pt`), and the SHA-256 (hex) that it must have.

    A name is searched among the registered weights of that SHA-256, then in the models folder. If `download` is set,
    ultralytics downloads a missing model into that folder. The working directory is not searched, because it is that of
    the server. Raises ModelUnavailableError, with a remedy, if no file is found.
    """
    path = Path(weights).expanduser()
    if path.name != weights:
        return path, sha256
    sha256 = sha256 or OFFICIAL_SHA256.get(weights, "")
    kept = models_folder() / path.name
    for candidate in (registered(weights, sha256), kept, cached_before(weights)):
        if candidate is not None and candidate.is_file():
            return candidate, sha256
    missing = f"no {weights} in {kept.parent}"
    if not sha256:
        raise ModelUnavailableError(f"{missing}, and it is not downloaded without its SHA-256; {CONFIGURE}")
    if not download:
        raise ModelUnavailableError(f"{missing}, and detect_objects.download is off; put it there, or {CONFIGURE}")
    if not installed():
        raise ModelUnavailableError(NOT_INSTALLED)
    if not reachable(HOST):
        raise ModelUnavailableError(f"{missing}, and {HOST} cannot be reached; put it there, or {CONFIGURE}")
    _fetch(weights, sha256, kept)
    return kept, sha256


def installed() -> bool:
    """Whether ultralytics is installed. It is not imported."""
    return importlib.util.find_spec("ultralytics") is not None


def _fetch(name: str, sha256: str, target: Path) -> None:
    """Downloads an asset of ultralytics. A file with another checksum is discarded."""
    by_hand = f"download it yourself and put it at {target}, or {CONFIGURE}"
    with contained():
        from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset
    if name not in GITHUB_ASSETS_NAMES:
        raise ModelUnavailableError(f"no {name} here, and ultralytics publishes no model of that name; {CONFIGURE}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            download = Path(folder) / name
            attempt_download_asset(download, retry=0, progress=False)
            verify(download, sha256, by_hand)
            download.replace(target)
    except (OSError, MemoryError) as error:  # ConnectionError, a read-only or a full disk
        raise ModelUnavailableError(f"{name} could not be downloaded from {HOST} ({error}); {by_hand}") from error


def _load(weights: Path) -> Any:
    if not installed():
        raise ModelUnavailableError(NOT_INSTALLED)
    steady_torch()
    with contained():
        ultralytics: Any = importlib.import_module("ultralytics")
        yolo: Any = ultralytics.YOLO  # a lazy import
    # Only in memory: all processes of this user share the settings file.
    dict.update(ultralytics.settings, sync=False)
    try:
        model: Any = yolo(str(weights))
    except Exception as error:  # the unpickler may raise anything for a file that is not a checkpoint
        # The error's text may quote the file, so only its class is reported.
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
            f"detect_objects.device: {name!r} is not available ({first}); use auto or cpu"
        ) from error
    return name


@contextmanager
def contained() -> Iterator[None]:
    """Context for an import of ultralytics, without output, network requests and side effects on other libraries.

    The import turns OpenCV's threads off, limits OpenMP to one thread in this process and its children, and changes
    NumPy's print options. These are restored.
    """
    import torch  # noqa: F401 (before ultralytics, which would limit it to one thread)

    os.environ.update(ENVIRONMENT)
    # Settings, fonts and compiled kernels go into Touchline's home instead of the user's.
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
