"""`touchline backfill` where no webserver runs, and what it refuses; through the webserver it is in test_session.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detection_assets.local.runner import Runner
from resources.settings import Settings
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunType, SourceAsset
from touchline.nodes import NODE_NAMES, REPORT, downstream
from touchline_cli.backfill import BACKFILL_TAG, backfill
from touchline_cli.serving import hold_home
from touchline_cli.webserver import FILE, announced, find

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> list[SourceAsset]:
    """Three pictures with a name on them; the last is registered, but was never run."""
    folder, sources = tmp_path_factory.mktemp("library"), []
    for number, word in enumerate(("HEINEKEN", "ADIDAS", "NIKE")):
        picture = np.full((240, 640, 3), 40 + number, np.uint8)
        cv2.putText(picture, word, (60, 140), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 6, cv2.LINE_AA)
        path = folder / f"backfill-{word.lower()}.png"
        cv2.imwrite(str(path), picture)
        sources.append(runner.register(path))
    for source in sources[:2]:
        outcome = runner.run(source)
        assert outcome.succeeded, outcome.error
    return sources


def refused(first: str = "match_brands", **options: Any) -> str:
    """Why a backfill is refused."""
    given: dict[str, Any] = {"profile": "", "overrides": [], "brands": None, "only": None, "priority": 0}
    with pytest.raises(BadInputError) as error:
        backfill(first, **{**given, "server": None, "as_json": True, **options})
    return str(error.value)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "touchline_cli", "backfill", *arguments],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_webserver_the_runs_are_made_here_one_after_another(
    runner: Runner, library: list[SourceAsset]
) -> None:
    pattern = str(Path(library[0].video_path).parent / "backfill-*.png")
    done = command(
        "--from", "match_brands", "--set", "match_brands.min_score=0.9", "--only", pattern, "--priority", "-7", "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["server"] is None
    assert {run["partition_key"] for run in answer["runs"]} == {source.partition_key for source in library[:2]}
    assert [skipped["partition_key"] for skipped in answer["skipped"]] == [library[2].partition_key]
    assert "run_ocr" in answer["skipped"][0]["reason"]
    for run in answer["runs"]:
        with runner.connection.database.session() as session:
            job = repository.job_of_run(session, run["run_id"])
        assert job is not None
        assert (str(job.id), str(job.status)) == (run["job_id"], run["status"])
        assert (job.status, job.run_type) == (DetectJobStatus.COMPLETED, RunType.REPLAY)
        assert (job.replay_from_stage, job.priority) == ("match_brands", -7)
        assert job.config_overrides == {"match_brands": {"min_score": 0.9}}
        dagster_run = runner.instance.get_run_by_id(run["run_id"])
        assert dagster_run is not None
        assert dagster_run.tags[BACKFILL_TAG] == answer["backfill"]


def test_a_setting_out_of_bounds_ends_with_2_and_makes_no_run(runner: Runner, library: list[SourceAsset]) -> None:
    before = runner.instance.get_runs_count()
    done = command("--from", "match_brands", "--set", "match_brands.min_score=7")
    assert (done.returncode, done.stdout) == (2, "")
    assert "match_brands.min_score=7" in done.stderr
    assert runner.instance.get_runs_count() == before


def test_what_cannot_be_carried_out_is_refused_by_name_before_a_process_is_started(
    library: list[SourceAsset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detection_assets.local.worker_pool.Workers", lambda *_: pytest.fail("a process was started"))
    assert "unknown stage" in refused("match_brand")
    assert "has no field 'min_scores'" in refused(overrides=["match_brands.min_scores=1"])
    assert "unknown profile" in refused(profile="cricket")
    assert "run_ocr does not run" in refused(overrides=["run_ocr.min_confidence=0.5"])
    # Beside, not after: the edges do not depend on the objects.
    assert "detect_edges does not run" in refused("detect_objects", overrides=["detect_edges.canny_low=40"])
    assert "matches no source" in refused(only="no-such-source-*")
    assert "run all its stages first" in refused(only=library[2].partition_key)
    assert "expected an address" in refused(server="localhost:3000")
    # Bound and not listened on: who connects is refused, and nobody else can take it.
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        assert "no Dagster webserver answers" in refused(server=f"http://127.0.0.1:{away.getsockname()[1]}")


def test_a_profile_that_would_change_what_does_not_run_is_refused_before_any_run(
    runner: Runner, library: list[SourceAsset], settings: Settings
) -> None:
    own = settings.home / "profiles" / "grainy.yaml"
    own.parent.mkdir(exist_ok=True)
    own.write_text("run_ocr: {min_confidence: 0.7}\n", "utf-8")
    before = runner.instance.get_runs_count()
    try:
        told = refused(profile="grainy", only=library[0].partition_key)
    finally:
        own.unlink()
    assert "--profile grainy: run_ocr.min_confidence is 0.7 in it" in told
    assert runner.instance.get_runs_count() == before


def test_an_address_that_a_killed_server_left_behind_counts_as_none(tmp_path: Path, settings: Settings) -> None:
    assert find(tmp_path, None) is None
    with announced(tmp_path, "0.0.0.0", 3000) as url:  # noqa: S104 (nothing listens)
        assert url.startswith("http://127.0.0.1:")
        assert json.loads((tmp_path / FILE).read_text("utf-8")) == {"url": url, "pid": os.getpid()}
        assert find(tmp_path, None) is None
    assert not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_text("{", "utf-8")
    assert find(tmp_path, None) is None
    with hold_home(tmp_path), pytest.raises(BadInputError, match=r"serve\.json cannot be read"):
        find(tmp_path, None)


def test_downstream_is_what_depends_on_a_stage_in_order() -> None:
    assert downstream("extract_frames") == (*NODE_NAMES, REPORT)
    assert downstream("detect_objects") == (
        "detect_objects",
        "run_ocr",
        "match_brands",
        "escalate_vlm",
        "escalate_cloud",
        REPORT,
    )
    assert downstream(REPORT) == (REPORT,)
