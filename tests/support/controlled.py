"""Runs that are stopped in their middle, for the tests of control.

Belongs here: what the test files on stopping and on commands share. The fixtures `own_video` and `own_source` are in
`conftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from detection_assets.jobs.job_of_run import STOP_TAG
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, StageCheckpoint

SETTINGS: Final = {"extract_frames.chunk_s": 1.0, "extract_frames.sample_fps": 2.0}
CHUNKS: Final = 6
UNTIL: Final = "detect_objects"
PAUSED: Final = DetectJobStatus.PAUSED
CANCELLED: Final = DetectJobStatus.CANCELLED


def jobs_of(runner: Runner, source: SourceAsset) -> list[DetectJob]:
    """Oldest first."""
    with runner.connection.database.session() as session:
        return repository.list_jobs(session, source.id)[::-1]


def now(runner: Runner, job: DetectJob) -> DetectJob:
    with runner.connection.database.session() as session:
        return repository.get_job(session, job.id)


def rows_of(runner: Runner, job: DetectJob) -> dict[str, StageCheckpoint]:
    with runner.connection.database.session() as session:
        return {row.stage: row for row in repository.list_checkpoints(session, job_id=job.id)}


def ask(runner: Runner, source: SourceAsset, status: DetectJobStatus) -> None:
    """As the commands do, while the job is at work."""
    with runner.connection.database.session() as session:
        repository.request_stop(session, repository.list_jobs(session, source.id, limit=1)[0].id, status)


def tag(runner: Runner, source: SourceAsset, value: str) -> None:
    """As the editor and Dagster's UI can, while the run is at work."""
    runner.instance.add_run_tags(str(jobs_of(runner, source)[-1].dagster_run_id), {STOP_TAG: value})


def stopped_run(
    runner: Runner, source: SourceAsset, how: Callable[[], None], *, stage: str, share: float, **options: Any
) -> RunOutcome:
    """A run during which `how` is done once, when that share of a stage is done."""
    left = [how]

    def listen(name: str, done: float) -> None:
        if left and name == stage and done >= share:
            left.pop()()

    return runner.run(source, overrides=SETTINGS, until=UNTIL, listener=listen, **options)
