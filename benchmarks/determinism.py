"""Determinism: which stages write the same bytes with other numbers of threads, code paths of libraries and runtimes.

    python -m benchmarks --no-accuracy --machines [--footage FOLDER]

Belongs here: the variants, one process for each, and the comparison. `in_process.py` runs the stages.

OpenCV, NumPy, IPP, OpenBLAS, oneDNN, FFmpeg, libjpeg and the C library choose their code by the processor's
instructions. Their switches select the code of an older processor. ONNX Runtime has no such switch; it is compared with
OpenVINO, another implementation of the same arithmetic.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

CLIPS: Final = ("dfl", "franco_boca", "wc2018_t1", "jason_img_1")
"""Clips of a folder of footage, run after the rendered clip: short ones of several kinds, and stills."""
ROOT: Final = Path(__file__).resolve().parent.parent
CHUNK_S: Final = 2.5
"""Length of a chunk [s], so that a clip of seconds has several."""


@dataclass(frozen=True)
class Variant:
    """One way of running. `beside` names the variant it is compared with; `cores` limits the process's CPU cores.

    `ffmpeg`: instructions that FFmpeg may use, by FFmpeg's names; empty for all. `twice`: two processes in parallel.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    beside: str = "as shipped"
    threads: int | None = None
    cores: int | None = None
    runtime: str = "onnxruntime"
    resume: bool = False
    ffmpeg: str = ""
    twice: bool = False


AT_SSE42: Final = {
    "OPENCV_CPU_DISABLE": "AVX2,FMA3,FP16,AVX",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable",
}
OLDER: Final = "all libraries but FFmpeg at SSE4.2"
VARIANTS: Final[Mapping[str, Variant]] = {
    "as shipped": Variant(),
    "the same again": Variant(),
    "two processes side by side": Variant(twice=True),
    "one thread on one core": Variant(threads=1, cores=1),
    "four threads": Variant(threads=4),
    "begun anew after every chunk": Variant(resume=True),
    "another hash seed": Variant({"PYTHONHASHSEED": "4242"}),
    "another time zone and locale": Variant({"TZ": "Asia/Tokyo", "LC_ALL": "C", "LANG": "C"}),
    "fresh memory filled with 0xA5": Variant({"MALLOC_PERTURB_": "90"}),
    "OpenCV without AVX2": Variant({"OPENCV_CPU_DISABLE": "AVX2,FMA3"}),
    "OpenCV without AVX and SSE4": Variant({"OPENCV_CPU_DISABLE": "AVX2,FMA3,FP16,AVX,SSE4.2,SSE4.1"}),
    "OpenCV's IPP at AVX2, as by itself here": Variant({"OPENCV_IPP": "avx2"}),
    "OpenCV without IPP": Variant({"OPENCV_IPP": "disabled"}),
    "libjpeg without SIMD": Variant({"JSIMD_FORCENONE": "1"}),
    "NumPy without AVX2": Variant({"NPY_DISABLE_CPU_FEATURES": "X86_V3"}),
    "OpenBLAS for Nehalem": Variant({"OPENBLAS_CORETYPE": "Nehalem"}),
    "C library without AVX2 and FMA": Variant({"GLIBC_TUNABLES": AT_SSE42["GLIBC_TUNABLES"]}),
    "FFmpeg at SSE4.2": Variant(ffmpeg="sse4.2"),
    "FFmpeg without SIMD": Variant(ffmpeg="0"),
    OLDER: Variant(AT_SSE42),
    "OpenVINO": Variant(runtime="openvino"),
    "OpenVINO, the same again": Variant(runtime="openvino", beside="OpenVINO"),
    "OpenVINO, one thread on one core": Variant(runtime="openvino", threads=1, cores=1, beside="OpenVINO"),
}


