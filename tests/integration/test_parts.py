"""The parts of `touchline serve`: started again when they die, up to a bound, and ended when their parent is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from detection_assets.jobs.reconcile import Reconciled
from resources.embedded.processes import wait_until
from resources.local_services import Endpoints
from resources.settings import Settings
from touchline.errors import ServiceError
from touchline_cli import parts as module
from touchline_cli import serve
from touchline_cli.parts import Part, Parts
from touchline_cli.serving import FILE, hold_home, state_of

SLEEPER = ("timeit", "-n1", "-r1", "import time; time.sleep(600)")
ENDPOINTS = Endpoints("", "", "", "", "", "", False, False)
PARENT = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
from touchline_cli.parts import Guardian, Part, Parts
from touchline_cli.serving import hold_home
with hold_home(Path(sys.argv[1])) as place, Guardian(place) as guardian:
    parts = Parts(place, print)
    for name in ("first", "second"):
        parts.start(Part(name, ("timeit", "-n1", "-r1", "import time; time.sleep(600)")))
    print("ready", flush=True)
    while True:
        guardian.check()
        time.sleep(0.05)
"""


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watched(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    """Parts of a home of their own, started again without a pause."""
    monkeypatch.setattr(module, "PAUSES_S", (0.0,) * module.RESTARTS)
    with hold_home(tmp_path) as place:
        parts = Parts(place, told.append)
        yield parts
        parts.end()


def test_a_part_that_was_killed_is_started_again_and_said_so(watched: Parts, told: list[str], tmp_path: Path) -> None:
    part = Part("webserver", SLEEPER)
    watched.start(part)
    assert part.process is not None
    first = part.process.pid
    watched.check()
    assert part.process.pid == first and not told
    part.process.kill()
    part.process.wait()
    watched.check()
    watched.check()
    assert part.process.pid != first and part.process.poll() is None
    assert told == ["the webserver was ended by SIGKILL; it is started again, and runs continue"]
    # The dead one's group is empty: its number may be another program's by now.
    assert [noted["pid"] for noted in state_of(tmp_path)["parts"]] == [part.process.pid]


def test_a_part_that_dies_again_and_again_is_given_up_with_what_to_do(watched: Parts, told: list[str]) -> None:
    part = Part("daemon", ("timeit", "-n1", "-r1", "import os; os._exit(3)"))
    watched.start(part)
    with pytest.raises(ServiceError, match=r"the daemon ended by itself with status 3, for the 6th time .*doctor"):
        _look_on(watched, part)
    assert len(told) == module.RESTARTS
    with pytest.raises(ServiceError, match="ended by itself with status 3 while starting"):
        watched.starting(part)


def test_deaths_long_ago_do_not_count(watched: Parts, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part("daemon", SLEEPER)
    watched.start(part)
    part.deaths.extend([time.monotonic() - module.WINDOW_S - 1] * module.RESTARTS)
    assert part.process is not None
    part.process.kill()
    part.process.wait()
    watched.check()
    assert len(part.deaths) == 1 and part.due is not None


@pytest.mark.parametrize("guardian_too", [False, True], ids=["its guardian lives", "its guardian was killed once"])
def test_parts_end_when_their_parent_is_killed(guardian_too: bool, tmp_path: Path, services: Endpoints) -> None:
    environment = {**os.environ, **_addresses(services), "TOUCHLINE_HOME": str(tmp_path)}
    line = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(line, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    noted = state_of(tmp_path)
    started = [psutil.Process(part["pid"]) for part in noted["parts"]]
    if guardian_too:
        os.kill(noted["guardian"]["pid"], signal.SIGKILL)
        assert wait_until(lambda: state_of(tmp_path)["guardian"] != noted["guardian"], 120)
    guardian = psutil.Process(state_of(tmp_path)["guardian"]["pid"])
    assert len(started) == 2 and all(part.is_running() for part in started)
    parent.kill()
    parent.communicate()
    psutil.wait_procs([*started, guardian], timeout=120)
    assert not any(process.is_running() for process in (*started, guardian))
    assert json.loads((tmp_path / FILE).read_bytes())["pid"] == parent.pid
    # Whoever serves next waits for the guardian, and has nothing left to end.
    with hold_home(tmp_path):
        pass


def test_hung_jobs_are_looked_for_again_after_a_server_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    said: list[Any] = []
    opened: list[Any] = []

    class Instance:
        """Away at first, as Postgres may be at any moment."""

        @staticmethod
        @contextmanager
        def get() -> Iterator[str]:
            opened.append(True)
            if len(opened) == 1:
                raise ServiceError("Postgres is away")
            yield "instance"

    class Watchdog:
        """Fails once; it must be the same one afterwards, which knows since when a job has stood still."""

        def __init__(self, *_: object) -> None:
            self.checks = 0

        def check(self) -> list[str]:
            self.checks += 1
            if self.checks == 1:
                raise OSError("reset")
            over.set()
            return ["a job was ended"]

    monkeypatch.setattr("dagster.DagsterInstance", Instance)
    monkeypatch.setattr("detection_assets.jobs.watchdog.Watchdog", Watchdog)
    monkeypatch.setattr("detection_assets.jobs.watchdog.CHECK_S", 0.01)
    monkeypatch.setattr("resources.connection.connect", lambda _: None)
    monkeypatch.setattr("touchline_cli.session.complain", said.append)
    serve._watch(Settings.from_environment({}), ENDPOINTS, over)
    assert len(opened) == 2
    assert [text.rpartition(": ")[2] for text in said] == ["Postgres is away", "reset", "a job was ended"]


def test_jobs_that_were_killed_at_the_end_are_told_at_once_or_it_is_said_who_tells_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    found = Reconciled(("run",), ())
    monkeypatch.setattr("dagster.DagsterInstance.get", lambda: nullcontext("instance"))
    monkeypatch.setattr("resources.connection.connect", lambda _: None)
    monkeypatch.setattr("touchline_cli.session.say", said.append)
    monkeypatch.setattr("touchline_cli.session.complain", said.append)
    monkeypatch.setattr("detection_assets.jobs.reconcile.reconcile", lambda *_: found)
    serve._reconcile_at_end(ENDPOINTS)
    monkeypatch.setattr("resources.connection.connect", lambda _: 1 / 0)
    serve._reconcile_at_end(ENDPOINTS)
    assert said[0] == f"at the end: {found}" and said[1].endswith("the next command records it")


def _look_on(parts: Parts, part: Part) -> None:
    while True:
        parts.check()
        if part.process is not None:
            part.process.wait(120)


def _addresses(services: Endpoints) -> dict[str, str]:
    from resources.local_services import export

    return export(services)
