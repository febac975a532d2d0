"""The default OCR engine: PP-OCRv6 in two sizes. Nothing is downloaded.

`small`, which RapidOCR's wheel carries, finds the small text of board ribbons and reads what is hard to read. `tiny`,
which comes with Touchline (`weights/README.md` has its figures), finds the larger text of pictures and reads what is
easy.

Belongs here: which network does what, the size at which a picture is searched, and cutting lines out of it. The
networks are in `pp_ocr.py`, consensus over several readings in `consensus.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.geometry import ends_inside, quad_from
from touchline.ocr.engine import StripText, TextPlace
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime, runtime_identity
from touchline.ocr.pp_ocr import LINE_HEIGHT, TextDetector, TextRecogniser
from touchline.parallel import cores
from touchline.values import Image, Quad
from touchline.weights import sha256_of

SHORT_SIDE: Final = 640
"""Pictures are searched at this short side at least. PP-OCR's own is 736; but small text is on boards, which are
searched by themselves, and what else there is was found as well at three quarters of the cost."""
LONG_SIDE: Final = 2048
"""No picture is searched at a longer side; beyond it the cost grows and nothing more is found."""
RIBBON_SEARCH: Final = 0.65
"""A ribbon is enlarged until its letters are as large as the recogniser wants them; `small` finds them at 0.65 of that
in less than half the time (at 0.5 it began to miss the smallest)."""
BESIDE_RIBBONS: Final = 0.9
"""A picture whose ribbons are read by themselves is searched at this much of its size: what else it shows is larger."""
LONGEST_RIBBON: Final = 2656
"""Width at which the longest ribbon is searched [pixels]; the network takes no 4096."""
WIDTH_RATIO: Final = 1.1
"""Widths at which ribbons are searched stand in this ratio: a new one costs OpenVINO another search, 5 % of stretch
nothing. They are the same with ONNX Runtime, so that both search the same picture."""
MIN_BOX_SCORE: Final = 0.45
"""Detector's confidence of a line, 0..1, below which it is not read (PaddleOCR's default is 0.6, RapidOCR's 0.5)."""
CHECKSUM: Final = 16
"""Hexadecimal digits of a network's SHA-256 that stand in the engine's identity."""
EASY: Final = 0.9
"""What `tiny` reads this surely (0..1) is not read by `small` as well..."""
EASY_LETTERS: Final = 3
"""...if it is so many letters and digits: of one or two `tiny` is often sure and wrong."""
NO_TEXT: Final = 0.4
"""Nor is what `tiny` reads less surely than this. Crowds and nets, mostly; what was text after all is found again."""


