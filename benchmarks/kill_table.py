"""The effect of a `kill -9` of each part of `touchline serve` on running uploads, as a table.

Belongs here: killing and waiting. Each row has a home of its own: `touchline serve` is started, four short videos are
put into its folder, and a part is killed while one run is running and another is starting. There is no other
intervention, except that a killed `touchline serve` is started again.

    python -m benchmarks.kill_table [--only PARTS] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import psutil

from resources.database import Database
from resources.local_services import LocalServices
from resources.settings import Settings
from touchline.errors import ServiceError, TouchlineError
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.synthetic import CLIP, render
from touchline_cli.serving import state_of
from webapp.token import known_token

UPLOADS: Final = 4
"""Number of videos in a row."""
SECONDS: Final = 6.0
"""Length of a video [s]."""
PATIENCE_S: Final = 900.0
"""Longest time to wait for all reports of a row [s]."""
CHECK_S: Final = 0.25
"""Interval between two checks [s]."""
NOTICED: Final = re.compile(
    r"was ended by SIG|ended by itself|had ended|since the last time|ended without reporting an error|again"
)
"""Regular expression of the lines of `touchline serve` that report the end of a process."""


@dataclass(frozen=True)
class Kill:
    """One row: the killed processes of a home, and whether `touchline serve` is started again."""

    name: str
    victims: Callable[[Home], Sequence[psutil.Process]]
    again: bool = False


def _line(process: psutil.Process) -> str:
    """The command line of a process, empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@dataclass
class Home:
    """A served home, observed without affecting it."""

    folder: Path
    served: subprocess.Popen[bytes]
    log: Path

    def processes(self) -> list[psutil.Process]:
        """Every process of this home, recognised by its command line or its environment."""
        found, here = [], str(self.folder)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get("TOUCHLINE_HOME") == here or any(here in a for a in process.cmdline())
                if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def part(self, *words: str) -> list[psutil.Process]:
        """The parts of serve whose command line has these words."""
        parts = []
        for noted in state_of(self.folder).get("parts", ()):
            with suppress(psutil.Error):
                process = psutil.Process(noted["pid"])
                if set(words) <= set(_line(process).split()):
                    parts.append(process)
        return parts

    def servers(self, program: str) -> list[psutil.Process]:
        """Embedded servers by the name of their program, parents first."""
        found = [p for p in self.processes() if _line(p).partition(" ")[0].rpartition("/")[2] == program]
        known = {process.pid for process in found}
        return [process for process in found if psutil.pid_exists(process.pid) and process.ppid() not in known]

    def backends(self) -> list[psutil.Process]:
        """A process of Postgres that serves a client."""
        children = [child for server in self.servers("postgres") for child in server.children()]
        return [child for child in children if "postgres: touchline touchline" in _line(child)][:1]

    def workers(self) -> list[psutil.Process]:
        """The process of a running run."""
        children = [child for server in self.part("api", "grpc") for child in server.children()]
        return [child for child in children if "spawn_main" in _line(child)][:1]

    def jobs(self) -> list[DetectJob] | None:
        """All jobs; None while the database does not answer. Starts no server."""
        try:
            url = LocalServices(Settings.from_environment({"TOUCHLINE_HOME": str(self.folder)})).running_postgres()
            if not url:
                return None
            database = Database(url, patience_s=0)
            try:
                with database.session() as session:
                    return repository.list_jobs(session)
            finally:
                database.close()
        except ServiceError:
            return None

    def said(self, after: int) -> str:
        """The output of `touchline serve` after this number of bytes of its log."""
        with self.log.open("rb") as log:
            log.seek(after)
            return log.read().decode("utf-8", "replace")


KILLS: Final = (
    Kill("nothing", lambda home: []),
    Kill("webserver", lambda home: home.part("webapp")),
    Kill("daemon", lambda home: home.part("detection_assets.dagster_internals.daemon")),
    Kill("code server", lambda home: home.part("api", "grpc")),
    Kill("Postgres", lambda home: home.servers("postgres")),
    Kill("one Postgres backend", lambda home: home.backends()),
    Kill("object store", lambda home: home.servers("weed")),
    Kill("run worker", lambda home: home.workers()),
    Kill("guardian", lambda home: [psutil.Process(state_of(home.folder)["guardian"]["pid"])]),
    Kill("parent", lambda home: [psutil.Process(home.served.pid)], again=True),
    Kill("everything at once", lambda home: home.processes(), again=True),
)


@dataclass
class Row:
    """The effect of a kill. Times are since the kill [s]; `reports`: without ids and wall times, by file name."""

    name: str
    at_work: str = ""
    noticed_s: float | None = None
    done_s: float = 0.0
    complete: int = 0
    jobs: str = ""
    reports: dict[str, str] | None = None
    verify: str = ""
    left: str = ""


def measure(folder: Path, only: str = "") -> list[Row]:
    """One row per kill. The first has no kill; the others are compared with it."""
    videos = [folder / f"clip-{number}.mp4" for number in range(UPLOADS)]
    for number, video in enumerate(videos):
        render(video, replace(CLIP, duration_s=SECONDS, seed=CLIP.seed + number))
    rows = []
    for number, kill in enumerate(KILLS):
        if number == 0 or re.search(only, kill.name):
            row = _row(folder / f"home-{number}", kill, videos)
            rows.append(row)
            print(page(rows), file=sys.stderr, flush=True)
    return rows


