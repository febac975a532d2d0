"""The second OCR engine: docTR on PyTorch. It finds words; this module puts words of one line together.

Belongs here: loading docTR's models and mapping what they say to the documents of `engine.py`. Without docTR or its
weights the engine cannot be had, and says what to do.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from touchline.errors import ModelUnavailableError
from touchline.extras import install
from touchline.geometry import (
    area,
    bounds,
    centre,
    clipped,
    inside_picture,
    intersection,
    line_height,
    line_length,
    quad_from,
    transform_quad,
)
from touchline.home import given_folder
from touchline.machine import steady_torch
from touchline.ocr.engine import DIGITS, EngineSettings, StripText, TextPlace
from touchline.ocr.line_crops import cut_line
from touchline.values import Image, Quad
from touchline.weights import models_folder, reachable, sha256_of, verify

HOST: Final = "doctr-static.mindee.com"
"""docTR's model hub."""
NOT_INSTALLED: Final = f"docTR is not installed; {install('doctr')}"
WIDE: Final = 2.5
"""A picture wider than this times its height is folded into rows before it is searched: docTR searches squares, in
which a board strip would be a few pixels high."""
OVERLAP: Final = 2.0
"""A row shows the end of the row before again, this many heights of the picture: a word that one row cuts is whole in
the other."""
WORD_GAP: Final = 0.9
"""Words of one line stand no further apart than this, in heights of the line."""


@dataclass(frozen=True, slots=True)
class LineOfWords(TextPlace):
    """A line with the words that were found in it, from left to right: docTR reads word by word."""

    words: tuple[Quad, ...]

    def upright(self) -> None:
        """None: words were found one by one, and each is read in a rectangle of its own."""

    def within(self, width: int, height: int) -> TextPlace:
        """What of the line and its words lies in a picture of that size; itself if all does."""
        if inside_picture(self.quad, width, height):
            return self
        words = (clipped(word, width, height) for word in self.words)
        return replace(
            self,
            quad=clipped(self.quad, width, height),
            words=tuple(word for word in words if line_length(word) >= 1),
        )

    def mapped(self, matrix: NDArray[np.float64]) -> TextPlace:
        """The line and its words under a 3 x 3 homography or a 2 x 3 affine matrix."""
        words = tuple(transform_quad(word, matrix) for word in self.words)
        return replace(self, quad=transform_quad(self.quad, matrix), words=words)


