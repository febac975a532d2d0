"""The first inference of a process, by two threads at once: the runtimes set themselves up under it, and must not hang.

Each process is a fresh one as far as the runtimes go: it comes from a server that has imported them and run nothing.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from touchline.errors import ModelUnavailableError
from touchline.ocr import networks, rapid
from touchline.ocr.networks import Runtime, load_network

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

DETECTOR = Path(rapid.__file__).parent / "weights" / "PP-OCRv6_tiny_det.onnx"
PROCESSES = 30
PATIENCE_S = 120
"""A process that takes longer hangs: its two inferences take a tenth of a second."""


def infer_at_once(runtime: Runtime) -> None:
    """Loads a network, and gives it the first picture of two threads in the same moment."""
    network = load_network(DETECTOR, threads=2, runtime=runtime)
    start = threading.Barrier(2)

    def infer() -> None:
        start.wait()
        network(np.zeros((64, 64, 3), np.uint8))

    _side_by_side(infer)


def _side_by_side(work: Callable[[], None]) -> None:
    # Daemons, so that a hung pair does not keep the process alive when it is asked to end.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_first_inference_of_two_threads_hangs_in_no_fresh_process(runtime: Runtime) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "onnxruntime", "openvino", "openvino.preprocess"])

    codes: list[int | None] = []
    # Two at a time, all from this thread: an exit code can be fetched once, and `start` fetches those of all others.
    for _ in range(PROCESSES // 2):
        pair = [context.Process(target=infer_at_once, args=(runtime,), daemon=True) for _ in range(2)]
        for process in pair:
            process.start()
        for process in pair:
            process.join(PATIENCE_S)
            codes.append(process.exitcode)
            if process.exitcode is None:
                process.kill()
                process.join()
    assert codes == [0] * PROCESSES, f"of {PROCESSES} processes {codes.count(None)} hung"


def test_openvino_is_refused_where_it_would_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "cpu", lambda: ("Xeon E5-2670", ("sse4_2", "avx")))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ModelUnavailableError, match=r"needs a CPU with AVX2.*\(Xeon E5-2670\).*to onnxruntime"):
        load_network(DETECTOR, threads=1, runtime="openvino")
