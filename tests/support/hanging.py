"""Ways in which work hangs, to be put into a stage of a real run.

Belongs here: what the tests of hangs share. A way is named in HANG_HOW of the process that is to hang, in its first
`run_ocr` chunk after the one that HANG_AFTER names; `sitecustomize` of `planted` has every Python process look.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

PLANT = """
import os
if os.environ.get("HANG_HOW"):
    import importlib.abc, importlib.machinery, sys

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name != "touchline.stages.run_ocr":
                return None
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            whole = spec.loader.exec_module
            def exec_module(module):
                whole(module)
                from tests.support.hanging import plant
                plant(module)
            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())
"""


def sleep() -> None:
    """A stage that waits for ever."""
    time.sleep(3600)


def stop() -> None:
    """A process that somebody stopped."""
    os.kill(os.getpid(), signal.SIGSTOP)


def hold() -> None:
    """A call into C that never lets go of Python's lock: no other thread runs, no signal is handled."""
    ctypes.PyDLL(None).sleep(3600)


def plant(module: Any) -> None:
    """Makes `run_ocr` hang in the chunk after HANG_AFTER."""
    how, after = globals()[os.environ["HANG_HOW"]], int(os.environ.get("HANG_AFTER", "0"))
    whole = module.RunOcr.run_chunk

    def run_chunk(worker: Any, chunk: Any) -> Any:
        if chunk.chunk_id == after + 1:
            how()
        return whole(worker, chunk)

    module.RunOcr.run_chunk = run_chunk


def planted(folder: Path, how: str, after: int = 0) -> dict[str, str]:
    """The environment of a process that is to hang; `folder` is for a file that it needs."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(PLANT, "utf-8")
    root = Path(__file__).resolve().parents[2]
    return {"PYTHONPATH": f"{folder}{os.pathsep}{root}", "HANG_HOW": how, "HANG_AFTER": str(after)}
