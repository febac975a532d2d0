"""Times of files, which a file system takes from a clock that ticks in hundredths of a second or more seldom.

Belongs here: what tests share that change a file twice in less time than that.
"""

from __future__ import annotations

import time
from pathlib import Path


def new_time(path: Path) -> None:
    """Waits until the next change of a file gets another time than its last one. Leaves its folder as it is."""
    probe, changed = path.parent.parent / f"{path.parent.name}.probe", path.stat()
    while True:
        probe.touch()
        if probe.stat().st_mtime_ns > max(changed.st_mtime_ns, changed.st_ctime_ns):
            break
        time.sleep(0.001)
    probe.unlink()