class RapidOcrEngine:
    """PP-OCR on the CPU.

    Holds four networks. Serves `parallel` calls at once, each on a core: `threads`, or the cores that the process may
    use, up to 16. What it reads does not depend on their number.
    """

    def __init__(self, *, threads: int | None = None, runtime: Runtime = DEFAULT_RUNTIME) -> None:
        import rapidocr

        small, tiny = Path(rapidocr.__file__).parent / "models", Path(__file__).parent / "weights"
        files = {
            "small det": small / "PP-OCRv6_det_small.onnx",
            "small rec": small / "PP-OCRv6_rec_small.onnx",
            "tiny det": tiny / "PP-OCRv6_tiny_det.onnx",
            "tiny rec": tiny / "PP-OCRv6_tiny_rec.onnx",
            "tiny letters": tiny / "PP-OCRv6_tiny_rec.txt",
        }
        self.parallel = threads if threads is not None else cores()
        detector = partial(TextDetector, threads=self.parallel, min_score=MIN_BOX_SCORE, runtime=runtime)
        recogniser = partial(TextRecogniser, threads=self.parallel, runtime=runtime)
        self._finds = detector(files["tiny det"])
        self._finds_small = detector(files["small det"])
        self._reads_easy = recogniser(files["tiny rec"], letters=files["tiny letters"])
        self._reads = recogniser(files["small rec"])
        sums = ", ".join(f"{name} sha256:{sha256_of(path)[:CHECKSUM]}" for name, path in files.items())
        self._runtime = runtime_identity(runtime)
        self._identity = f"rapidocr {version('rapidocr')} PP-OCRv6 ({sums}), {self._runtime}"

    @property
    def identity(self) -> str:
        """RapidOCR (its code makes boxes and letters of what networks answer), the networks, and what computes them."""
        return self._identity

    @property
    def runtime(self) -> str:
        """The runtime, its version and precision; the CPU is all that it uses."""
        return f"{self._runtime} on cpu"

    @property
    def characters(self) -> frozenset[str]:
        """What either recogniser knows: Latin, Greek, Han, Katakana and Hiragana, digits and signs."""
        return self._reads.characters | self._reads_easy.characters

    def find(self, image: Image, ignore: Sequence[Quad] = (), rows: tuple[int, int] | None = None) -> list[TextPlace]:
        """Where lines are; searched at the detector's size, or at less where small text is left to ribbons."""
        scale = search_scale(image.shape[0], image.shape[1]) * (BESIDE_RIBBONS if ignore else 1.0)
        top, bottom = rows or (0, image.shape[0])
        found = self._finds(image[top:bottom], (scale, scale))
        places = [TextPlace(quad_from(quad)).moved(0, top) for quad in found]
        return [place for place in places if not any(ends_inside(place.quad, other) for other in ignore)]

    def find_in_ribbon(self, image: Image) -> list[TextPlace]:
        """Where the lines of a straightened ribbon are, whose letters are as large as the recogniser wants them."""
        return [TextPlace(quad_from(quad)) for quad in self._finds_small(image, ribbon_scale(image.shape[1]))]

    def read(self, image: Image, place: TextPlace) -> StripText:
        """What stands at one place of a picture, read at the picture's own size."""
        return self.read_strips([cut_line(image, np.array(place.quad, np.float32))])[0]

    def read_strips(self, images: Sequence[Image]) -> list[StripText]:
        """The recognisers alone, one line a strip; about a tenth of the cost of searching a full frame."""
        return [StripText(text.strip(), confidence) for text, confidence in map(self._read, images)]

    def _read(self, image: Image) -> tuple[str, float]:
        """Text and confidence by `tiny`, or by `small` where that is not sure enough either way."""
        text, confidence = self._reads_easy(image)
        easy = confidence >= EASY and sum(map(str.isalnum, text)) >= EASY_LETTERS
        return (text, confidence) if easy or confidence < NO_TEXT else self._reads(image)


def search_scale(height: int, width: int) -> float:
    """How a picture is resized before it is searched for text: from SHORT_SIDE up, and to LONG_SIDE at most."""
    return min(max(1.0, SHORT_SIDE / min(height, width)), LONG_SIDE / max(height, width))


def ribbon_scale(width: int) -> tuple[float, float]:
    """How a ribbon is resized (x, y) before it is searched: to RIBBON_SEARCH of its size, less if it is too long.

    Its width is stretched to the nearest of widths that stand in WIDTH_RATIO.
    """
    scale = min(RIBBON_SEARCH, LONGEST_RIBBON / width)
    nearest = WIDTH_RATIO ** round(math.log(width * scale, WIDTH_RATIO))
    return min(nearest, LONGEST_RIBBON) / width, scale


def cut_line(image: Image, quad: NDArray[np.float32]) -> Image:
    """The line under `quad` (4 x 2, clockwise from top left), rectified; turned if it is far taller than wide.

    Small text is enlarged to the height at which lines are read.
    """
    width = max(2.0, float(max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))))
    height = max(2.0, float(max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))))
    upright = height >= 1.5 * width
    scale = max(1.0, LINE_HEIGHT / (width if upright else height))
    columns, rows = math.ceil(width * scale), math.ceil(height * scale)
    target = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    transform = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    cut = cv2.warpPerspective(
        image, transform, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8)
    return np.rot90(cut).copy() if upright else cut
