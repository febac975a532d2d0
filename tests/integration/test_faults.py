"""Kills `touchline run` at named points, starts it again, and looks for anything lost, repeated or untrue.

Belongs here: death of the worker process. Servers that die, hang or fill up are in `test_server_failures.py`; how a
process is killed at a point is in `fault_driver.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest

from resources.local_services import Endpoints, export
from resources.settings import Settings
from resources.storage import Connection
from touchline.bson_stream import read_stream
from touchline.library import repository
from touchline.library.naming import library_path
from touchline.library.tables import DetectJob, DetectJobStatus, RunType
from touchline.nodes import NODE_NAMES
from touchline.synthetic import CLIP, render

pytestmark = pytest.mark.slow

SETTINGS = ("extract_frames.chunk_s=1", "extract_frames.sample_fps=1")
CHUNKS = 3
LINES = {
    "many deaths": (
        "before commit status running",
        "after commit status running",
        "before put frames/000001.jpg",
        "after put frames/000001.jpg",
        "before chunk extract_frames 2",
        "after chunk extract_frames 2",
        "after put stages/extract_frames.bson",
        "before commit row extract_frames",
        "before chunk filter_scenes 0",
        "after chunk filter_scenes 1",
        "before chunk run_ocr 1",
        "after chunk run_ocr 1",
        "before put stages/run_ocr.bson",
        "before put reports/report.json",
    ),
    "deaths after": (
        "after commit row extract_frames",
        "before put stages/filter_scenes.partial/1.bson",
        "after put stages/filter_scenes.bson",
        "after delete stages/detect_edges.partial/0.bson",
        "before clear detect_objects",
        "after put stages/run_ocr.partial/0.bson",
        "after clear run_ocr",
        "after commit row match_brands",
        "after chunk escalate_vlm 0",
        "after put reports/report.json",
    ),
    "deaths of the last stages": (
        "after commit progress filter_scenes 0.29",
        "before put stages/match_brands.partial/2.bson",
        "before commit row match_brands",
        "before chunk escalate_cloud 0",
        "after put stages/escalate_cloud.bson",
        "before put reports/report.html",
    ),
}


class Driver:
    """A process that forks one `touchline run` after another."""

    def __init__(self, services: Endpoints, folder: Path) -> None:
        self.log = folder / "points.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_driver"],
            env={**os.environ, **export(services), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, video: Path, *more: str, kill: str = "") -> dict[str, Any]:
        """`touchline run` on a video; how it ended."""
        settings = [word for item in SETTINGS for word in ("--set", item)]
        order = {"arguments": ["run", str(video), *settings, "--json", *more], "log": str(self.log), "kill": kill}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def take_log(self) -> list[str]:
        """What was noted since the last time, without process ids."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.partition(" ")[2] for line in lines]

    def close(self) -> None:
        self._process.communicate(timeout=240)


@dataclasses.dataclass
class Undisturbed:
    """What a run that nobody killed leaves."""

    report: bytes
    exposures: bytes
    points: list[str]


