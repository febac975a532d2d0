"""What commands list: whole in JSON, and no wider than a terminal of 80 columns in tables."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detection_assets.local.runner import Runner
from tests.support.terminal import COLUMNS, at_terminal
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, StageCheckpoint
from touchline.nodes import NODE_INDEX
from touchline_cli import session
from touchline_cli.app import app
from touchline_cli.library import state

NAME = "a-very-long-name-of-a-match-between-two-teams-and-the-cup-it-was"


@pytest.fixture(scope="module")
def job(secluded: Runner, tmp_path_factory: pytest.TempPathFactory) -> DetectJob:
    """A failed job of a source with a long name, among others."""
    folder = tmp_path_factory.mktemp("library")
    with secluded.connection.database.session() as opened:
        short = repository.register_source(opened, str(folder / "[b]old].png"), checksum="c", size=740)
        repository.create_job(opened, short)
        source = repository.register_source(
            opened, str(folder / f"{NAME}.mp4"), checksum="c", duration=5430.0, size=3_400_000_000
        )
        made = repository.create_job(opened, source, run_type=RunType.REPLAY, replay_from_stage="detect_objects")
        repository.set_progress(opened, made.id, "detect_objects", 0.45)
        message = "the object detector ended; `touchline doctor` tells what there is " + "and more " * 30
        return repository.set_job_status(opened, made.id, DetectJobStatus.FAILED, error_message=message)


def shown_at_80(*words: str) -> str:
    code, shown = at_terminal(*words)
    assert code == 0, shown
    assert max(map(len, shown.splitlines())) <= COLUMNS, shown
    assert "…" not in shown
    return shown


@pytest.mark.slow
def test_jobs_fit_and_are_named_by_what_can_be_typed(job: DetectJob) -> None:
    shown = shown_at_80("jobs")
    assert re.search(rf"^{str(job.id)[:8]} ", shown, re.MULTILINE)
    words = " ".join(shown.split())
    assert "1:30:30" in words and "replay of detect_objects" in words and "failed, 45%" in words
    assert "[b]old].png" in words
    [row] = json.loads(CliRunner().invoke(app, ["jobs", str(job.partition_key)[:20], "--json"]).stdout)
    assert (row["id"], row["error_message"]) == (str(job.id), job.error_message)


@pytest.mark.slow
def test_sources_fit_and_say_what_they_are_and_how_they_stand(job: DetectJob) -> None:
    shown = shown_at_80("sources")
    words = " ".join(shown.split())
    assert "1:30:30" in words and "3.4 GB" in words and "740 B" in words and "2 sources" in words
    rows = json.loads(CliRunner().invoke(app, ["sources", "--json"]).stdout)
    assert [row["partition_key"] for row in rows] == sorted(row["partition_key"] for row in rows)
    assert len(rows) == 2
    [row] = json.loads(CliRunner().invoke(app, ["sources", "--only", f"*{NAME}*", "--json"]).stdout)
    assert (row["duration"], row["size"], row["state"]) == (5430.0, 3_400_000_000, "accepted")
    assert (row["newest_job"]["id"], row["newest_job"]["status"]) == (str(job.id), "failed")


@pytest.mark.slow
def test_brands_and_doctor_fit(job: DetectJob) -> None:
    shown_at_80("brands", "list")
    words = " ".join(shown_at_80("doctor").split())
    for heading in ("Servers", "Environment", "Packages", "Models", "Profiles"):
        assert heading in words
    assert "soccer_broadcast shipped ready" in words


@pytest.mark.slow
def test_an_import_says_how_many_sources_were_matched_with_another_list(
    secluded: Runner, job: DetectJob, tmp_path: Path
) -> None:
    cli, number = CliRunner(), 0

    def imported() -> str:
        nonlocal number
        number += 1
        ours = tmp_path / "ours.csv"
        ours.write_text(f"canonical_name,aliases\nGrondelix {number},\n", "utf-8")
        return cli.invoke(app, ["brands", "import", str(ours)], catch_exceptions=False).stdout

    assert "1 brands added" in (told := imported()) and "backfill" not in told
    with secluded.connection.database.session() as opened:
        row = StageCheckpoint(
            job_id=job.id,
            stage="match_brands",
            stage_index=NODE_INDEX["match_brands"],
            source_asset_id=job.source_asset_id,
            stage_output_key="checkpoints/none",
        )
        repository.add_checkpoint(opened, row)
    assert "1 source was matched with another list: `touchline backfill --from match_brands`" in imported()
    number -= 1
    assert "0 brands added" in (told := imported()) and "backfill" not in told


def test_a_job_at_work_tells_its_stage_and_what_was_asked_of_it() -> None:
    job = DetectJob(source_asset_id=uuid.uuid4(), video_path="x.mp4", status=DetectJobStatus.RUNNING, progress=0.5)
    job.current_stage, job.stop_requested = "run_ocr", DetectJobStatus.PAUSED
    assert state(job) == "running, 50% at run_ocr, paused requested\n[dim]initial[/dim]"


def test_a_still_has_its_zones_though_their_seconds_are_none() -> None:
    still = {
        "name": "Rakuten",
        "zones": {"board": 0.0, "jersey": 0.0, "overlay": 0.0, "other": 0.0},
        "stretches": [{"zone": "jersey"}, {"zone": "all"}],
        "seconds": 0.0,
        "occurrences": 1,
        "visibility": 0.1,
    }
    moving = {**still, "name": "TIM", "zones": {"board": 1.0, "jersey": 0.0, "overlay": 2.0, "other": 0.0}}
    moving["stretches"] = [{"zone": "board"}, {"zone": "overlay"}]
    table = session.brand_table({"brands": [still, moving], "media": {"is_image": False}}, "both")
    assert list(table.columns[1].cells) == ["jersey", "overlay, board"]


def test_figures_are_short_and_have_units() -> None:
    assert [session.length(value) for value in (None, 0.0, 31.2, 3600.0, 5430.0)] == [
        "",
        "",
        "0:31",
        "1:00:00",
        "1:30:30",
    ]
    assert [session.size(value) for value in (None, 740, 7400, 7_400_000, 3_400_000_000)] == [
        "",
        "740 B",
        "7.4 kB",
        "7.4 MB",
        "3.4 GB",
    ]
