"""Frames near at hand: which are kept, and that nothing depends on it."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resources.frame_cache import FrameCache


def test_frames_of_one_job_are_kept_until_one_of_another_comes() -> None:
    cache = FrameCache(100)
    for number in range(3):
        cache.put(f"a/frames/{number}.jpg", bytes([number]) * 9)
    assert [cache.get(f"a/frames/{n}.jpg") for n in (2, 0, 1, 3)] == [b"\2" * 9, b"\0" * 9, b"\1" * 9, None]
    cache.put("b/frames/0.jpg", b"other")
    assert cache.get("a/frames/0.jpg") is None
    assert cache.get("b/frames/0.jpg") == b"other"


def test_a_frame_that_is_stored_again_replaces_the_one_before() -> None:
    cache = FrameCache(100)
    cache.put("a/0.jpg", b"first")
    cache.put("a/0.jpg", b"second, longer")
    assert cache.get("a/0.jpg") == b"second, longer"


def test_once_it_is_full_the_first_frames_stay_for_they_are_the_next_to_be_asked_for() -> None:
    cache = FrameCache(25)
    for number in range(4):
        cache.put(f"a/{number}.jpg", bytes(10))
    assert [cache.get(f"a/{number}.jpg") is not None for number in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_costs_speed_and_any_other_fault_is_told(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FrameCache(100)
    cache.put("a/0.jpg", b"kept")

    def refuse(**_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    if error == errno.ENOSPC:
        cache.put("b/0.jpg", b"not kept")
        cache.put("b/1.jpg", b"not kept")
        assert cache.get("b/0.jpg") is None
    else:
        with pytest.raises(PermissionError):
            cache.put("b/0.jpg", b"not kept")


def test_a_disk_that_fills_up_is_not_believed_to_hold_what_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FrameCache(100)

    class Full:
        """Takes four bytes, then none."""

        room = 4

        def seek(self, _: int) -> None: ...
        def close(self) -> None: ...

        def write(self, data: bytes) -> int:
            taken, self.room = min(self.room, len(data)), 0
            if not taken:
                raise OSError(errno.ENOSPC, "full")
            return taken

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    for number in range(3):
        cache.put(f"a/{number}.jpg", b"123456")
        assert cache.get(f"a/{number}.jpg") is None


def test_it_can_be_asked_from_many_threads() -> None:
    cache = FrameCache(10**6)
    frames = {f"a/{n}.jpg": bytes([n]) * (n + 1) for n in range(200)}

    def put_and_get(key: str) -> bytes | None:
        cache.put(key, frames[key])
        return cache.get(key)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(put_and_get, frames)) == list(frames.values())


def test_it_leaves_no_open_file_behind() -> None:
    cache = FrameCache(100)
    files = []
    for job in "abc":
        cache.put(f"{job}/0.jpg", b"x")
        assert cache._file is not None
        files.append(cache._file)
    assert [file.closed for file in files] == [True, True, False]
    del cache
    gc.collect()
    assert files[-1].closed
