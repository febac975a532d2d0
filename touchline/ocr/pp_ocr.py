"""PP-OCR's two networks on OpenVINO: where lines of text are, and what one line says.

Belongs here: how the networks are compiled and fed. What a map of text and a row of letters mean is RapidOCR's code
(`DBPostProcess`, `CTCLabelDecode`); sizes at which pictures are searched are chosen in `rapid.py`.

RapidOCR's own sessions are not used: they normalise every picture in NumPy in 64 bits (a fifth of a search), compile
for batches of unknown size (a new picture size costs half as much again) and answer one request at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.values import Image

STRIDE: Final = 32
"""The detector's coarsest map is 32 times smaller than its picture, whose sides are multiples of that."""
LINE_HEIGHT: Final = 48
"""The recogniser's input height [pixels]."""
WIDTH_STEP: Final = 32
"""Lines are padded to multiples of this width [pixels], so that few sizes occur. The recogniser was trained on lines
padded to 320; padding them less reads as well, and half of all lines are shorter than 200."""
MID_GREY: Final = 127


class TextDetector:
    """Finds lines of text. Serves `threads` callers at once, each on one core.

    `min_score` 0..1 is the score of a box (mean of the map of text under it) below which it is dropped.
    """

    def __init__(self, path: Path, *, threads: int, min_score: float) -> None:
        import openvino as ov
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        core = ov.Core()
        model = _with_bytes_in(core.read_model(path), [1, -1, -1, 3])
        self._requests = _Requests(core.compile_model(model, "CPU", _side_by_side(threads)))
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
        request = self._requests.mine()
        request.infer([searched[None]])
        boxes, _ = self._boxes(request.get_output_tensor().data, (rows, columns))
        back = np.array([width / columns, height / rows], np.float32)
        quads: NDArray[np.float32] = np.asarray(boxes, np.float32).reshape(-1, 4, 2) * back
        return quads


class TextRecogniser:
    """Reads single lines. Serves `threads` callers at once, each on one core."""

    def __init__(self, path: Path, *, threads: int) -> None:
        import openvino as ov
        from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

        core = ov.Core()
        model = core.read_model(path)
        letters = model.get_rt_info()["framework"]["character"].value.splitlines()
        self._decode: Any = CTCLabelDecode(character=letters)
        model = _with_bytes_in(model, [1, LINE_HEIGHT, -1, 3])
        self._requests = _Requests(core.compile_model(model, "CPU", _side_by_side(threads)))

    def __call__(self, image: Image) -> tuple[str, float]:
        """Text and confidence (0..1) of a picture of one line (BGR)."""
        request = self._requests.mine()
        request.infer([_line(image)[None]])
        ((text, confidence),), _ = self._decode(request.get_output_tensor().data)
        return str(text), float(confidence)


class _Requests:
    """One inference request for each calling thread: a request serves one call at a time."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._local = threading.local()

    def mine(self) -> Any:
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request


def _line(image: Image) -> Image:
    """A line at the recogniser's height, padded with grey to a multiple of WIDTH_STEP."""
    width = max(1, int(np.ceil(LINE_HEIGHT * image.shape[1] / image.shape[0])))
    padded = np.full((LINE_HEIGHT, WIDTH_STEP * -(-width // WIDTH_STEP), 3), MID_GREY, np.uint8)
    padded[:, :width] = cv2.resize(image, (width, LINE_HEIGHT))
    return padded


def _side_by_side(threads: int) -> dict[str, Any]:
    """One core a request: two requests on a core each take four fifths of the time of one after the other on both."""
    return {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}


def _with_bytes_in(model: Any, shape: Sequence[int]) -> Any:
    """The network with the normalisation of its input (0..255 to -1..1) built in: N x H x W x 3, BGR, uint8."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape(list(shape))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean([127.5] * 3).scale([127.5] * 3)
    return steps.build()
