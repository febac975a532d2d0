"""Recognising a process again: by its start in this boot, whatever the clock says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from resources.embedded import processes


def test_a_process_is_the_same_after_a_step_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = processes.identity(os.getpid())
    assert before
    # What psutil makes of the start of a process after the clock was set by an hour.
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 3600)
    assert processes.identity(os.getpid()) == before
    assert processes.is_same(os.getpid(), before)


def test_two_processes_have_different_identities() -> None:
    mine, parent = processes.identity(os.getpid()), processes.identity(os.getppid())
    assert mine != parent
    assert not processes.is_same(os.getppid(), str(mine))


def test_a_process_that_is_gone_or_a_zombie_has_no_identity() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        assert processes.wait_until(lambda: processes.zombie(child.pid), 5)
        assert processes.identity(child.pid) == ""
    assert processes.identity(child.pid) == ""
    assert not processes.is_same(child.pid, "")


def test_what_the_system_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def hidden(path: Path, *arguments: str) -> str:
        if path == Path("/proc/1/stat"):
            raise FileNotFoundError
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert processes.identity(1) is None
    assert processes.is_same(1, "x") is None
