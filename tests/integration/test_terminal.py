"""At a terminal: runs that end though programs on PATH set it, and output that bears any text."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from resources.settings import Settings
from tests.integration.test_cli import environment, touchline

pytestmark = pytest.mark.slow

FFMPEG = """#!{python}
# Sets the terminal as ffmpeg does when it has one, and asks for it by name, too.
import os, termios
said = []
for name in (0, 1, 2, "/dev/tty"):
    try:
        number = os.open(name, os.O_RDWR) if isinstance(name, str) else name
        found = termios.tcgetattr(number)
        found[3] &= ~termios.ECHO
        termios.tcsetattr(number, termios.TCSANOW, found)
        said.append(f"{{name}} is a terminal")
    except (OSError, termios.error):
        said.append(f"{{name}} is none")
with open({log!r}, "a") as file:
    file.write("; ".join(said) + "\\n")
"""
NONE = "0 is none; 1 is none; 2 is none; /dev/tty is none"


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    picture = np.full((270, 480, 3), 40, np.uint8)
    cv2.putText(picture, "HEINEKEN", (30, 140), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 6, cv2.LINE_AA)
    paths = [tmp_path / name for name in ("one.png", "two.png")]
    for path in paths:
        cv2.imwrite(str(path), picture)
    return paths


@pytest.mark.skipif(sys.platform != "linux", reason="takes a terminal for itself as Linux does it")
def test_sources_at_once_end_at_a_terminal_where_a_program_on_the_path_sets_it(
    settings: Settings, services: object, pictures: list[Path], tmp_path: Path
) -> None:
    log, programs = tmp_path / "ffmpeg.log", tmp_path / "bin"
    programs.mkdir()
    (programs / "ffmpeg").write_text(FFMPEG.format(python=sys.executable, log=str(log)).replace("\\\\", "\\"))
    (programs / "ffmpeg").chmod(0o755)
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    line = [sys.executable, "-m", "touchline_cli.app", "run", *map(str, pictures), "--at-once", "2"]
    env = environment(settings.home, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", TERM="xterm")
    process = subprocess.Popen(
        line, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=take_terminal
    )
    shown, deadline = b"", time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([master], [], [], 0.2)[0]:
            shown += os.read(master, 65536)
    after = termios.tcgetattr(slave)
    process.kill()
    process.wait()
    while select.select([master], [], [], 0)[0]:
        shown += os.read(master, 65536)
    os.close(master)
    os.close(slave)
    assert process.returncode == 0, shown.decode("utf-8", "replace")
    assert log.read_text().splitlines() == [NONE] * 2
    assert after == before
    assert shown.count(b"Heineken") == 2


def test_a_name_that_the_output_cannot_show_costs_nothing(
    settings: Settings, services: object, pictures: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "F\u00fc\u00dfball \u26bd.png"
    shutil.copyfile(pictures[0], odd)
    ascii_only: dict[str, Any] = {"PYTHONIOENCODING": "ascii"}
    done = touchline(settings.home, "run", odd, "--report", tmp_path / "out", **ascii_only)
    assert "Traceback" not in done.stderr
    assert "F\\xfc\\xdfball" in done.stdout
    assert (tmp_path / "out" / odd.stem / "report.html").is_file()
    [row] = json.loads(touchline(settings.home, "run", odd, "--json", **ascii_only).stdout)
    assert row["source"] == str(odd)
    plain: dict[str, Any] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "Nescaf" in touchline(settings.home, "brands", "list", **plain).stdout