@dataclass(frozen=True)
class Difference:
    """The difference of two runs of one clip. `node` is the first stage that wrote other bytes; None if none did."""

    node: str = ""
    numbers: float = 0.0
    """The largest difference of two numbers at the same place of that node's documents."""
    otherwise: int = 0
    """Number of its documents that differ in more than numbers, are missing or are extra."""
    texts: int = 0
    """Number of readings whose text differs, or that only one run has."""
    brands: int = 0
    """Number of brands that only one report has."""
    seconds: float = 0.0
    """The largest difference of a brand's seconds."""


def clips(folder: Path, footage: Path | None) -> tuple[list[Path], Path | None]:
    """A rendered clip, written into `folder`, and CLIPS of a folder of footage; and that folder's list of brands."""
    from benchmarks.clips import brand_list
    from touchline.synthetic import CLIP, render

    rendered = folder / "rendered.mp4"
    render(rendered, CLIP)
    if footage is None:
        return [rendered], None
    files = {path.stem: path for path in footage.rglob("*.*") if path.parent.name != "truth"}
    return [rendered, *(files[name] for name in CLIPS if name in files)], brand_list(footage)


def measure(clips: Sequence[Path], brands_csv: Path | None, only: Sequence[str] = ()) -> dict[str, Any]:
    """Runs every variant on every clip. Returns, by variant, the differences from the variant it is compared with."""
    rows: dict[str, Any] = {}
    wanted = set(only)
    while missing := {VARIANTS[one].beside for one in wanted} - wanted:
        wanted |= missing
    with tempfile.TemporaryDirectory(prefix="touchline-machines-") as name:
        folder = Path(name)
        walks: dict[str, list[Any]] = {}
        for title, variant in VARIANTS.items():
            if wanted and title not in wanted:
                continue
            outs = [folder / f"{number}.pickle" for number in range(2 if variant.twice else 1)]
            began = [_start(variant, out, clips, brands_csv) for out in outs]
            for process in began:
                if process.wait() != 0:
                    raise subprocess.CalledProcessError(process.returncode, process.args)
            found = [pickle.loads(out.read_bytes()) for out in outs]  # noqa: S301 (written by our own process)
            walks[title] = found[0]
            if variant.beside != title:
                before = walks[variant.beside]
                differences = [difference(a, b) for run in found for a, b in zip(before, run, strict=True)]
                rows[title] = _row(variant, differences)
                print(f"{title}: {rows[title]}", file=sys.stderr)
    return rows


def difference(before: Any, after: Any) -> Difference:
    """The difference of two runs of the same clip."""
    node = next((name for name, documents in before.documents.items() if after.documents[name] != documents), "")
    if not node:
        return Difference("" if before.report == after.report else "report")
    pairs = zip(before.documents[node], after.documents[node], strict=False)
    apart = [_apart(a, b) for a, b in pairs]
    missing = abs(len(before.documents[node]) - len(after.documents[node]))
    reports = [{b["name"]: b["seconds"] for b in json.loads(walk.report)["brands"]} for walk in (before, after)]
    shared = reports[0].keys() & reports[1].keys()
    return Difference(
        node,
        max((numbers for numbers in apart if numbers is not None), default=0.0),
        missing + apart.count(None),
        _texts(before.documents["run_ocr"], after.documents["run_ocr"]),
        len(reports[0].keys() ^ reports[1].keys()),
        max((abs(reports[0][name] - reports[1][name]) for name in shared), default=0.0),
    )