def page(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| killed | at work then | noticed after [s] | complete | all complete after [s] | reports | jobs | verify "
        "| left behind |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    plain = rows[0].reports or {}
    for row in rows:
        same = sum(plain.get(name) == text for name, text in (row.reports or {}).items())
        noticed = "-" if row.noticed_s is None else f"{row.noticed_s:.1f}"
        cells = [row.name, row.at_work, noticed, f"{row.complete} of {UPLOADS}", f"{row.done_s:.0f}"]
        cells += [f"{same} of {UPLOADS} equal", row.jobs, row.verify, row.left or "nothing"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _row(folder: Path, kill: Kill, videos: Sequence[Path]) -> Row:
    row = Row(kill.name)
    with _served(folder) as home:
        for video in videos:
            shutil.copyfile(video, folder / "uploads" / video.name)
        row.at_work = _wait_for_work(home)
        before, began = home.log.stat().st_size, time.monotonic()
        victims = kill.victims(home)
        if not victims and kill.name != "nothing":
            raise TouchlineError(f"{kill.name}: there is no such process")
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if kill.again:
            home.served.wait()
            home.served = _start(folder, home.log)
        _wait_for_reports(home, row, before, began, told=kill.name == "run worker")
        jobs = home.jobs() or []
        kinds = Counter(f"{job.run_type} {job.status}" for job in jobs)
        row.jobs = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        row.reports = {Path(job.video_path).name: _report(home, job) for job in jobs if _is_done(job)}
    _look_after(folder, row)
    return row


def _wait_for_work(home: Home) -> str:
    """Waits until a job has made progress and the run of another has no job yet. Returns a description of both."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        jobs = home.jobs() or []
        workers = [c for server in home.part("api", "grpc") for c in server.children() if "spawn_main" in _line(c)]
        running = [job for job in jobs if job.status is DetectJobStatus.RUNNING and job.progress > 0]
        if running and len(workers) > len([job for job in jobs if job.status is DetectJobStatus.RUNNING]):
            return f"{len(running)} at work, {len(workers) - len(running)} starting"
        # On a slow machine this moment may never come: after a while, a running job is enough.
        if running and len(jobs) >= 2:
            return f"{len(running)} at work, {UPLOADS - len(jobs)} not begun"
        time.sleep(CHECK_S)
    raise TouchlineError(f"no upload was processed within {PATIENCE_S:.0f} s: {home.said(0)[-2000:]}")


def _wait_for_reports(home: Home, row: Row, before: int, began: float, *, told: bool) -> None:
    deadline = began + PATIENCE_S
    while time.monotonic() < deadline:
        now = time.monotonic() - began
        jobs = home.jobs()
        if row.noticed_s is None and row.name != "nothing":
            ended = jobs is not None and any(job.status is DetectJobStatus.FAILED for job in jobs)
            if NOTICED.search(home.said(before)) or ended:
                row.noticed_s = now
        if jobs is not None:
            row.complete = len({job.video_path for job in jobs if _is_done(job)})
            if row.complete == UPLOADS:
                break
        if home.served.poll() is not None:
            break
        time.sleep(CHECK_S)
    row.done_s = time.monotonic() - began


def _is_done(job: DetectJob) -> bool:
    return job.status is DetectJobStatus.COMPLETED and bool(job.report_prefix)


def _report(home: Home, job: DetectJob) -> str:
    """report.json from the webserver, without fields that differ between runs with the same result."""
    settings = Settings.from_environment({"TOUCHLINE_HOME": str(home.folder)})
    url = f"{state_of(home.folder)['url']}/detection/reports/{job.id}/report.json"
    try:
        with urlopen(Request(url, headers={"Authorization": f"Bearer {known_token(settings)}"}), timeout=30) as answer:  # noqa: S310
            report: dict[str, Any] = json.load(answer)
    except OSError as error:
        return f"not to be had: {error}"
    for name in ("source", "video_path", "job_id"):
        report.pop(name, None)
    for stage in report["stages"].values():
        stage.pop("wall_s", None), stage.pop("reused", None)
    # Notes contain the path of the folder for models.
    return json.dumps(report, sort_keys=True).replace(str(home.folder), "HOME")


def _look_after(folder: Path, row: Row) -> None:
    """The state after everything has ended: faults of stored objects, and remaining processes."""
    environment = _environment(folder)
    line = [sys.executable, "-m", "touchline_cli", "doctor", "--verify"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    row.verify = "clean" if done.returncode == 0 else f"{done.returncode}: {(done.stdout + done.stderr)[-300:]}"
    left = Home(folder, None, folder).processes()  # type: ignore[arg-type]
    row.left = ", ".join(_line(process)[:60] for process in left)
    for process in left:
        process.kill()


@contextmanager
def _served(folder: Path) -> Iterator[Home]:
    folder.mkdir()
    folder.chmod(0o755)
    log = folder.with_suffix(".log")
    home = Home(folder, _start(folder, log), log)
    try:
        yield home
    finally:
        home.served.send_signal(signal.SIGTERM)
        home.served.wait(120)


def _start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts `touchline serve` and waits until it answers."""
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        line = [sys.executable, "-m", "touchline_cli", "serve", "--port", "0"]
        served = subprocess.Popen(line, env=_environment(folder), stdout=output, stderr=subprocess.STDOUT)
    while b"Ctrl-C" not in log.read_bytes()[before:]:
        if served.poll() is not None:
            raise TouchlineError(f"touchline serve ended: {log.read_text('utf-8')[-2000:]}")
        time.sleep(CHECK_S)
    return served


def _environment(folder: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TOUCHLINE_", "DAGSTER_"))}
    return {**own, "TOUCHLINE_HOME": str(folder)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_table", description=__doc__)
    parser.add_argument("--only", default="", help="only the parts whose name this regular expression finds")
    parser.add_argument("--folder", type=Path, help="where homes and logs are kept; a temporary one without it")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="touchline-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    print(page(measure(folder, options.only)))
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