class DoctrEngine:
    """Finds words with one model of docTR and reads them with another. Safe to use from one thread at a time.

    `det_arch` and `reco_arch` are docTR's names. Weights come from `det_weights` and `reco_weights`, PyTorch state
    dicts whose SHA-256 must be `det_sha256` and `reco_sha256`; without these, if `pretrained`, from docTR's cache or
    its hub; else they are random, which only tests want. `device` is torch's, "auto" takes a GPU if there is one.
    `min_text_score` 0..1: words read less confidently are left out of their line.

    Raises ModelUnavailableError if docTR is not installed, does not know an architecture, or weights cannot be had.
    """

    def __init__(
        self,
        det_arch: str = "db_mobilenet_v3_large",
        reco_arch: str = "crnn_mobilenet_v3_small",
        *,
        det_weights: Path | None = None,
        det_sha256: str = "",
        reco_weights: Path | None = None,
        reco_sha256: str = "",
        pretrained: bool = True,
        device: str = "auto",
        min_text_score: float = 0.3,
    ) -> None:
        if importlib.util.find_spec("doctr") is None:
            raise ModelUnavailableError(NOT_INSTALLED)
        import torch
        from doctr.models import detection, recognition
        from doctr.models.detection.zoo import detection_predictor
        from doctr.models.recognition.zoo import recognition_predictor

        steady_torch()
        detector, det_source = _model(detection, det_arch, det_weights, det_sha256, pretrained)
        recogniser, reco_source = _model(recognition, reco_arch, reco_weights, reco_sha256, pretrained)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # Boards lean with the camera, so words are sought as quads and not as upright boxes.
        self._detector: Any = detection_predictor(
            detector.to(device), pretrained=False, assume_straight_pages=False, batch_size=4
        )
        self._recogniser: Any = recognition_predictor(recogniser.to(device), pretrained=False, batch_size=64)
        self._min_text_score = min_text_score
        self._characters = frozenset(str(recogniser.vocab))
        self.parallel = 1
        computes = f"torch {version('torch')} f32"
        self._runtime = f"{computes} on {device}"
        self._identity = (
            f"doctr {version('python-doctr')} {det_arch} {det_source}, {reco_arch} {reco_source}, {computes}"
        )

    @classmethod
    def from_settings(cls, settings: EngineSettings) -> DoctrEngine:
        """The engine with docTR's own weights; it has one runtime. Raises as the constructor."""
        return cls()

    @staticmethod
    def missing() -> str:
        """That docTR is not installed and how it is, or nothing."""
        return NOT_INSTALLED if importlib.util.find_spec("doctr") is None else ""

    @property
    def identity(self) -> str:
        """Version of docTR, the architectures, the SHA-256 of their weights, and what computes them."""
        return self._identity

    @property
    def characters(self) -> frozenset[str]:
        """The vocabulary that the recogniser was trained on."""
        return self._characters

    @property
    def runtime(self) -> str:
        """PyTorch's version, its precision and device."""
        return self._runtime

    def find(
        self, image: Image, rows: tuple[int, int] | None = None, target_height: float | None = None
    ) -> list[TextPlace]:
        """Finds words and joins those that stand side by side. docTR searches at one size, whatever is sought."""
        top, bottom = rows or (0, image.shape[0])
        return [line.moved(0, top) for line in join_words(self.find_words(image[top:bottom]))]

    def read(self, image: Image, places: Sequence[TextPlace]) -> list[StripText]:
        """Reads lines word by word; a place without words is read as one word."""
        return [self._read_line(image, place) for place in places]

    def _read_line(self, image: Image, place: TextPlace) -> StripText:
        """The words of a line. Its confidence is the mean of theirs, weighted by their letters."""
        quads = place.words if isinstance(place, LineOfWords) else (place.quad,)
        words = self.read_words([cut_line(image, quad) for quad in quads])
        read = [word for word in words if word.text and word.confidence >= self._min_text_score]
        letters = sum(len(word.text) for word in read)
        confidence = sum(word.confidence * len(word.text) for word in read) / max(1, letters)
        return StripText(" ".join(word.text for word in read), round(confidence, DIGITS))

    def read_words(self, images: Sequence[Image]) -> list[StripText]:
        """The recogniser alone, on pictures of one word each. They are BGR, uint8; docTR wants RGB."""
        if not images:
            return []
        read = self._recogniser([np.ascontiguousarray(image[:, :, ::-1]) for image in images])
        return [_strip_text(str(text), float(confidence)) for text, confidence in read]

    def find_words(self, image: Image) -> list[Quad]:
        """Where words are in a picture (H x W x 3, BGR, uint8), in its pixels; nothing is read."""
        height, width = image.shape[:2]
        starts, length = rows(height, width)
        # A bare strip between rows keeps their words apart.
        pitch = height if len(starts) == 1 else height + max(2, height // 4)
        page = np.zeros((pitch * len(starts), length, 3), np.uint8)
        for row, x in enumerate(starts):
            page[row * pitch : row * pitch + height] = image[:, x : x + length, ::-1]
        # One class of objects, "words": five points each, relative to the page, of which the last is the score.
        found: NDArray[np.float64] = next(iter(self._detector([page])[0].values()))
        quads: list[Quad] = []
        for relative in found[:, :4]:
            quad = clockwise(relative * (page.shape[1], page.shape[0]))
            row = min(int(quad[:, 1].mean() // pitch), len(starts) - 1)
            quad = quad + np.array([starts[row], -row * pitch])
            quad[:, 1] = quad[:, 1].clip(0, height)
            if area(quad_from(quad)) >= 1:
                quads.append(quad_from(quad))
        return quads if len(starts) == 1 else without_repeats(quads)


def rows(height: int, width: int) -> tuple[list[int], int]:
    """Where the rows begin into which a picture is folded [x, pixels], and how long each is; one if it is not wide.

    There are so many that rows one below the other make about a square.
    """
    if width <= WIDE * height:
        return [0], width
    count = max(2, round(np.sqrt(width / (1.25 * height))))
    overlap = OVERLAP * height
    length = min(width, int(np.ceil((width + (count - 1) * overlap) / count)))
    return [round(x) for x in np.linspace(0, width - length, count)], length


def clockwise(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four corners (4 x 2) in order from the top left, for a line that leans less than 45 degrees."""
    middle = points.mean(axis=0)
    turn = np.arctan2(points[:, 1] - middle[1], points[:, 0] - middle[0])
    ordered = points[np.argsort(turn)]
    return np.roll(ordered, -int(np.argmin(ordered.sum(axis=1))), axis=0)


def without_repeats(quads: Sequence[Quad]) -> list[Quad]:
    """Words that two rows both found once, the larger of each: the smaller is the one that an edge cut."""
    kept: list[Quad] = []
    for quad in sorted(quads, key=area, reverse=True):
        box = bounds(quad)
        smaller = max(1e-9, (box[2] - box[0]) * (box[3] - box[1]))
        if all(intersection(box, bounds(other)) < 0.6 * smaller for other in kept):
            kept.append(quad)
    return kept


def join_words(words: Sequence[Quad]) -> list[LineOfWords]:
    """Words into lines: side by side, of like height, less than WORD_GAP apart. Lines from top to bottom."""
    lines: list[list[Quad]] = []
    for word in sorted(words, key=lambda quad: centre(quad)[0]):
        line = next((line for line in lines if _follows(line[-1], word)), None)
        if line is None:
            lines.append([word])
        else:
            line.append(word)
    places = [LineOfWords((w[0][0], w[-1][1], w[-1][2], w[0][3]), tuple(w)) for w in lines]
    return sorted(places, key=lambda place: centre(place.quad)[::-1])


def _follows(left: Quad, right: Quad) -> bool:
    a, b = line_height(left), line_height(right)
    if max(a, b) > 1.6 * min(a, b):
        return False
    (_, top, bottom, _), (next_top, _, _, next_bottom) = left, right
    gap = (next_top[0] + next_bottom[0] - top[0] - bottom[0]) / 2
    rise = abs(next_top[1] + next_bottom[1] - top[1] - bottom[1]) / 2
    return -0.5 * a <= gap <= WORD_GAP * max(a, b) and rise <= 0.35 * max(a, b)


def _strip_text(text: str, confidence: float) -> StripText:
    text = text.strip()
    return StripText(text, round(min(1.0, max(0.0, confidence)), DIGITS) if text else 0.0)


def _model(zoo: Any, arch: str, weights: Path | None, sha256: str, pretrained: bool) -> tuple[Any, str]:
    """A model of `zoo` (docTR's detection or recognition) with its weights, and where these are from, in words."""
    build = getattr(zoo, arch, None)
    kind = str(zoo.__name__).rpartition(".")[2]
    if arch.startswith("_") or not callable(build) or not arch.islower():
        raise ModelUnavailableError(f"docTR has no {kind} architecture {arch!r}; its documentation lists them")
    # The backbone's own weights would be fetched too, only to be written over.
    model: Any = build(pretrained=False, pretrained_backbone=False)
    if weights is not None:
        came = verify(weights, sha256, f"give the SHA-256 of the {kind} weights")
        _load(model, weights)
        return _ready(model), f"sha256:{came}"
    if not pretrained:
        return _ready(model), "untrained"
    path = _from_hub(str(model.cfg["url"]), arch)
    _load(model, path)
    return _ready(model), f"{path.name} sha256:{sha256_of(path)}"


def _ready(model: Any) -> Any:
    from doctr.models.detection import FAST
    from doctr.models.detection.fast import reparameterize

    return reparameterize(model) if isinstance(model, FAST) else model


def _load(model: Any, path: Path) -> None:
    import torch

    try:
        # weights_only: a state dict holds numbers, and nothing in it is run.
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever a file that is no state dict makes of the unpickler
        # What it says may quote the file.
        why = type(error).__name__
        raise ModelUnavailableError(f"{path} holds no weights of this docTR architecture ({why})") from None


def hub_file(url: str) -> Path:
    """Where what docTR fetched from `url` is kept: under DOCTR_CACHE_DIR, else `models/doctr` in the home.

    Earlier versions left it to docTR, which takes ~/.cache/doctr: what is there is used from there.
    """
    name = url.rpartition("/")[2].partition("&")[0]
    if given := given_folder("DOCTR_CACHE_DIR"):
        return given / "models" / name
    before = Path.home() / ".cache" / "doctr" / "models" / name
    return before if before.is_file() else models_folder() / "doctr" / "models" / name


def _from_hub(url: str, arch: str) -> Path:
    path = hub_file(url)
    remedy = f"put {path.name} into {path.parent} (from {url}), or set run_ocr.engine to rapidocr"
    if not path.is_file() and not reachable(HOST):
        raise ModelUnavailableError(f"docTR's weights of {arch} are not here and {HOST} cannot be reached; {remedy}")
    from doctr.utils.data import download_from_url

    said = io.StringIO()
    try:
        # Checks the hash in the file's name, of a file that is here too; says what it does to standard output.
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return Path(download_from_url(url, cache_dir=str(path.parent.parent), cache_subdir="models"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"docTR's weights of {arch} could not be fetched ({error}); {remedy}") from error
