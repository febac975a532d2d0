"""An ordered parallel map over threads. OpenCV and the inference runtimes release Python's GIL.

Belongs here: the function that stages use to compute several frames at once, and the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Final, TypeVar

AHEAD: Final = 4
"""Number of items queued beyond one per thread, so that no thread is idle while the caller uses a result."""
MOST_THREADS: Final = 16
"""Largest number of threads. It limits memory: each holds a decoded frame or two, about 10 MB at 1080p."""
T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None, pool: Executor | None = None
) -> Iterator[R]:
    """Yields `function(item)` for each item, in order, computed by `threads` threads (None: one per core).

    Items are read in the caller's thread, and at most AHEAD beyond one per thread are queued, so a long video is never
    held in memory. An exception of `function` is raised in place of its result. If a `pool` of that many threads is
    given, it is used and left open.
    """
    threads = threads if threads is not None else cores()
    with nullcontext(pool) if pool else ThreadPoolExecutor(threads, thread_name_prefix="ahead") as executor:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(executor.submit(function, item))
                if len(pending) > threads + AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def cores() -> int:
    """Number of cores that this process may use, at most MOST_THREADS."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST_THREADS)
