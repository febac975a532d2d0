"""What computes here: the processor, its instructions, the cores; and PyTorch told to compute alike everywhere.

Belongs here: facts that are told with a result (a stage's stats, `touchline doctor`), because the last bits of a number
depend on them, and that are never part of a fingerprint.
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
"""Instructions by which numeric libraries choose their code, as Linux names them (x86 first, then Arm)."""


@lru_cache(maxsize=1)
def cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's name, and which of FEATURES it has, in their order.

    Read from /proc/cpuinfo; elsewhere the name that Python knows, and no features.
    """
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), ()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return facts.get("model name") or platform.machine(), tuple(name for name in FEATURES if name in flags)


def in_words(threads: int | None = None) -> str:
    """Processor, cores (or the threads that work) and instructions, in one line."""
    name, features = cpu()
    at_work = f"{cores()} cores" if threads is None else f"{threads} threads"
    return f"{name}, {at_work}, {' '.join(features) or 'instructions unknown'}"


def steady_torch() -> None:
    """Has PyTorch compute in whole 32 bits and by the same algorithms each time. To be called before a model is loaded.

    By itself cuDNN takes TF32 (10 bits of mantissa) on NVIDIA GPUs since Ampere, and may choose its algorithm by
    timing. A GPU still rounds otherwise than a CPU. Imports PyTorch.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
