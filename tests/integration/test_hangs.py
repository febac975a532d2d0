"""Work that hangs under the command line: ended by the command that watches it, and gone on with by the next."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection_assets.local.runner import Runner
from resources.settings import Settings
from tests.integration.test_cli import touchline
from tests.support.hanging import planted
from touchline.library import repository
from touchline.library.tables import DetectJobStatus

pytestmark = pytest.mark.slow

SLOW = ("--set", "extract_frames.chunk_s=1")
BOUND = {"TOUCHLINE_STALL_S": "run_ocr=20"}
"""Long enough for a frame on a busy machine."""


@pytest.mark.parametrize("how", ["sleep", "stop", "hold"])
def test_a_run_whose_stage_hangs_is_ended_and_resumed_after_its_last_chunk_and_stops_no_other(
    settings: Settings, runner: Runner, own_video: Path, tmp_path: Path, how: str
) -> None:
    # A picture has one chunk, and the second is the one that hangs: the source after it comes to its end.
    picture = tmp_path / "after.png"
    cv2.imwrite(str(picture), np.full((90, 160, 3), 40, np.uint8))
    inputs = (own_video, picture) if how == "stop" else (own_video,)
    arguments = ("run", *inputs, *SLOW, "--at-once", "1", "--json")
    done = touchline(settings.home, *arguments, code=1, **BOUND, **planted(tmp_path / "plant", how))
    row, *others = json.loads(done.stdout)
    assert [(other["status"], other.get("error")) for other in others] == [("completed", None)] * (len(inputs) - 1)
    assert "Traceback" not in done.stderr
    assert "no progress for" in row["error"]
    assert "in run_ocr" in row["error"]
    with runner.connection.database.session() as session:
        source = repository.get_source(session, str(own_video.resolve()))
        [job] = repository.list_jobs(session, source.id)
    assert (job.status, job.current_stage, job.error_message) == (DetectJobStatus.FAILED, "run_ocr", row["error"])
    journal = f"checkpoints/{job.id}/stages/run_ocr.partial/"
    assert [key for key, _ in runner.connection.objects.list(journal)] == [f"{journal}0.bson"]
    assert f"touchline resume {job.id}" in row["error"]
    if how == "stop":
        return
    again = json.loads(touchline(settings.home, "resume", str(job.id), "--json").stdout)
    assert (again["status"], again["continued_job"]) == ("completed", str(job.id))
    told = [entry.user_message for entry in runner.instance.all_logs(again["dagster_run_id"])]
    assert f"resumes after chunk 0 of job {job.id}" in told
