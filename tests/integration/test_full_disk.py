"""A disk without room for the home: every command names it in one sentence, and goes on when there is room again.

Belongs here: the disk that the servers' data is on, as a whole. A full disk for temporary files is in
`test_server_failures.py`.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.embedded.home_folder import State
from resources.local_services import LocalServices
from resources.settings import Settings
from tests.integration.test_local_services import environment_of
from tests.integration.test_server_failures import PATIENT_S, SETTINGS, UNTIL, check, opened
from touchline import disk
from touchline.errors import ServiceError, in_words
from touchline.synthetic import CLIP, render

pytestmark = pytest.mark.slow

SIZE = "size=192m,mode=755"
FULL = r"the disk of \S+ is full \([\d,]+ of 201,326,592 bytes free\); make room there, then run the same again"


@pytest.fixture
def small(settings: Settings) -> Iterator[Path]:
    """A disk of its own that is full soon. Only root can mount one."""
    folder = settings.home / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", SIZE, "tmpfs", folder], check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone, where mounting is allowed")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room of a disk."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return path


def test_a_full_disk_is_named_by_every_command_and_the_same_one_goes_on_with_room(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Settings.from_environment({"TOUCHLINE_HOME": str(small / "home"), "TOUCHLINE_PATIENCE_S": "3"})
    video = small.parent / "short.mp4"
    render(video, dataclasses.replace(CLIP, duration_s=3.0))
    monkeypatch.setenv("TOUCHLINE_HOME", str(own.home))
    before = dict(os.environ)
    with LocalServices(own) as endpoints:
        with opened(own, endpoints, 3) as runner:
            source = runner.register(video)
            taken: list[Path] = []

            def listen(stage: str, share: float) -> None:
                if stage == "extract_frames" and share >= 0.3 and not taken:
                    taken.append(fill(small))

            try:
                said = runner.run(source, overrides=SETTINGS, until=UNTIL, listener=listen).error
            except ServiceError as error:
                # Postgres met the end of the disk before the object store did.
                said = str(error)
            assert re.search(FULL, said), said
            taken[0].unlink()
        with opened(own, endpoints, PATIENT_S) as runner:
            again = runner.run(source, overrides=SETTINGS, until=UNTIL)
            check(runner, again)
            assert again.continued is not None
    os.environ.clear()
    os.environ.update(before)
    state = State(own.home / "services").of("postgres")
    filling = fill(small)
    command = [sys.executable, "-m", "touchline_cli", "jobs"]
    done = subprocess.run(command, env=environment_of(own), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(FULL, done.stderr), done.stderr
    assert State(own.home / "services").of("postgres")["password"] == state["password"]
    filling.unlink()
    done = subprocess.run(command, env=environment_of(own), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "has reached your quota"),
        (errno.EROFS, "takes no writes (read-only file system)"),
    ],
)
def test_an_error_of_a_disk_names_it_with_the_room_and_what_to_do(tmp_path: Path, number: int, words: str) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "state.json"))
    said = in_words(error)
    assert said.startswith(f"the disk of {tmp_path} {words}")
    assert "then run the same again: finished work is kept" in said
    wrapped = ServiceError("around")
    wrapped.__cause__ = error
    assert disk.is_full(wrapped)
    assert disk.told(wrapped) == said
    assert not disk.is_full(OSError(errno.EACCES, "no", "x"))


def test_a_disk_is_short_of_room_before_its_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = {"free": 0}
    monkeypatch.setattr(disk, "_usage", lambda _: (room["free"], 100_000_000_000))
    assert "0 of 100,000,000,000 bytes free" in disk.shortage(tmp_path)
    room["free"] = 999_999_999
    assert disk.shortage(tmp_path)
    room["free"] = 1_000_000_001
    assert not disk.shortage(tmp_path)
