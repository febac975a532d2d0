"""Runs a network on the CPU with one of two runtimes, in 32-bit floating point with either.

Belongs here: loading a network and giving it a picture. What its output means is in `pp_ocr.py`.

The runtime is a setting (`run_ocr.runtime`) and never the machine's choice, because the two round differently. ONNX
Runtime is the default: it prepares nothing for a picture of a new size, which costs OpenVINO as much again as that
picture, and board strips and lines of text are of ever new sizes.
"""

from __future__ import annotations

import platform
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.errors import ModelUnavailableError
from touchline.machine import cpu
from touchline.values import Image

Runtime = Literal["onnxruntime", "openvino"]
DEFAULT_RUNTIME: Final[Runtime] = "onnxruntime"
PRECISION: Final = "f32"
"""OpenVINO's name of the type in which both runtimes compute. By itself OpenVINO takes bfloat16 (8 bits of mantissa)
where the CPU has instructions for it, and other text is read there."""

MIDDLE: Final = 127.5
"""Half of the range of grey levels: networks take 0-255 mapped to -1..1, as RapidOCR normalises PP-OCR's input."""
_WARM_UP: Final = 64
"""Side of the first picture that a network is given [pixels]; a multiple of every network's stride."""


class Network(Protocol):
    """A network that takes one picture. Called by as many threads at once as it was loaded for, each on one core."""

    characters: str | None
    """What RapidOCR wrote into a recogniser's file: the characters it knows, a line each."""

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """The first output (N x ...) for one picture: H x W x 3, BGR, uint8; valid until this thread calls again."""
        ...


def runtime_identity(runtime: Runtime) -> str:
    """Name, version and precision of a runtime in a few words: all of it that changes what a network answers."""
    return f"{runtime} {version(runtime)} {PRECISION}"


def load_network(path: Path, *, threads: int, height: int | None = None, runtime: Runtime = DEFAULT_RUNTIME) -> Network:
    """The network of an ONNX file; `height` (pixels) where its pictures have always the same.

    It has answered once when it is returned. A runtime sets up what it shares between threads under its first
    inference; in OpenVINO two threads that do so at once wait for each other for ever (one holds Python's lock and
    waits for a C++ guard, the other holds the guard and waits for Python's lock).

    Raises ModelUnavailableError for OpenVINO on an x86 CPU without AVX2, where it fails or crashes in these networks,
    and where it does not compute in 32 bits.
    """
    network = _OpenVino(path, threads, height) if runtime == "openvino" else _OnnxRuntime(path)
    network(np.zeros((height or _WARM_UP, _WARM_UP, 3), np.uint8))
    return network


class _OnnxRuntime:
    """One session serves all threads; each call stays on the core of its caller."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # It would plan the memory of each size of picture and keep the plan.
        options.enable_mem_pattern = False
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.characters = self._session.get_modelmeta().custom_metadata_map.get("character")

    def __call__(self, image: Image) -> NDArray[np.float32]:
        picture = cv2.dnn.blobFromImage(image, 1 / MIDDLE, mean=(MIDDLE,) * 3)
        output: NDArray[np.float32] = self._session.run(None, {self._input: picture})[0]
        return output


class _OpenVino:
    """One request for each calling thread: a request serves one call at a time."""

    def __init__(self, path: Path, threads: int, height: int | None) -> None:
        name, features = cpu()
        if features and platform.machine() == "x86_64" and "avx2" not in features:
            raise ModelUnavailableError(
                f"{path.name}: OpenVINO {version('openvino')} needs a CPU with AVX2, and this one has none ({name}); "
                f"set run_ocr.runtime to {DEFAULT_RUNTIME}"
            )
        import openvino as ov
        from openvino.preprocess import PrePostProcessor

        core = ov.Core()
        model = core.read_model(path)
        info = model.get_rt_info()
        self.characters = info["framework"]["character"].value if "framework" in info else None
        steps = PrePostProcessor(model)
        shape = [1, height or -1, -1, 3]
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape(shape)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(ov.Type.f32).mean([MIDDLE] * 3).scale([MIDDLE] * 3)
        # One core a request: two requests on a core each take four fifths of the time of one after the other on both.
        how = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        how |= {"INFERENCE_PRECISION_HINT": PRECISION, "EXECUTION_MODE_HINT": "ACCURACY"}
        self._compiled = core.compile_model(steps.build(), "CPU", how)
        if (precision := str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())) != PRECISION:
            raise ModelUnavailableError(
                f"{path.name}: OpenVINO {version('openvino')} computes in {precision}, asked for {PRECISION}; "
                f"set run_ocr.runtime to {DEFAULT_RUNTIME}"
            )
        self._local = threading.local()

    def __call__(self, image: Image) -> NDArray[np.float32]:
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request: Any = self._local.request
        request.infer([image[None]])
        output: NDArray[np.float32] = request.get_output_tensor().data
        return output
