"""Uploads whose run ended before its work was done: found, noted with the reason, and asked for again a few times."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo
from rich.console import Console

from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.jobs.job_of_run import CONTINUES_TAG
from detection_assets.jobs.reconcile import reconcile
from detection_assets.upkeep.scan_uploads import continued
from resources.database import Database
from resources.local_services import Endpoints
from tests.support.upload_library import Library, opened, picture
from touchline.library import repository
from touchline.library.intake import PAUSES, next_run_key
from touchline.library.tables import DetectJob, DetectJobStatus, Upload
from touchline_cli import session
from touchline_cli.library import jobs

KEY = ("a.png", 1)


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        (library.folder / "a.png").write_bytes(picture())
        library.obey(library.look())
        library.look()
        assert library.states() == {KEY: "started"}
        yield library


def run_of(library: Library) -> dg.DagsterRun:
    """The newest run of the upload."""
    return next(iter(library.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: library.rows()[KEY].run_key}))))


def job_of(library: Library, status: DetectJobStatus, message: str | None = None) -> DetectJob:
    upload, run = library.rows()[KEY], run_of(library)
    with library.connection.database.session() as session:
        source = repository.get_source(session, upload.partition_key)
        job = repository.create_job(session, source, dagster_run_id=run.run_id)
        return repository.set_job_status(session, job.id, status, error_message=message)


def step_failed(library: Library, kind: str) -> None:
    """The run ends with the failure of a step, by an error of that class."""
    run = run_of(library)
    error = SerializableErrorInfo(f"{kind}: it went wrong", [], kind)
    data = StepFailureData(error=error, user_failure_data=None)
    event = dg.DagsterEvent(
        dg.DagsterEventType.STEP_FAILURE.value, run.job_name, step_key="run_ocr", event_specific_data=data
    )
    library.instance.report_dagster_event(event, run.run_id)
    library.instance.report_run_failed(run)


def due(library: Library) -> None:
    """The pause is over."""
    with library.connection.database.session() as session:
        session.execute(sa.update(Upload).values(ask_at=sa.func.clock_timestamp() - timedelta(seconds=1)))


def followed(library: Library) -> tuple[str, ...]:
    return reconcile(library.instance, library.connection).uploads


def test_an_upload_whose_run_ended_before_it_began_is_asked_for_again_with_another_key(library: Library) -> None:
    first = library.rows()[KEY]
    assert followed(library) == (), "its run waits in the queue"
    library.instance.report_run_failed(run_of(library), "the object store at 127.0.0.1 failed")
    [told] = followed(library)
    row = library.rows()[KEY]
    reason = "its run ended before it began: the object store at 127.0.0.1 failed"
    assert f"a.png: {reason}; another run is requested" in told
    assert (row.state, row.tries, row.run_key) == ("requested", 2, f"{first.run_key}/again-2")
    assert "the object store at 127.0.0.1 failed" in row.reason
    assert followed(library) == ()
    assert library.obey(library.look()) == ["a.png"]
    library.look()
    assert library.states() == {KEY: "started"}
    job = job_of(library, DetectJobStatus.COMPLETED)
    library.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "detect_brands", message="done"), str(job.dagster_run_id)
    )
    assert followed(library) == ()
    assert library.rows()[KEY].over_at is not None


def test_what_ends_every_run_is_given_up_with_the_reason_and_what_to_do(library: Library) -> None:
    for number, pause in enumerate(PAUSES, 2):
        library.instance.report_run_failed(run_of(library), "out of memory")
        assert "another run is requested" in followed(library)[0]
        assert (library.rows()[KEY].tries, library.look().requests == []) == (number, pause > 0)
        due(library)
        library.obey(library.look())
        library.look()
    library.instance.report_run_failed(run_of(library), "out of memory")
    [told] = followed(library)
    row = library.rows()[KEY]
    assert (row.state, row.tries) == ("failed", len(PAUSES) + 1)
    assert row.reason in told and "out of memory" in row.reason
    assert f"`touchline replay {row.partition_key} --from extract_frames`" in row.reason
    due(library)
    assert library.look().requests == [] and followed(library) == ()
    # To upload the same content once more asks for it, too.
    path = library.folder / "a.png"
    path.unlink()
    library.look()
    path.write_bytes(picture())
    [asked] = library.look().requests
    assert (asked.version, asked.tries) == (2, 1)


def test_a_job_whose_process_died_is_gone_on_with_and_one_that_failed_by_itself_is_not(library: Library) -> None:
    job = job_of(library, DetectJobStatus.RUNNING)
    library.instance.report_run_failed(run_of(library), "process 7 on here ended without reporting an error")
    [told] = followed(library)
    assert f"job {job.id} failed: process 7 on here ended without reporting an error" in told
    row = library.rows()[KEY]
    assert continued(library.connection, row) == {CONTINUES_TAG: str(job.id)}
    library.obey(library.look())
    library.look()
    job_of(library, DetectJobStatus.RUNNING)
    step_failed(library, "DagsterExecutionInterruptedError")
    assert "interrupted; what is finished is kept: `touchline resume" in followed(library)[0]
    due(library)
    library.obey(library.look())
    library.look()
    job_of(library, DetectJobStatus.RUNNING)
    step_failed(library, "BadInputError")
    assert followed(library) == ()
    assert (library.rows()[KEY].state, library.rows()[KEY].over_at is None) == ("started", False)


@pytest.mark.parametrize("kind", ["ServiceError", "OperationalError", "InterfaceError", "DagsterPostgresException"])
def test_a_server_that_stayed_away_is_no_fault_of_the_upload(library: Library, kind: str) -> None:
    job_of(library, DetectJobStatus.RUNNING)
    step_failed(library, kind)
    assert "another run is requested" in followed(library)[0]


def test_what_somebody_cancelled_before_it_began_is_told_and_not_asked_for_again(library: Library) -> None:
    library.instance.report_run_canceled(run_of(library))
    [told] = followed(library)
    assert "cancelled in Dagster before it began" in told
    assert library.rows()[KEY].state == "failed"


@pytest.mark.parametrize("status", [DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED])
def test_what_somebody_stopped_is_not_asked_for_again(library: Library, status: DetectJobStatus) -> None:
    job_of(library, status)
    library.instance.report_run_failed(run_of(library))
    assert followed(library) == ()
    assert library.rows()[KEY].over_at is not None


def test_a_run_that_dagster_does_not_know_any_more_is_asked_for_again(library: Library) -> None:
    library.instance.delete_run(run_of(library).run_id)
    assert "does not know its run any more" in followed(library)[0]


def test_lost_uploads_are_listed_until_a_later_job_tells_of_them(library: Library) -> None:
    def listed(key: str | None = None) -> list[str]:
        with library.connection.database.session() as session:
            return [upload.key for upload in repository.interrupted_uploads(session, key)]

    assert listed() == []
    library.instance.report_run_failed(run_of(library), "out of memory")
    followed(library)
    row = library.rows()[KEY]
    assert listed() == listed(row.partition_key) == ["a.png"]
    assert listed("another") == []
    library.obey(library.look())
    library.look()
    assert listed() == ["a.png"]
    job_of(library, DetectJobStatus.RUNNING)
    assert listed() == []


def test_keys_of_runs_that_are_asked_for_again_are_counted_not_heaped() -> None:
    assert next_run_key(next_run_key("a-1/1/etag", 2), 3) == "a-1/1/etag/again-3"


def test_the_command_jobs_shows_uploads_that_could_not_be_looked_into(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (library.folder / "b.png").write_bytes(picture())
    for run in library.begin(library.scan()):
        library.instance.report_run_failed(run, "the object store at [127.0.0.1] failed")
    library.scan()
    said = Console(width=80, file=io.StringIO())
    monkeypatch.setattr(session, "console", said)
    monkeypatch.setattr(session, "database", lambda: nullcontext(library.connection.database))
    assert jobs(None, 30, as_json=False) == 0
    words = "".join(said.file.getvalue().split())  # type: ignore[attr-defined]
    assert "uploadsthatcouldnotbeprobedyet" in words and "[127.0.0.1]failed" in words
    assert jobs(None, 30, as_json=True) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["id"], row["status"], row["partition_key"]) == (None, "pending", None)
    assert row["video_path"] == str(library.folder / "b.png")


def test_the_command_jobs_shows_lost_uploads_within_80_columns_and_as_json(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library.instance.report_run_failed(run_of(library), "the object store at [127.0.0.1] failed")
    followed(library)
    said = Console(width=80, file=io.StringIO())
    monkeypatch.setattr(session, "console", said)
    monkeypatch.setattr(session, "database", lambda: nullcontext(library.connection.database))
    assert jobs(None, 30, as_json=False) == 0
    shown = said.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert "uploads whose run ended too early" in words and "run 2 of 4" in words and "[127.0.0.1]" in words
    assert jobs(None, 30, as_json=True) == 0
    [row] = json.loads(capsys.readouterr().out or said.file.getvalue().removeprefix(shown))  # type: ignore[attr-defined]
    assert (row["id"], row["status"], row["video_path"]) == (None, "pending", str(library.folder / "a.png"))
    assert "ended before it began" in row["error_message"]
