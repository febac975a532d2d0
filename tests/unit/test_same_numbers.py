"""The same video gives the same report: whatever the threads, begun anew or not, and with either runtime."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from benchmarks.in_process import Walked, walk
from resources import models
from touchline import machine
from touchline.brands import BrandBook, shipped
from touchline.ocr.engine import EngineSettings
from touchline.ocr.networks import Runtime, load_network, runtime_identity
from touchline.ocr.rapid import RapidOcrEngine
from touchline.stages.run_ocr import RunOcr, RunOcrConfig
from touchline.synthetic import Truth

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that compute in bfloat16."""

WEIGHTS = Path(machine.__file__).parent / "ocr" / "weights"
CHUNKS = {"extract_frames.chunk_s": 2.5}
CONFIDENCE = 0.0015
"""The runtimes' confidences of one line differ by less (0..1): by one in the last decimal that is kept, at most."""
PIXELS = 1.0
"""And the corners of its place."""


@pytest.fixture(scope="module")
def brands() -> BrandBook:
    return BrandBook.from_entries(shipped())


@pytest.fixture(scope="module")
def alone(clip: tuple[Path, Truth], brands: BrandBook) -> Walked:
    """All nodes on the rendered clip, with one thread."""
    return walk(clip[0], RapidOcrEngine(threads=1), brands, CHUNKS)


@pytest.mark.slow
def test_one_thread_and_two_write_the_same_bytes(clip: tuple[Path, Truth], brands: BrandBook, alone: Walked) -> None:
    assert len(alone.documents["run_ocr"]) > 20
    together = walk(clip[0], RapidOcrEngine(threads=2), brands, CHUNKS)
    assert together.digests() == alone.digests()


@pytest.mark.slow
def test_nodes_that_begin_anew_after_every_chunk_write_the_same_bytes(
    clip: tuple[Path, Truth], brands: BrandBook, alone: Walked
) -> None:
    assert len({frame["chunk_id"] for frame in alone.documents["extract_frames"]}) == 3
    resumed = walk(clip[0], RapidOcrEngine(threads=2), brands, CHUNKS, resume=True)
    assert resumed.digests() == alone.digests()


@pytest.mark.slow
@pytest.mark.tells
def test_both_runtimes_read_the_same_texts_and_report_the_same_seconds(
    clip: tuple[Path, Truth], brands: BrandBook, alone: Walked
) -> None:
    other = walk(clip[0], RapidOcrEngine(threads=2, runtime="openvino"), brands, CHUNKS)
    pairs = list(zip(alone.documents["run_ocr"], other.documents["run_ocr"], strict=True))
    assert [a["text"] for a, _ in pairs] == [b["text"] for _, b in pairs]
    confidence = max(abs(a["confidence"] - b["confidence"]) for a, b in pairs)
    pixels = max(float(np.abs(np.array(a["quad"]) - np.array(b["quad"])).max()) for a, b in pairs)
    assert confidence < CONFIDENCE
    assert pixels < PIXELS
    assert figures(alone) == figures(other)
    has = BFLOAT16.intersection(machine.cpu()[1])
    print(
        f"{len(pairs)} readings alike; confidences within {confidence:.1e}, corners within {pixels:.2g} px, on "
        f"{machine.in_words()}: "
        + (f"with {', '.join(sorted(has))}" if has else "no bfloat16 here, so not compared where a CPU has it")
    )


def figures(walked: Walked) -> list[Any]:
    """The brands of a report, their seconds and stretches."""
    return [(b["name"], b["seconds"], b["intervals"], b["zones"]) for b in json.loads(walked.report)["brands"]]


def test_openvino_is_told_to_compute_in_32_bits_and_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    told: dict[str, object] = {}
    compiles = openvino.Core.compile_model

    def noted(core: Any, model: Any, device: str, how: dict[str, object]) -> Any:
        told.update(how)
        return compiles(core, model, device, how)

    monkeypatch.setattr(openvino.Core, "compile_model", noted)
    network: Any = load_network(WEIGHTS / "PP-OCRv6_tiny_det.onnx", threads=1, runtime="openvino")
    assert (told["INFERENCE_PRECISION_HINT"], told["EXECUTION_MODE_HINT"]) == ("f32", "ACCURACY")
    assert network._compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_an_engine_is_known_by_what_computes_it_and_not_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[Runtime, set[str]] = {runtime: set() for runtime in RUNTIMES}
    for runtime in RUNTIMES:
        for threads, cpu in ((1, ("A", ("avx2",))), (2, ("B", ("avx2", "avx512_bf16")))):
            monkeypatch.setattr(machine, "cpu", lambda cpu=cpu: cpu)
            known[runtime].add(RapidOcrEngine(threads=threads, runtime=runtime).identity)
    assert {runtime: len(names) for runtime, names in known.items()} == dict.fromkeys(RUNTIMES, 1)
    for runtime, (name,) in known.items():
        assert runtime_identity(runtime) in name
        assert "f32" in name
        assert not [other for other in RUNTIMES if other != runtime and other in name]
        # The networks that come along, as their README lists them.
        assert "tiny det sha256:193bab7a04fca699" in name
        assert "tiny rec sha256:9ef676d6ed3c8825" in name
        assert name.count("sha256:") == 5


def test_the_stage_tells_on_which_machines_it_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RapidOcrEngine(threads=2)
    state: dict[str, Any] | None = None
    for name in ("Old CPU", "New CPU", "Old CPU"):
        monkeypatch.setattr(machine, "cpu", lambda name=name: (name, ("avx", "avx2")))
        worker = RunOcr(RunOcrConfig(), engine, state)
        state = worker.state()
    runtime = f"{runtime_identity('onnxruntime')} on cpu"
    assert worker.stats()["computed_on"] == (
        f"{runtime}: Old CPU, 2 threads, avx avx2; {runtime}: New CPU, 2 threads, avx avx2"
    )


@pytest.mark.parametrize(
    ("text", "name", "features"),
    [
        (
            "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx fma avx2 avx512f avx512_bf16 amx_bf16\n",
            "Some Xeon",
            ("avx", "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16"),
        ),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\nCPU part\t: 0xd40\n", None, ("asimd", "bf16", "i8mm")),
    ],
)
def test_a_processor_is_known_by_its_name_and_its_instructions(
    text: str, name: str | None, features: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text, "utf-8")
    monkeypatch.setattr(machine, "CPUINFO", path)
    machine.cpu.cache_clear()
    try:
        found = machine.cpu()
    finally:
        machine.cpu.cache_clear()
    assert found[1] == features
    assert name in {None, found[0]}


def test_threads_that_ask_for_an_engine_at_once_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    start, loaded = threading.Barrier(4), []

    def load(engine: str, settings: EngineSettings) -> object:
        loaded.append((engine, settings))
        threading.Event().wait(0.2)  # what loading takes: long enough for the others to ask
        return object()

    def ask(_: int) -> object:
        start.wait()
        return models.Models().ocr("rapidocr", "openvino")

    monkeypatch.setattr(models, "load_engine", load)
    models._ocr.cache_clear()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert len({id(engine) for engine in pool.map(ask, range(4))}) == 1
    finally:
        models._ocr.cache_clear()
    assert loaded == [("rapidocr", EngineSettings("openvino"))]
