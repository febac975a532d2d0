"""Work done ahead in threads: OpenCV and the networks let go of Python's lock, so several frames are computed at once.

Belongs here: the one function that stages use for it. What is computed is theirs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Final, TypeVar

AHEAD: Final = 4
"""Items that wait beyond those at work: enough that no thread runs dry while a result is used."""
MOST_THREADS: Final = 16
"""Each holds a decoded frame or two: some 10 MB at 1080p."""
T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None, pool: Executor | None = None
) -> Iterator[R]:
    """`function` of each item, in the items' order, computed by `threads` (None: all cores) at once.

    Items are taken in the caller's thread, no more than AHEAD beyond one a thread before a result is given out, so that
    a long video is never held whole. An exception of `function` is raised where its result would come. `pool`, of so
    many threads, is used and left open where the caller has other work for the same threads.
    """
    threads = threads if threads is not None else cores()
    with nullcontext(pool) if pool else ThreadPoolExecutor(threads, thread_name_prefix="ahead") as at_work:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(at_work.submit(function, item))
                if len(waiting) > threads + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """Cores that this process may use, MOST_THREADS at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST_THREADS)
