"""The command line as people and scripts use it: processes of their own, on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from resources.database import Database
from resources.embedded.postgres_server import PostgresServer
from resources.local_services import Endpoints, LocalServices
from resources.settings import Settings
from tests.support.commands import Done, done
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.synthetic import Truth

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def environment(home: Path, **more: str) -> dict[str, str]:
    """As a user has it: a home and nothing else of ours. Processes find the servers of that home by themselves."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOUCHLINE_", "DAGSTER_", "AWS_"))}
    return {**kept, "TOUCHLINE_HOME": str(home), "COLUMNS": "80", **more}


def touchline(home: Path, *arguments: str | Path, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end, which must be with `code`."""
    command = [sys.executable, "-m", "touchline_cli.app", *map(str, arguments)]
    done = subprocess.run(command, env=environment(home, **more), capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def quick(home: Path, *arguments: str | Path, code: int = 0, **more: str) -> Done:
    """The same in this process."""
    return done(*arguments, code=code, environment=environment(home, **more))


@pytest.fixture(scope="module")
def home(settings: Settings, services: Endpoints) -> Path:
    """The home whose servers the whole test run shares."""
    return settings.home


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture in which two names can be read, and a list that knows one of them."""
    folder = tmp_path_factory.mktemp("cli")
    picture = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(picture, "HEINEKEN", (60, 140), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    cv2.putText(picture, "GRONDELIX", (60, 300), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    cv2.imwrite(str(folder / "boards.png"), picture)
    (folder / "ours.csv").write_text("canonical_name,aliases\nGrondelix,grondelix.example|Grondelix Bau\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def first(home: Path, folder: Path) -> dict[str, Any]:
    """The first run on that picture, against that list alone."""
    arguments = ("--brands", folder / "ours.csv", "--report", folder / "out", "--debug-pictures", folder / "debug")
    (folder / "home").mkdir()
    # Beyond this machine nothing may be reached, and into the user's home nothing written: see the test below.
    watched: dict[str, Any] = {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT / "tests" / "no_network")}
    watched |= {"NO_NETWORK_LOG": str(folder / "reached"), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    [row] = json.loads(touchline(home, "run", folder / "boards.png", *arguments, "--json", **watched).stdout)
    assert isinstance(row, dict)
    return row


def test_a_run_reaches_nobody_and_writes_nothing_into_the_users_home(first: dict[str, Any], folder: Path) -> None:
    assert first["status"] == "completed"
    reached = folder / "reached"
    hosts = {line.partition("\t")[0] for line in reached.read_text("utf-8").splitlines()} if reached.exists() else set()
    # Weights of YOLO, as docs/operations.md says, where ultralytics is installed and has none yet.
    assert hosts <= {"github.com"}
    assert [str(path) for path in (folder / "home").rglob("*")] == []


def report_of(folder: Path, stem: str = "boards") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / stem / "report.json").read_text("utf-8"))
    return found


def test_run_prints_json_alone_and_writes_the_report_under_the_name_of_its_input(
    first: dict[str, Any], folder: Path
) -> None:
    assert first["status"] == "completed"
    assert first["brands"] == {"Grondelix": 0.0}
    assert first["report"] == str(folder / "out/boards/report.html")
    assert {path.name for path in (folder / "out/boards").iterdir()} == {
        "report.json",
        "report.html",
        "exposures.csv",
        "summary.csv",
    }
    report = report_of(folder / "out")
    assert report["job_id"] == first["job_id"]
    assert [brand["name"] for brand in report["brands"]] == ["Grondelix"]
    assert any("HEINEKEN" in row["text"].upper() for row in report["unresolved"])


def test_a_second_run_takes_over_what_is_the_same_and_computes_the_rest(
    home: Path, first: dict[str, Any], folder: Path
) -> None:
    told = touchline(home, "run", folder / "boards.png", "--report", folder / "again")
    assert "Heineken" in told.stdout
    assert str(folder / "again/boards/report.html") in told.stdout.replace("\n", "")
    stages = report_of(folder / "again")["stages"]
    # Other brands to match against: matching is done again, reading is not.
    assert stages["run_ocr"]["reused"]
    assert not stages["match_brands"]["reused"]


def test_debug_pictures_show_what_was_read_and_which_brand_it_is(first: dict[str, Any], folder: Path) -> None:
    assert first["debug_pictures"] == str(folder / "debug" / "boards")
    names = sorted(path.name for path in (folder / "debug" / "boards").iterdir())
    assert names == ["000000_0.00s.jpg", "source.json"]
    drawn = cv2.imread(str(folder / "debug" / "boards" / "000000_0.00s.jpg"))
    assert drawn is not None
    assert drawn.shape == (480, 1280, 3)
    blue, green, red = (drawn[..., channel].astype(int) for channel in range(3))
    strongest = {"green": (green - np.maximum(red, blue)), "yellow": (np.minimum(red, green) - blue)}
    # GRONDELIX, in the lower half, is the brand of the list; HEINEKEN above is text like any other.
    assert (strongest["green"][300:] > 60).sum() > 300
    assert not (strongest["green"][:240] > 60).any()
    assert (strongest["yellow"][:240] > 60).sum() > 300


def test_replay_works_from_a_stage_on_with_another_setting(home: Path, first: dict[str, Any], folder: Path) -> None:
    arguments = ("--from", "run_ocr", "--set", "run_ocr.min_confidence=0.999999", "--json")
    row = json.loads(
        touchline(home, "replay", first["partition_key"], *arguments, "--report", folder / "replay").stdout
    )
    assert row["status"] == "completed"
    stages = report_of(folder / "replay")["stages"]
    assert stages["detect_objects"]["reused"]
    assert not stages["run_ocr"]["reused"]
    jobs = json.loads(quick(home, "jobs", folder / "boards.png", "--json").stdout)
    job = next(job for job in jobs if job["id"] == row["job_id"])
    assert job["run_type"] == "replay"
    assert job["replay_from_stage"] == "run_ocr"
    assert job["config_overrides"] == {"run_ocr": {"min_confidence": 0.999999}}
    assert job["parent_job_id"] == first["job_id"]


def test_run_until_a_stage_leaves_the_rest(home: Path, folder: Path) -> None:
    other = folder / "until.png"
    other.write_bytes((folder / "boards.png").read_bytes())
    [row] = json.loads(touchline(home, "run", other, "--until", "filter_scenes", "--json").stdout)
    assert "brands" not in row
    told = quick(home, "report", other, "--out", folder / "none", code=2)
    assert "no report" in told.stderr
    assert not (folder / "none").exists()


def test_jobs_can_be_copied_from_the_table_of_a_narrow_terminal(home: Path, first: dict[str, Any]) -> None:
    told = quick(home, "jobs", "--limit", "100")
    assert first["job_id"][:8] in told.stdout
    assert first["partition_key"] in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_report_fetches_the_report_of_a_job_by_name(home: Path, first: dict[str, Any], folder: Path) -> None:
    source = first["partition_key"]
    quick(home, "report", source, "--job", first["job_id"], "--out", folder / "fetched")
    file = folder / "fetched" / "report.json"
    assert f"--out {file}" in quick(home, "report", source, "--out", file, code=2).stderr
    assert report_of(folder, "fetched")["job_id"] == first["job_id"]
    assert (
        "00000000-0000"
        in quick(
            home, "report", source, "--job", "00000000-0000-4000-8000-000000000000", "--out", folder / "x", code=2
        ).stderr
    )


@pytest.mark.parametrize(
    "command", [("report", "--out", "x"), ("replay", "--from", "run_ocr"), ("jobs",)], ids=" ".join
)
def test_a_source_that_nobody_knows_is_refused(home: Path, command: tuple[str, ...]) -> None:
    told = quick(home, command[0], "nobody-00000000", *command[1:], code=2)
    assert "nobody-00000000" in told.stderr
    assert "Traceback" not in told.stderr


def test_brands_that_are_imported_are_known_from_then_on(home: Path, folder: Path) -> None:
    name = f"Fjordkraft {time.time_ns()}"
    (folder / "new.csv").write_text(f"canonical_name,aliases\n{name},fjord.example\n", "utf-8")
    assert "1 brands added" in quick(home, "brands", "import", folder / "new.csv").stdout
    assert "0 brands added" in quick(home, "brands", "import", folder / "new.csv").stdout
    listed = {b["canonical_name"]: b for b in json.loads(quick(home, "brands", "list", "--json").stdout)}
    assert listed[name]["aliases"] == ["fjord.example"]
    assert len(listed) > 250
    assert name in quick(home, "brands", "list").stdout


def test_doctor_tells_what_is_there_and_keeps_secrets(home: Path) -> None:
    found = json.loads(touchline(home, "doctor", "--json").stdout)
    assert {s["name"]: (s["kind"], s["running"]) for s in found["services"]} == {
        "Postgres": ("embedded", True),
        "object store": ("embedded", True),
    }
    assert found["packages"]["touchline"]
    assert "yolo11n.pt" in found["models"]["object detector (yolo)"]
    table = quick(home, "doctor").stdout
    for words in ("Postgres", "SeaweedFS", "TOUCHLINE_HOME", "rapidocr", "not configured"):
        assert words in table


def test_doctor_starts_nothing_and_ends_with_1_where_a_given_server_does_not_answer(tmp_path: Path) -> None:
    secrets = {
        "TOUCHLINE_POSTGRES_URL": "postgresql://u:hush1@127.0.0.1:9/x",
        "TOUCHLINE_S3_SECRET_ACCESS_KEY": "hush2",
    }
    told = touchline(tmp_path / "home", "doctor", code=1, **secrets)
    assert "hush" not in told.stdout + told.stderr
    told = touchline(tmp_path / "home", "doctor", "--json", code=1, **secrets)
    assert "hush" not in told.stdout + told.stderr
    assert {s["name"]: s["kind"] for s in json.loads(told.stdout)["services"]} == {
        "Postgres": "external",
        "object store": "embedded",
    }
    assert not (tmp_path / "home").exists()


DEMO = """
import touchline.synthetic as synthetic
honest = True
synthetic.DEMO, whole = synthetic.CLIP, synthetic.render
def render(path, spec):
    truth = whole(path, spec)
    return truth if honest else type(truth)(**{**vars_of(truth), "brands": truth.brands[1:]})
def vars_of(truth):
    return {name: getattr(truth, name) for name in truth.__dataclass_fields__}
synthetic.render = render
from touchline_cli.demo import demo
code = demo(True)
honest = False
raise SystemExit(10 * code + demo(True))
"""


def test_the_demo_succeeds_only_if_the_brands_found_are_those_shown(home: Path) -> None:
    # The short clip stands in for the demo's broadcast; with a brand struck from its truth, that brand is one too many.
    command = [sys.executable, "-c", DEMO]
    told = subprocess.run(command, env=environment(home), cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stdout + told.stderr
    decoder = json.JSONDecoder()
    said, end = decoder.raw_decode(told.stdout)
    again, _ = decoder.raw_decode(told.stdout[end:].lstrip())
    assert (said["ok"], again["ok"]) == (True, False)
    assert Path(said["report"]).is_file()


@pytest.fixture
def other_home(settings: Settings) -> Iterator[Path]:
    """A home with servers of its own, ended whatever happens. Beside the shared one, which Postgres' user may enter."""
    home = settings.home / "interrupted"
    yield home
    alone = Settings.from_environment({"TOUCHLINE_HOME": str(home)})
    with LocalServices(alone):
        pass


def test_ctrl_c_leaves_a_job_that_goes_on_and_no_process(
    other_home: Path, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "touchline_cli.app", "run", str(clip[0]), "--report", str(tmp_path), "--json"]
    arguments: dict[str, Any] = {"env": environment(other_home), "text": True, "start_new_session": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **arguments)
    interrupted = wait_until_it_reads(other_home, process)
    begun = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert "continue" in said
    assert "Traceback" not in said
    assert not at_work(begun)
    assert not processes_of(other_home)

    [row] = json.loads(touchline(other_home, "run", clip[0], "--report", tmp_path, "--json").stdout)
    assert row["status"] == "completed"
    assert row["continued_job"] == str(interrupted.id)
    stages = report_of(tmp_path, clip[0].stem)["stages"]
    assert stages["extract_frames"]["reused"]
    jobs = json.loads(touchline(other_home, "jobs", "--json").stdout)
    assert [(job["run_type"], job["status"]) for job in jobs] == [("retry", "completed"), ("initial", "failed")]
    assert "interrupted" in jobs[1]["error_message"]
    assert not processes_of(other_home)


def wait_until_it_reads(home: Path, process: subprocess.Popen[str]) -> DetectJob:
    """The job of a process that works on its first source, once it has come to reading text."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
        try:
            memory = json.loads((home / "services/state.json").read_text("utf-8"))
            database = Database(PostgresServer(home / "services", memory["postgres"]).url)
            with database.session() as session:
                jobs = repository.list_jobs(session)
            database.close()
        except Exception:  # noqa: S112 (servers and tables are still being made)
            continue
        if jobs and jobs[0].current_stage == "run_ocr" and jobs[0].status is DetectJobStatus.RUNNING:
            return jobs[0]
    raise AssertionError("the run did not come to run_ocr in time")


def at_work(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end within a minute; one that waits for its parent to take notice is over."""

    def over(process: psutil.Process) -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    deadline = time.monotonic() + 60
    while left := [process for process in processes if not over(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def processes_of(home: Path) -> list[list[str]]:
    """Command lines that name a home."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [line for line in found if any(str(home) in word for word in line)]
