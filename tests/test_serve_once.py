"""One `touchline serve` a home: a second is refused and changes nothing, and what a killed one left is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from resources._processes import end_groups
from resources.settings import Settings
from tests.webserver import Ask
from touchline.errors import BadInputError
from touchline_cli.serving import FILE, alone, check_port, is_served
from touchline_cli.webserver import FILE as ADDRESS
from touchline_cli.webserver import announced, find

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_home_is_held_by_one_and_others_are_told_where_and_by_whom(tmp_path: Path) -> None:
    assert not is_served(tmp_path)
    with alone(tmp_path) as place:
        assert is_served(tmp_path)
        with pytest.raises(BadInputError, match=f"by process {os.getpid()}, which is starting"), alone(tmp_path):
            pass
        place.url("http://127.0.0.1:3123")
        told = f"already served at http://127.0.0.1:3123 by process {os.getpid()}"
        with pytest.raises(BadInputError, match=told), alone(tmp_path):
            pass
        with alone(tmp_path / "another"):
            assert is_served(tmp_path)
    assert not is_served(tmp_path)
    with alone(tmp_path):
        pass


def test_an_address_left_behind_counts_for_nothing_though_something_answers_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / ADDRESS).write_text(json.dumps({"url": f"http://127.0.0.1:{taken.getsockname()[1]}", "pid": 1}))
        assert find(tmp_path, None) is None
        with alone(tmp_path), announced(tmp_path, "127.0.0.1", 3000) as url:
            assert json.loads((tmp_path / ADDRESS).read_text("utf-8")) == {"url": url, "pid": os.getpid()}


def test_what_a_killed_one_left_running_is_ended_and_nothing_else(tmp_path: Path) -> None:
    left, other = (subprocess.Popen(SLEEPER, start_new_session=True) for _ in range(2))
    try:
        parts = [
            {"pid": left.pid, "created": psutil.Process(left.pid).create_time()},
            # Its number was given to another program since.
            {"pid": other.pid, "created": psutil.Process(other.pid).create_time() - 100},
            {"pid": 2**22 + 1, "created": 0.0},
            {"pid": "?"},
        ]
        (tmp_path / FILE).write_text(json.dumps({"pid": other.pid, "url": "http://127.0.0.1:1", "parts": parts}))
        with alone(tmp_path):
            left.wait(20)
            assert not psutil.pid_exists(left.pid)
            assert other.poll() is None
        for broken in ("{", "[]", "7"):
            (tmp_path / FILE).write_text(broken)
            with alone(tmp_path):
                pass
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_a_port_that_is_taken_is_refused_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInputError, match=f"--port {port}: it cannot be listened on .*; give another port"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
    with pytest.raises(BadInputError, match="--host 192.0.2.1"):
        check_port("192.0.2.1", port)


@pytest.mark.slow
def test_a_second_serve_is_refused_at_once_and_the_first_is_still_found(ask: Ask, settings: Settings) -> None:
    before = (settings.home / ADDRESS).read_text("utf-8")
    line = [sys.executable, "-m", "touchline_cli", "serve", "--port", "0"]
    # No servers of its own are started for it, so it needs none to be given.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    environment["TOUCHLINE_HOME"] = str(settings.home)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    first = json.loads(before)
    assert f"is already served at {first['url']} by process {first['pid']}" in done.stderr
    assert "Dagster" not in done.stdout
    assert (settings.home / ADDRESS).read_text("utf-8") == before
    assert find(settings.home, None) == first["url"]
    assert ask("query { version }", {})["version"]


LEADER = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
sys.stdin.read()
"""
ORDERLY = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[-1]).touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""
DEAF = ORDERLY.replace("signal.SIGTERM, end", "signal.SIGTERM, signal.SIG_IGN")


@pytest.mark.parametrize(("program", "in_order"), [(ORDERLY, True), (DEAF, False)], ids=["orderly", "deaf"])
def test_the_end_waits_for_what_a_part_started_though_the_part_is_gone_first(
    program: str, in_order: bool, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    text = program.replace("sys.argv[-1]", repr(str(done)))
    part = subprocess.Popen(
        [sys.executable, "-c", LEADER, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert part.stdout is not None
    started = psutil.Process(int(part.stdout.readline()))
    assert part.stdout.readline() == b"ready\n"
    end_groups([part.pid], 30.0 if in_order else 1.0)
    part.communicate()
    assert part.returncode == -signal.SIGTERM
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert done.exists() == in_order