def _apart(a: Any, b: Any) -> float | None:
    """The largest difference of numbers in two values of the same structure; None if something else differs."""
    if isinstance(a, bool) or isinstance(b, bool) or isinstance(a, str) or a is None or b is None:
        return 0.0 if a == b else None
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(float(a) - float(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return _largest(_apart(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return _largest(_apart(x, y) for x, y in zip(a, b, strict=True))
    return 0.0 if a == b else None


def _largest(values: Iterator[float | None]) -> float | None:
    found = list(values)
    return None if None in found else max((value for value in found if value is not None), default=0.0)


def _texts(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> int:
    """Readings (frame and text) that only one of the two runs has."""
    one, other = ([(r["sequence"], r["text"]) for r in readings] for readings in (before, after))
    for reading in list(one):
        if reading in other:
            one.remove(reading)
            other.remove(reading)
    return max(len(one), len(other))


def _row(variant: Variant, differences: Sequence[Difference]) -> dict[str, Any]:
    from touchline.nodes import NODE_NAMES

    order = [*NODE_NAMES, "report"]
    apart = [d for d in differences if d.node]
    first = min((d.node for d in apart), key=order.index, default="")
    return {
        "beside": variant.beside,
        "clips": len(differences),
        "same": len(differences) - len(apart),
        "first": first,
        "numbers": max((d.numbers for d in apart if d.node == first), default=0.0),
        "otherwise": sum(d.otherwise for d in apart if d.node == first),
        "texts": sum(d.texts for d in apart),
        "brands": sum(d.brands for d in apart),
        "seconds": max((d.seconds for d in apart), default=0.0),
    }


def page(rows: Mapping[str, Any]) -> list[str]:
    """The table as Markdown."""
    lines = [
        "| | compared with | clips with the same bytes | first node that differs | its numbers differ by, at most "
        "| other documents | readings | brands | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        cells = [title, row["beside"], f"{row['same']} of {row['clips']}"]
        if row["first"]:
            cells += [f"`{row['first']}`", f"{row['numbers']:.2g}", *map(str, (row["otherwise"], row["texts"]))]
            cells += [str(row["brands"]), f"{row['seconds']:.2f}"]
        else:
            cells += [""] * 6
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _start(variant: Variant, out: Path, clips: Sequence[Path], brands_csv: Path | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.determinism", *map(str, clips), "--out", str(out)]
    command += ["--runtime", variant.runtime, "--ffmpeg", variant.ffmpeg]
    command += ["--threads", str(variant.threads)] if variant.threads else []
    command += ["--cores", str(variant.cores)] if variant.cores else []
    command += ["--brands", str(brands_csv)] if brands_csv else []
    command += ["--resume"] if variant.resume else []
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0", **variant.environment})


def _one() -> None:
    """The process of one variant: runs the clips, and writes the stages' output as a pickle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--ffmpeg", default="")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cores", type=int)
    parser.add_argument("--brands", type=Path)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    if options.cores:
        # Before any library counts the cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    import cv2

    from benchmarks.in_process import walk
    from touchline.brands import BrandBook, read_csv, shipped
    from touchline.ocr.rapid import RapidOcrEngine

    if options.threads:
        cv2.setNumThreads(options.threads)
    if options.ffmpeg:
        limit_ffmpeg(options.ffmpeg)
    engine = RapidOcrEngine(threads=options.threads, runtime=options.runtime)
    brands = BrandBook.from_entries([*(read_csv(options.brands) if options.brands else ()), *shipped()])
    settings = {"extract_frames.chunk_s": CHUNK_S}
    walks = [walk(clip, engine, brands, settings, resume=options.resume) for clip in options.clips]
    options.out.write_bytes(pickle.dumps(walks))


def limit_ffmpeg(instructions: str) -> None:
    """Limits the FFmpeg of PyAV to these instructions ("sse4.2", "0" for none), as FFmpeg's `-cpuflags` does."""
    import av  # noqa: F401 (loads it)

    # OpenCV may contain another FFmpeg.
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libavutil" in line}
    [path] = [path for path in mapped if "/av.libs/" in path]
    library = ctypes.CDLL(path)
    flags = ctypes.c_uint(0)
    if instructions != "0" and library.av_parse_cpu_caps(ctypes.byref(flags), instructions.encode()) < 0:
        raise ValueError(f"FFmpeg knows no instructions {instructions!r}")
    library.av_force_cpu_flags(ctypes.c_int(flags.value))


if __name__ == "__main__":
    _one()
