"""The time from upload to report of many short videos in the watched folder of a `touchline serve`.

Belongs here: adding the videos, waiting, and reading the jobs' times. `library.py` measures the sensor's ticks.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from resources.local_services import LocalServices
from resources.settings import Settings
from resources.storage import Connection, connect
from touchline.errors import TouchlineError
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.synthetic import CLIP, render

SECONDS: Final = 2.0
PATIENCE_S: Final = 3600.0
"""Longest time without the end of a job, after which the measurement fails [s]."""


def measure(folder: Path, count: int = 200) -> dict[str, Any]:
    """Seconds from the upload to the first and to the last report, and the median time of a job."""
    folder.mkdir()
    short = folder / "short.mp4"
    render(short, replace(CLIP, duration_s=SECONDS, shots=CLIP.shots[:1]))
    home = folder / "home"
    os.environ["TOUCHLINE_HOME"] = str(home)
    uploads = home / "uploads"
    command = [sys.executable, "-m", "touchline_cli", "serve", "--port", "0"]
    settings = Settings.from_environment()
    with LocalServices(settings) as endpoints, (folder / "serve.log").open("wb") as log:
        served = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while not (home / "serve.json").exists():
                _alive(served, folder)
                time.sleep(0.2)
            for number in range(count):
                shutil.copyfile(short, uploads / f"upload-{number:04d}.mp4")
            began = time.time()
            jobs = _wait(connect(endpoints), served, folder, count)
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(120)
    failed = [job for job in jobs if job.status is not DetectJobStatus.COMPLETED]
    if failed:
        raise TouchlineError(f"{len(failed)} of {count} jobs did not complete: {failed[0].error_message}")
    ends = sorted(job.completed_at.timestamp() - began for job in jobs if job.completed_at)
    spans = [(j.completed_at - j.created_at).total_seconds() for j in jobs if j.completed_at and j.created_at]
    return {
        "sources": count,
        "seconds_each": SECONDS,
        "first_report_s": round(ends[0], 1),
        "half_of_the_reports_s": round(statistics.median(ends), 1),
        "last_report_s": round(ends[-1], 1),
        "reports_a_minute": round(60 * count / ends[-1], 1),
        "job_median_s": round(statistics.median(spans), 2),
        "jobs_of_one_source": max(_per_source(jobs).values()),
    }


def page(found: dict[str, Any]) -> list[str]:
    """The figures as a paragraph."""
    return [
        f"{found['sources']} videos of {found['seconds_each']:g} s dropped at once into the watched folder of "
        f"`touchline serve`: the first report was there after {found['first_report_s']:.0f} s, half of them after "
        f"{found['half_of_the_reports_s']:.0f} s, the last after {found['last_report_s']:.0f} s: "
        f"{found['reports_a_minute']:.1f} reports a minute, two runs at a time, each a process of its own that loads "
        f"its models. The median job took {found['job_median_s']:.1f} s; no source got more than "
        f"{found['jobs_of_one_source']} job."
    ]


def _wait(connection: Connection, served: subprocess.Popen[bytes], folder: Path, count: int) -> list[DetectJob]:
    """Waits until each source has a job that has ended. Returns all jobs."""
    over: list[DetectJob] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(over) < count:
        _alive(served, folder)
        time.sleep(2)
        with connection.database.session() as session:
            jobs = repository.list_jobs(session, limit=2 * count)
        now = [job for job in jobs if job.status in (*repository.FINAL, DetectJobStatus.FAILED)]
        if len(now) > len(over):
            deadline = time.monotonic() + PATIENCE_S
        elif time.monotonic() > deadline:
            raise TouchlineError(f"{len(now)} of {count} jobs ended, and none since {PATIENCE_S:.0f} s")
        over = now
    return over


def _per_source(jobs: list[DetectJob]) -> dict[str, int]:
    found: dict[str, int] = {}
    for job in jobs:
        found[job.partition_key] = found.get(job.partition_key, 0) + 1
    return found


def _alive(served: subprocess.Popen[bytes], folder: Path) -> None:
    if served.poll() is not None:
        raise TouchlineError(f"touchline serve ended: {(folder / 'serve.log').read_text('utf-8')[-2000:]}")