@pytest.fixture(scope="module")
def driver(services: Endpoints, settings: Settings, connection: Connection, tmp_path_factory: Any) -> Iterator[Driver]:
    made = Driver(services, tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    render(path, dataclasses.replace(CLIP, duration_s=float(CHUNKS)))
    return path


@pytest.fixture(scope="module")
def undisturbed(driver: Driver, short: Path, connection: Connection) -> Undisturbed:
    ended = driver.run(short)
    assert ended["exit"] == 0, ended["output"]
    points = driver.take_log()
    computed = Counter(line for line in points if line.startswith("computed"))
    assert computed == {f"computed {name} {n}": 1 for name in NODE_NAMES for n in range(CHUNKS)}
    (job,) = jobs_of(connection, short)
    return Undisturbed(*report_of(connection, job), points)


def jobs_of(connection: Connection, video: Path) -> list[DetectJob]:
    """Jobs of a video, oldest first; none before it is registered."""
    with connection.database.session() as session:
        source = repository.find_source(session, library_path(video))
        return [] if source is None else repository.list_jobs(session, source.id)[::-1]


def report_of(connection: Connection, job: DetectJob) -> tuple[bytes, bytes]:
    """report.json without ids, wall times and which stages were reused; and exposures.csv without the source's name."""
    report = json.loads(connection.objects.get(job.report_prefix + "report.json"))
    assert report["brands"], "a report without a brand could not show a difference"
    for name in ("source", "video_path", "job_id"):
        assert report.pop(name)
    for stage in report["stages"].values():
        del stage["wall_s"], stage["reused"]
    whole = json.dumps(report, ensure_ascii=False).encode()
    named = f",{PurePosixPath(job.video_path).name},{job.partition_key}\n".encode()
    return whole, connection.objects.get(job.report_prefix + "exposures.csv").replace(named, b"\n")


def check_rows(connection: Connection, video: Path) -> int:
    """Reads everything that rows name, and every chunk of every journal; returns how many rows there are."""
    checked = 0
    for job in jobs_of(connection, video):
        with connection.database.session() as session:
            rows = repository.list_checkpoints(session, job_id=job.id)
        for row in rows:
            assert len(list(connection.checkpoints.read(row))) == row.item_count
            hashes = {frame["sequence"]: frame["hash"] for frame in row.frames_meta}
            for sequence, key in row.frames_manifest.items():
                assert hashlib.sha256(connection.objects.get(key)).hexdigest() == hashes[sequence]
            checked += 1
        check_journals(connection, job.id)
    return checked


def check_journals(connection: Connection, job_id: UUID) -> None:
    """No chunk in the store is half a chunk."""
    for key, _ in connection.objects.list(f"checkpoints/{job_id}/stages"):
        if found := re.search(r"/(\w+)\.partial/\d+\.bson$", key):
            path = Path(os.environ["TOUCHLINE_HOME"]) / "chunk.bson"
            path.write_bytes(connection.objects.get(key))
            with path.open("rb") as file:
                list(read_stream(file, stage=found[1], key=key))


def repeated_by(kill: str) -> str:
    """The one chunk whose work this death loses: computed, and not yet in the journal."""
    lost = re.fullmatch(r"before (?:chunk (\w+) |put stages/(\w+)\.partial/)(\d+)(?:\.bson)?", kill)
    return f"computed {lost[1] or lost[2]} {lost[3]}" if lost else ""


def test_at_least_twenty_points_are_tried() -> None:
    points = [point for line in LINES.values() for point in line]
    assert len(points) == len(set(points)) >= 20


@pytest.mark.tells
@pytest.mark.parametrize("name", LINES)
def test_no_death_loses_repeats_or_tells_untruth(
    name: str,
    driver: Driver,
    undisturbed: Undisturbed,
    connection: Connection,
    short: Path,
    tmp_path: Path,
) -> None:
    video = tmp_path / "killed.mp4"
    shutil.copyfile(short, video)
    rows = 0
    for kill in LINES[name]:
        assert kill in undisturbed.points, f"{kill} is no point of a run"
        before = jobs_of(connection, video)
        ended = driver.run(video, kill=kill)
        assert ended["signal"] == signal.SIGKILL, f"{kill} was not reached: {ended}"
        after = jobs_of(connection, video)
        # Nobody could tell the job of its process's death; all before it are known to have failed.
        assert [job.status for job in after[: len(before)]] == [DetectJobStatus.FAILED] * len(before)
        assert [job.status for job in after[len(before) :]] in ([], [DetectJobStatus.RUNNING])
        rows += check_rows(connection, video)
    ended = driver.run(video)
    assert ended["exit"] == 0, ended["output"]
    log = driver.take_log()
    jobs = jobs_of(connection, video)
    assert json.loads(ended["output"])[0]["continued_job"] == str(jobs[-2].id)
    assert [job.status for job in jobs] == [*[DetectJobStatus.FAILED] * (len(jobs) - 1), DetectJobStatus.COMPLETED]
    assert [job.run_type for job in jobs] == [RunType.INITIAL, *[RunType.RETRY] * (len(jobs) - 1)]
    assert {job.parent_job_id for job in jobs[1:]} == {jobs[0].id}
    assert all("ended without reporting an error" in (job.error_message or "") for job in jobs[:-1])
    assert (jobs[-1].progress, jobs[-1].current_stage, jobs[-1].error_message) == (1.0, None, None)
    assert report_of(connection, jobs[-1]) == (undisturbed.report, undisturbed.exposures)
    computed = Counter(line for line in log if line.startswith("computed"))
    lost = Counter(filter(None, map(repeated_by, LINES[name])))
    whole = Counter(f"computed {stage} {n}" for stage in NODE_NAMES for n in range(CHUNKS))
    assert computed == whole + lost
    rows += check_rows(connection, video)
    print(
        f"{name}: {len(LINES[name])} points tried, {lost.total()} chunks repeated (those interrupted), "
        f"{computed.total()} computed, {rows} rows read with their blobs, {len(jobs)} jobs"
    )


def test_a_death_after_the_run_has_succeeded_leaves_a_job_that_is_completed_at_the_next_look(
    driver: Driver, undisturbed: Undisturbed, connection: Connection, short: Path, tmp_path: Path
) -> None:
    video = tmp_path / "killed.mp4"
    shutil.copyfile(short, video)
    ended = driver.run(video, kill="before commit status completed")
    assert ended["signal"] == signal.SIGKILL
    (job,) = jobs_of(connection, video)
    assert job.status is DetectJobStatus.RUNNING
    assert report_of(connection, job) == (undisturbed.report, undisturbed.exposures)
    driver.take_log()
    ended = driver.run(video)
    assert ended["exit"] == 0, ended["output"]
    job = jobs_of(connection, video)[0]
    assert (job.status, job.progress, job.current_stage) == (DetectJobStatus.COMPLETED, 1.0, None)
    assert not [line for line in driver.take_log() if line.startswith("computed")]
    assert report_of(connection, jobs_of(connection, video)[-1]) == (undisturbed.report, undisturbed.exposures)
