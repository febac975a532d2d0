"""The default OCR engine: RapidOCR on OpenVINO, with the PP-OCRv6 models that its wheel carries. Nothing is downloaded.

Belongs here: loading the detector and the recogniser, and choosing the size at which a picture is searched. Consensus
over several readings is in `touchline/ocr/consensus.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.geometry import centre, inside, quad_from
from touchline.ocr.engine import StripText, TextLine
from touchline.values import Image, Quad

SHORT_SIDE: Final = 736
"""PP-OCR's detector was trained on letters of the size they have when a picture's short side is about so long."""
LONG_SIDE: Final = 2048
"""No picture is searched at a longer side; beyond it the cost grows and nothing more is found."""
WIDE: Final = 3.0
"""A picture wider than this times its height is a rectified ribbon: it comes at the right size already."""
RIBBON_SEARCH: Final = 0.65
"""A ribbon is enlarged until its letters are as large as the recogniser wants them; the detector finds them at 0.65 of
that in less than half the time (at 0.5 it began to miss the smallest)."""
MIN_BOX_SCORE: Final = 0.45
"""Detector's confidence of a line, 0..1, below which it is not read (PaddleOCR's default is 0.6, RapidOCR's 0.5)."""


class RapidOcrEngine:
    """PP-OCR on OpenVINO: two to seven times as fast on CPUs as ONNX Runtime, most where they have AVX-512 or AMX.

    Holds two models (about 150 MB); safe to use from one thread at a time. `threads` limits OpenVINO's own threads;
    None leaves it all cores. `min_text_score` 0..1: readings less confident are not returned.
    """

    def __init__(self, *, threads: int | None = None, min_text_score: float = 0.3) -> None:
        import rapidocr
        from rapidocr import EngineType, RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.WARNING)
        self._min_text_score = min_text_score
        models = Path(rapidocr.__file__).parent / "models"
        engine: Any = RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.log_level": "warning",
                "Det.engine_type": EngineType.OPENVINO,
                "Rec.engine_type": EngineType.OPENVINO,
                # Named, because for OpenVINO RapidOCR would ask its hub for the files that the wheel carries.
                "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
                "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
                "Det.limit_type": "max",
                "Det.limit_side_len": 4 * LONG_SIDE,
                "Det.box_thresh": MIN_BOX_SCORE,
                "EngineConfig.openvino.inference_num_threads": threads if threads is not None else -1,
            }
        )
        engine._load_det_model()
        engine._load_rec_model()
        self._detector = engine.text_det
        self._recogniser = engine.text_rec

    @property
    def identity(self) -> str:
        """Names the wheel, which pins the models it carries, and what computes them."""
        return f"rapidocr {version('rapidocr')} PP-OCRv6 small, openvino {version('openvino')}"

    def read_image(self, image: Image, ignore: Sequence[Quad] = ()) -> list[TextLine]:
        """Finds lines at the detector's size, reads them at the picture's own. Quads are in the picture's pixels.

        Lines whose centre lies in a quad of `ignore` are found but not read, which saves most of their cost.
        """
        scale = search_scale(image.shape[0], image.shape[1])
        searched = image
        if scale != 1.0:
            shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            searched = cv2.resize(image, None, fx=scale, fy=scale, interpolation=shrink).astype(np.uint8)
        boxes = self._detector(searched).boxes
        if boxes is None or not len(boxes):
            return []
        # Letters are cut from the larger of the two pictures: the recogniser wants 48 lines, small text has fewer.
        source, factor = (searched, 1.0) if scale > 1 else (image, 1.0 / scale)
        back = 1.0 / scale if scale > 1 else 1.0
        quads = [np.asarray(box, np.float32) * factor for box in boxes]
        if ignore:
            quads = [q for q in quads if not any(inside(centre(quad_from(q * back)), other) for other in ignore)]
        texts = self.read_strips([cut_line(source, quad) for quad in quads])
        return [
            TextLine(quad_from(quad * back), text.text, text.confidence)
            for quad, text in zip(quads, texts, strict=True)
            if text.text and text.confidence >= self._min_text_score
        ]

    def read_strips(self, images: Sequence[Image]) -> list[StripText]:
        """The recogniser alone, one line a strip; about a tenth of the cost of searching a full frame."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        if not images:
            return []
        result = self._recogniser(TextRecInput(img=list(images)))
        return [
            StripText(str(text).strip(), float(score))
            for text, score in zip(result.txts or (), result.scores, strict=True)
        ]


def search_scale(height: int, width: int) -> float:
    """How a picture is resized before it is searched for text: short side to 736, long side no more than 2048.

    A wide picture is a ribbon, searched at RIBBON_SEARCH of its size, or smaller if it is too long.
    """
    scale = RIBBON_SEARCH if width > WIDE * height else max(1.0, SHORT_SIDE / min(height, width))
    return min(scale, LONG_SIDE * (2 if width > WIDE * height else 1) / max(height, width))


def cut_line(image: Image, quad: NDArray[np.float32]) -> Image:
    """The line under `quad` (4 x 2, clockwise from top left), rectified; turned if it is far taller than wide."""
    width = max(2, math.ceil(max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))))
    height = max(2, math.ceil(max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    transform = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    cut = cv2.warpPerspective(
        image, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8)
    return np.rot90(cut).copy() if height >= 1.5 * width else cut
