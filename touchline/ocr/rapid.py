"""The default OCR engine: PP-OCRv6 in two sizes. Nothing is downloaded.

`small`, which RapidOCR's wheel carries, finds the small text of board strips and reads what is hard to read. `tiny`,
which comes with Touchline (`weights/README.md` has its figures), finds the larger text of pictures and reads what is
easy.

Belongs here: which network does what, and the size at which a picture is searched. The networks are in `pp_ocr.py`,
consensus over several readings in `consensus.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from touchline.geometry import quad_from
from touchline.ocr.engine import EngineSettings, StripText, TextPlace
from touchline.ocr.line_crops import cut_line
from touchline.ocr.networks import DEFAULT_RUNTIME, Runtime, runtime_identity
from touchline.ocr.pp_ocr import TextDetector, TextRecogniser
from touchline.parallel import cores
from touchline.values import Image
from touchline.weights import sha256_of

SHORT_SIDE: Final = 640
"""Pictures are searched at this short side at least. PP-OCR's own is 736; but small text is on boards, which are
searched by themselves, and what else there is was found as well at three quarters of the cost."""
LONG_SIDE: Final = 2048
"""No picture is searched at a longer side; beyond it the cost grows and nothing more is found."""
TINY_FINDS: Final = 9.0
"""Height of the lowest lines that `tiny` finds in a picture of full size; for higher lines the picture is reduced until
they have this height [pixels]."""
SMALL_FINDS: Final = 26.0
"""Height of lines from which `small` searches instead of `tiny`; the picture is reduced until they have this height
[pixels]. Board strips are enlarged to suit the recogniser; `small` finds their lines at 0.65 of that size in less than
half the time, and misses the smallest at 0.5."""
LONGEST_STRIP: Final = 2656
"""Width at which the longest strip is searched [pixels]; the network takes no 4096."""
WIDTH_RATIO: Final = 1.1
"""Widths at which strips are searched stand in this ratio: a new one costs OpenVINO another search, 5 % of stretch
nothing. They are the same with ONNX Runtime, so that both search the same picture."""
MIN_BOX_SCORE: Final = 0.45
"""Detector's confidence of a line, 0..1, below which it is not read (PaddleOCR's default is 0.6, RapidOCR's 0.5)."""
CHECKSUM: Final = 16
"""Hexadecimal digits of a network's SHA-256 that stand in the engine's identity."""
EASY: Final = 0.9
"""Confidence of a reading by `tiny` from which `small` does not read the line as well [0-1]."""
EASY_LETTERS: Final = 3
"""Least number of letters and digits of a line that `tiny` alone may read: of one or two it is often sure and wrong."""
NO_TEXT: Final = 0.4
"""Confidence of a reading by `tiny` below which `small` does not read the line either: mostly crowds and nets [0-1]."""


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

    @classmethod
    def from_settings(cls, settings: EngineSettings) -> RapidOcrEngine:
        """The engine on the runtime that the settings name. Raises ModelUnavailableError if it cannot compute here."""
        return cls(runtime=settings.runtime)

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

    def find(
        self, image: Image, rows: tuple[int, int] | None = None, target_height: float | None = None
    ) -> list[TextPlace]:
        """Where lines are. Pictures of high lines are searched smaller, and by the larger network: that costs less."""
        height, width = image.shape[:2]
        if target_height is not None and target_height >= SMALL_FINDS:
            search, scale = self._finds_small, strip_scale(width, SMALL_FINDS / target_height)
        else:
            both = search_scale(height, width) * min(1.0, TINY_FINDS / (target_height or TINY_FINDS))
            search, scale = self._finds, (both, both)
        top, bottom = rows or (0, height)
        found = [TextPlace(quad_from(quad)) for quad in search(image[top:bottom], scale)]
        # Moving rounds again, so what is found in a whole picture is left as it is.
        return [place.moved(0, top) for place in found] if rows else found

    def read(self, image: Image, places: Sequence[TextPlace]) -> list[StripText]:
        """What stands at places of a picture, read at the picture's own size."""
        return self.read_lines([cut_line(image, place.quad, place.stretch) for place in places])

    def read_lines(self, images: Sequence[Image]) -> list[StripText]:
        """The recognisers alone, on pictures of one line each; about a tenth of the cost of searching a frame."""
        return [StripText(text.strip(), confidence) for text, confidence in map(self._read, images)]

    def _read(self, image: Image) -> tuple[str, float]:
        """Text and confidence by `tiny`, or by `small` where that is not sure enough either way."""
        text, confidence = self._reads_easy(image)
        easy = confidence >= EASY and sum(map(str.isalnum, text)) >= EASY_LETTERS
        return (text, confidence) if easy or confidence < NO_TEXT else self._reads(image)


def search_scale(height: int, width: int) -> float:
    """How a picture is resized before it is searched for text: from SHORT_SIDE up, and to LONG_SIDE at most."""
    return min(max(1.0, SHORT_SIDE / min(height, width)), LONG_SIDE / max(height, width))


def strip_scale(width: int, wanted: float) -> tuple[float, float]:
    """How a board strip is resized (x, y) before it is searched: to `wanted` of its size, less if it is too long.

    Its width is stretched to the nearest of widths that stand in WIDTH_RATIO.
    """
    scale = min(wanted, LONGEST_STRIP / width)
    nearest = WIDTH_RATIO ** round(math.log(width * scale, WIDTH_RATIO))
    return min(nearest, LONGEST_STRIP) / width, scale
