"""The processor, its instruction sets and its cores, and the setup of PyTorch for reproducible results.

Belongs here: facts that are reported with a result (a stage's stats, `touchline doctor`), because the last bits of
numbers depend on them. They are never part of a fingerprint.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Final

from touchline.parallel import cores

CPUINFO: Final = Path("/proc/cpuinfo")
FEATURES: Final = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
    "sve",
    "sve2",
)
"""Instruction sets by which numeric libraries choose their code, as named by Linux (x86 first, then Arm)."""


@lru_cache(maxsize=1)
def cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's name, and those of FEATURES that it has, in that order.

    Read from /proc/cpuinfo. Without that file, the name is that of Python's `platform`, and there are no features.
    """
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), ()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return facts.get("model name") or platform.machine(), tuple(name for name in FEATURES if name in flags)


def in_words(threads: int | None = None) -> str:
    """Processor, cores (or the number of `threads`, if given) and instruction sets, in one line."""
    name, features = cpu()
    parallel = f"{cores()} cores" if threads is None else f"{threads} threads"
    return f"{name}, {parallel}, {' '.join(features) or 'instructions unknown'}"


def steady_torch() -> None:
    """Makes PyTorch compute in full float32 and with deterministic algorithms. Call it before a model is loaded.

    By default cuDNN uses TF32 (10 bits of mantissa) on NVIDIA GPUs since Ampere, and may choose algorithms by timing.
    The results of a GPU still differ from those of a CPU by rounding. Imports PyTorch.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
