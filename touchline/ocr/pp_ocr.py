"""PP-OCR's two kinds of network: where lines of text are, and what one line says.

Belongs here: how they are fed. What runs them is in `networks.py`; what a map of text and a row of letters mean is
RapidOCR's code (`DBPostProcess`, `CTCLabelDecode`); sizes at which pictures are searched are chosen in `rapid.py`.

RapidOCR's own sessions are not used: they normalise every picture in NumPy in 64 bits (a fifth of a search) and answer
one request at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.errors import ModelUnavailableError
from touchline.ocr.engine import DIGITS
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime, load_network
from touchline.values import Image

STRIDE: Final = 32
"""The detector's coarsest map is 32 times smaller than its picture, whose sides are multiples of that."""
LINE_HEIGHT: Final = 48
"""The recogniser's input height [pixels]."""
WIDTH_STEP: Final = 32
"""Lines are padded to multiples of this width [pixels]. The recogniser was trained on lines padded to 320; padding them
less reads as well, and half of all lines are shorter than 200."""
MID_GREY: Final = 127
"""Value with which lines are padded [grey level, 0-255]."""


class TextDetector:
    """Finds lines of text. Serves `threads` callers at once, each on one core.

    `min_score` 0..1 is the score of a box (mean of the map of text under it) below which it is dropped.
    """

    def __init__(self, path: Path, *, threads: int, min_score: float, runtime: Runtime = DEFAULT_RUNTIME) -> None:
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        self._network = load_network(path, threads=threads, runtime=runtime)
        # RapidOCR's own settings but for the score.
        self._boxes: Any = DBPostProcess(
            thresh=0.3, box_thresh=min_score, max_candidates=1000, unclip_ratio=1.6, use_dilation=True
        )

    def __call__(self, image: Image, scale: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float32]:
        """Quads (N x 4 x 2, clockwise from top left, in the picture's pixels) of the lines in a BGR picture.

        The picture is searched at `scale` (x, y) times its size, rounded to what the network takes.
        """
        height, width = image.shape[:2]
        columns, rows = (
            STRIDE * max(1, round(side * by / STRIDE)) for side, by in zip((width, height), scale, strict=True)
        )
        shrinks = columns * rows < width * height
        searched = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        boxes, _ = self._boxes(self._network(searched.astype(np.uint8, copy=False)), (rows, columns))
        back = np.array([width / columns, height / rows], np.float32)
        quads: NDArray[np.float32] = np.asarray(boxes, np.float32).reshape(-1, 4, 2) * back
        return quads


class TextRecogniser:
    """Reads single lines. Serves `threads` callers at once, each on one core.

    The network's characters, one a line, are in the file `letters`; None: in the network's own. `characters` are these.
    """

    def __init__(
        self, path: Path, *, threads: int, letters: Path | None = None, runtime: Runtime = DEFAULT_RUNTIME
    ) -> None:
        from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

        self._network = load_network(path, threads=threads, height=LINE_HEIGHT, runtime=runtime)
        characters = letters.read_text("utf-8") if letters else self._network.characters
        if characters is None:
            raise ModelUnavailableError(f"{path}: names no characters; give the file that does")
        self.characters = frozenset(characters.splitlines())
        self._decode: Any = CTCLabelDecode(character=characters.splitlines())

    def __call__(self, image: Image) -> tuple[str, float]:
        """Text and confidence (0..1, rounded to DIGITS) of a picture of one line (BGR)."""
        ((text, confidence),), _ = self._decode(self._network(_line(image)))
        return str(text), round(float(confidence), DIGITS)


def _line(image: Image) -> Image:
    """A line at the recogniser's height, padded with grey to a multiple of WIDTH_STEP."""
    width = max(1, int(np.ceil(LINE_HEIGHT * image.shape[1] / image.shape[0])))
    padded = np.full((LINE_HEIGHT, WIDTH_STEP * -(-width // WIDTH_STEP), 3), MID_GREY, np.uint8)
    padded[:, :width] = cv2.resize(image, (width, LINE_HEIGHT))
    return padded
