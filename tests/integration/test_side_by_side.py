"""Pieces of work in processes of their own: real processes, each with a runner on the real servers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from detection_assets.jobs.heartbeat import Listener
from detection_assets.local.runner import Runner
from detection_assets.local.worker_pool import Task, Workers
from resources.local_services import Endpoints
from resources.settings import Settings
from tests.integration.test_cli import at_work, environment
from touchline.errors import BadInputError, ServiceError, TouchlineError
from touchline.library import repository
from touchline.library.tables import DetectJobStatus
from touchline.parallel import cores
from touchline.synthetic import CLIP, render
from touchline_cli.run import processes

pytestmark = pytest.mark.slow


def linger(seconds: float, runner: Runner, listener: Listener) -> tuple[int, int, float, float]:
    """Its process, the cores it may use, begin and end."""
    began = time.monotonic()
    listener("linger", 0.5)
    time.sleep(seconds)
    return os.getpid(), cores(), began, time.monotonic()


def outlast(folder: Path, runner: Runner, listener: Listener) -> None:
    """At work from before another piece fails until that has been heard of."""
    (folder / "at work").touch()
    _until((folder / "heard").exists)


def fail(folder: Path, how: Callable[[Runner, Listener], None], runner: Runner, listener: Listener) -> None:
    """Fails while another piece is at work."""
    _until((folder / "at work").exists)
    how(runner, listener)


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results(workers: Workers, pieces: list[Task[Any]], folder: Path) -> dict[int, Any]:
    """What became of each piece. `outlast` is told once another one has ended."""
    done = {}
    for number, result in workers.run(pieces):
        done[number] = result
        (folder / "heard").touch()
    return done


def refuse(runner: Runner, listener: Listener) -> None:
    raise BadInputError("not this one")


def stumble(runner: Runner, listener: Listener) -> None:
    raise ZeroDivisionError("a fault of ours")


def lose(runner: Runner, listener: Listener) -> None:
    raise ServiceError("the database is gone")


def die(runner: Runner, listener: Listener) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def touch(path: Path, runner: Runner, listener: Listener) -> None:
    path.touch()


def test_pieces_are_done_at_once_by_processes_that_share_the_cores(settings: Settings, services: Endpoints) -> None:
    heard: list[tuple[int, str, float]] = []
    pieces = [Task(key, partial(linger, 0.5)) for key in ("a", "b", "c")]
    with Workers(settings, services, 2) as workers:
        done: dict[int, Any] = dict(workers.run(pieces, lambda *said: heard.append(said)))
        again: dict[int, Any] = dict(workers.run([Task("d", partial(linger, 0.0))]))
    assert set(done) == {0, 1, 2}
    processes = {pid for pid, *_ in done.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert again[0][0] in processes
    assert {share for _, share, *_ in done.values()} <= {max(1, cores() // 2), -(-cores() // 2)}
    assert sorted(heard) == [(n, "linger", 0.5) for n in range(3)]
    assert not at_work([psutil.Process(pid) for pid in processes if psutil.pid_exists(pid)])


@pytest.fixture(scope="module")
def workers(settings: Settings, services: Endpoints) -> Iterator[Workers]:
    """Two processes for several tests; one that dies is replaced."""
    with Workers(settings, services, 2) as opened:
        yield opened


def test_pieces_of_one_key_are_done_one_after_another(workers: Workers) -> None:
    pieces = [Task("same", partial(linger, 0.3)) for _ in range(3)]
    results: dict[int, Any] = dict(workers.run(pieces))
    spans = sorted((begin, end) for _, _, begin, end in results.values())
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("work", "kind", "says"),
    [
        (refuse, BadInputError, "not this one"),
        (stumble, TouchlineError, "ZeroDivisionError: a fault of ours"),
        (die, TouchlineError, r"its worker process ended with exit code -9"),
    ],
)
def test_a_piece_that_fails_or_dies_stops_no_other(
    workers: Workers,
    tmp_path: Path,
    work: Callable[[Runner, Listener], None],
    kind: type[TouchlineError],
    says: str,
) -> None:
    pieces: list[Task[Any]] = [
        Task("whole", partial(outlast, tmp_path)),
        Task("broken", partial(fail, tmp_path, work)),
        Task("late", partial(touch, tmp_path / "late")),
    ]
    done = results(workers, pieces, tmp_path)
    assert (done[0], done[2]) == (None, None)
    assert type(done[1]) is kind
    assert re.search(says, str(done[1]))
    assert "Traceback" not in str(done[1])
    assert (tmp_path / "late").exists()


def test_when_a_server_is_gone_those_at_work_are_done_and_nothing_new_is_begun(
    workers: Workers, tmp_path: Path
) -> None:
    pieces: list[Task[Any]] = [
        Task("whole", partial(outlast, tmp_path)),
        Task("broken", partial(fail, tmp_path, lose)),
        Task("late", partial(touch, tmp_path / "late")),
    ]
    done = results(workers, pieces, tmp_path)
    assert set(done) == {0, 1}
    assert isinstance(done[1], ServiceError)
    assert not (tmp_path / "late").exists()


def test_processes_that_never_had_work_end_at_once(settings: Settings, services: Endpoints) -> None:
    with Workers(settings, services, 2) as workers:
        loading = [worker.process for worker in workers._workers]
    # Killed, instead of waited for until they have loaded.
    assert [process.exitcode for process in loading] == [-signal.SIGKILL] * 2


def test_what_cannot_be_opened_is_told(settings: Settings, services: Endpoints) -> None:
    nowhere = Endpoints("postgresql+psycopg2://u:p@127.0.0.1:9/x", "", "", "", "", "", False, False, patience_s=0.0)
    with Workers(settings, nowhere, 1) as workers:
        [(_, error)] = workers.run([Task("a", partial(linger, 0.0)), Task("b", partial(linger, 0.0))])
    assert isinstance(error, ServiceError)
    assert "127.0.0.1:9" in str(error)


@pytest.mark.parametrize(
    ("asked", "lengths", "count"),
    [
        (None, [5400.0], 1),
        (None, [20.0, 20.0], 1),
        (None, [40.0, 40.0, 0.0], min(2, cores())),
        (1, [5400.0, 5400.0], 1),
        (3, [1.0, 1.0], 2),
        (3, [1.0] * 9, 3),
    ],
)
def test_processes_are_started_for_much_to_do_or_when_asked_for(
    asked: int | None, lengths: list[float], count: int
) -> None:
    assert processes(asked, lengths) == count


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    render(path, dataclasses.replace(CLIP, duration_s=3.0))
    return path


@pytest.fixture
def command(short: Path, tmp_path: Path) -> list[str]:
    """`touchline run` of two new videos at once."""
    videos = [tmp_path / f"{uuid.uuid4().hex}.mp4" for _ in range(2)]
    for video in videos:
        shutil.copyfile(short, video)
    # Slow enough to be ended.
    slow = ["--set", "extract_frames.sample_fps=5", "--set", "run_ocr.search_interval=0"]
    options = ["--at-once", "2", "--json", "--report", str(tmp_path / "reports"), *slow]
    return [sys.executable, "-m", "touchline_cli.app", "run", *map(str, videos), *options]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_runs_at_once_end_with_the_command_and_those_of_a_killed_one_go_on_with_the_next(
    settings: Settings, runner: Runner, command: list[str], number: signal.Signals
) -> None:
    arguments: dict[str, Any] = {"env": environment(settings.home), "text": True, "start_new_session": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **arguments)
    deadline = time.monotonic() + 400
    while [job.status for job in jobs(runner, command)] != [DetectJobStatus.RUNNING] * 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=240)
    assert process.returncode == (130 if number is signal.SIGINT else -9), said
    assert "Traceback" not in said
    assert not at_work(begun)
    interrupted = jobs(runner, command)
    assert {job.status for job in interrupted} == {DetectJobStatus.FAILED}
    assert all("interrupted" in (job.error_message or "") for job in interrupted)
    if number is signal.SIGINT:
        # That its jobs are gone on with is in test_cli.py.
        return
    again = subprocess.run(command, env=environment(settings.home), capture_output=True, text=True, check=True)
    rows = json.loads(again.stdout)
    assert [row["source"] for row in rows] == command[4:6]
    assert {row["status"] for row in rows} == {"completed"}
    assert all(Path(row["report"]).is_file() and Path(row["source"]).stem in row["report"] for row in rows)
    assert {row["continued_job"] for row in rows} == {str(job.id) for job in interrupted}


def jobs(runner: Runner, command: list[str]) -> list[Any]:
    """The newest job of each of the two videos."""
    found = []
    for path in command[4:6]:
        with runner.connection.database.session() as session:
            try:
                source = repository.get_source(session, path)
            except BadInputError:
                continue
            found += repository.list_jobs(session, source.id, limit=1)
    return found
