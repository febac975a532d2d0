"""A job's status: which may follow which, who may change it, and that a job ends as its run ends."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from detection_assets.execution.registry import STAGES, Stage
from detection_assets.jobs import lifecycle
from detection_assets.jobs.job_of_run import _interrupted
from detection_assets.local.runner import Runner
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.job_lifecycle import ACTIVE, FINAL, MOVES, may_become
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset

ROOT = Path(__file__).resolve().parents[2]
Status = DetectJobStatus
Run = dg.DagsterRunStatus
LEGAL = {
    (Status.PENDING, Status.RUNNING),
    (Status.PENDING, Status.PAUSED),
    (Status.PENDING, Status.FAILED),
    (Status.PENDING, Status.CANCELLED),
    (Status.PENDING, Status.COMPLETED),
    (Status.RUNNING, Status.PAUSED),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.CANCELLED),
    (Status.RUNNING, Status.COMPLETED),
    (Status.PAUSED, Status.CANCELLED),
    (Status.FAILED, Status.CANCELLED),
}
WAY: dict[DetectJobStatus, tuple[DetectJobStatus, ...]] = {status: (status,) for status in Status}
WAY[Status.PENDING] = ()


@pytest.fixture(scope="module")
def source(runner: Runner) -> SourceAsset:
    with runner.connection.database.session() as session:
        return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_each_move_is_made_or_leaves_the_job_as_it_is(
    runner: Runner, source: SourceAsset, before: DetectJobStatus, after: DetectJobStatus
) -> None:
    assert may_become(before, after) is ((before, after) in LEGAL)
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source)
        for step in WAY[before]:
            repository.set_job_status(session, job.id, step, error_message="the first")
        moved = repository.set_job_status(session, job.id, after, error_message="the second")
        assert moved.status is (after if (before, after) in LEGAL else before)
        if (before, after) not in LEGAL:
            assert moved.error_message == ("the first" if WAY[before] else None)
        session.rollback()


def test_the_table_knows_every_status_and_what_is_final() -> None:
    assert set(MOVES) == set(Status)
    assert {Status.COMPLETED, Status.CANCELLED} == FINAL
    assert {Status.PENDING, Status.RUNNING} == ACTIVE


# Random lives


def run_ends(runner: Runner, job: DetectJob, status: dg.DagsterRunStatus) -> None:
    run = dg.DagsterRun(job_name="detect_brands", run_id=str(job.dagster_run_id), status=status)
    lifecycle.follow(runner.instance, runner.connection, run)


def in_session(change: Callable[[Session, DetectJob], object]) -> Callable[[Runner, DetectJob], None]:
    def done(runner: Runner, job: DetectJob) -> None:
        with runner.connection.database.session() as session, suppress(BadInputError):
            change(session, job)

    return done


EVENTS: dict[str, Callable[[Runner, DetectJob], object]] = {
    "begin": in_session(lambda session, job: lifecycle.begin(session, job)),
    "pause asked": in_session(lambda session, job: lifecycle.ask(session, job.id, Status.PAUSED)),
    "cancel asked": in_session(lambda session, job: lifecycle.ask(session, job.id, Status.CANCELLED)),
    "stops paused": in_session(lambda session, job: lifecycle.stop(session, job.id, Status.PAUSED)),
    "stops cancelled": in_session(lambda session, job: lifecycle.stop(session, job.id, Status.CANCELLED)),
    "hangs": in_session(
        lambda session, job: lifecycle.fail_if_still(session, job.id, lambda _: True, lambda: True, "hung")
    ),
    "fails": lambda runner, job: lifecycle.fail(runner.connection, job, "a fault", ValueError()),
    "interrupted": lambda runner, job: lifecycle.fail(
        runner.connection, job, "interrupted", ValueError(), interrupted=True
    ),
    "forgotten": lambda runner, job: lifecycle.fail_without_run(runner.connection, job),
    "run succeeded": lambda runner, job: run_ends(runner, job, Run.SUCCESS),
    "run failed": lambda runner, job: run_ends(runner, job, Run.FAILURE),
    "run cancelled": lambda runner, job: run_ends(runner, job, Run.CANCELED),
    "totals": in_session(lambda session, job: repository.record_totals(session, job.id, {"brands_found": 1})),
}
RESULT = {
    "run succeeded": {Status.COMPLETED},
    "run failed": {Status.FAILED},
    "run cancelled": {Status.CANCELLED},
}


@settings(max_examples=40, deadline=None)
@given(events=st.lists(st.sampled_from(sorted(EVENTS)), max_size=8))
def test_no_sequence_of_events_makes_an_illegal_move_and_the_runs_result_ends_the_job(
    runner: Runner, source: SourceAsset, events: list[str]
) -> None:
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source, dagster_run_id=str(uuid.uuid4()))
    before = job.status
    for event in events:
        EVENTS[event](runner, job)
        with runner.connection.database.session() as session:
            row = repository.get_job(session, job.id)
        assert row.status is before or (before, row.status) in LEGAL, f"{event}: {before} became {row.status}"
        if event in RESULT and before in ACTIVE:
            assert row.status in RESULT[event]
        if row.status is Status.FAILED:
            assert row.error_message, f"{event} failed the job without a reason"
        assert (row.completed_at is not None) is (row.status in FINAL | {Status.FAILED})
        before = row.status


# A job ends as its run ends


class Breaks:
    """A worker that fails at its first chunk."""

    def __init__(self, *_: object) -> None:
        raise RuntimeError("the lights went out")


def test_a_run_whose_branch_failed_leaves_a_failed_job_though_its_last_selected_stage_was_done(
    runner: Runner, own_source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = STAGES["detect_edges"].module
    worker: Any = Breaks
    broken = Stage("detect_edges", module, lambda _config, _deps: "", worker)
    monkeypatch.setitem(STAGES, "detect_edges", broken)
    ended = runner.run(own_source, until="detect_objects")
    run = runner.instance.get_run_by_id(ended.run_id)
    assert run is not None and run.status is Run.FAILURE
    with runner.connection.database.session() as session:
        stages = {row.stage for row in repository.list_checkpoints(session, job_id=ended.job.id)}
    assert "detect_objects" in stages, "the branch beside the failed stage was to be done"
    assert ended.job.status is Status.FAILED
    assert "the lights went out" in (ended.job.error_message or "")
    # The first run of a source is its initial one, however far it was to go.
    assert (ended.job.run_type, ended.job.replay_from_stage) == (RunType.INITIAL, None)

    monkeypatch.undo()
    again = runner.run(own_source, until="filter_scenes")
    assert (again.job.status, again.job.progress, again.job.run_type) == (Status.COMPLETED, 1.0, RunType.RETRY)
    partial = runner.run(own_source, until="filter_scenes")
    assert (partial.job.run_type, partial.job.replay_from_stage) == (RunType.REPLAY, "extract_frames")


def test_a_job_is_told_in_the_moment_in_which_its_run_ends(runner: Runner, source: SourceAsset) -> None:
    for status, told in (
        (Run.SUCCESS, Status.COMPLETED),
        (Run.FAILURE, Status.FAILED),
        (Run.CANCELED, Status.CANCELLED),
    ):
        before = Run.CANCELING if status is Run.CANCELED else Run.STARTED
        run = create_run_for_test(runner.instance, "detect_brands", run_id=str(uuid.uuid4()), status=before)
        with runner.connection.database.session() as session:
            job = repository.create_job(session, source, dagster_run_id=run.run_id)
            lifecycle.begin(session, job)
        lifecycle.follow_at_end(runner.instance, runner.connection, run.run_id)
        if status is Run.SUCCESS:
            event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name, message="done")
            runner.instance.report_dagster_event(event, run.run_id)
        elif status is Run.FAILURE:
            runner.instance.report_run_failed(run, "the worker is gone")
        else:
            runner.instance.report_run_canceled(run)
        with runner.connection.database.session() as session:
            assert repository.get_job(session, job.id).status is told


# One owner

WRITERS = {"set_job_status", "set_status_if_among", "fail_if_still", "request_stop"}
PRODUCT = ("touchline", "resources", "io_managers", "detection_assets", "touchline_cli")


def sources_of_product() -> Iterator[tuple[str, ast.Module]]:
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def test_nobody_but_its_owner_changes_a_jobs_status() -> None:
    """Statements are written in one file of the domain, and called from one file of the Dagster layer."""
    rows, calls = set(), set()
    for name, tree in sources_of_product():
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Attribute) and target.attr == "status" for target in targets):
                rows.add(name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "values" and any(keyword.arg == "status" for keyword in node.keywords):
                    rows.add(name)
                if node.func.attr in WRITERS and getattr(node.func.value, "id", "") == "repository":
                    calls.add(name)
    assert rows == {"touchline/library/repository/jobs.py"}
    assert calls == {"detection_assets/jobs/lifecycle.py"}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_an_error_that_an_interruption_became_in_a_library_is_one(interruption: type[BaseException]) -> None:
    def clean_up() -> None:
        try:
            raise interruption
        finally:
            _ = None.name  # type: ignore[attr-defined]

    def load() -> None:
        try:
            clean_up()
        except Exception:
            # As omegaconf does: its own error, without a cause.
            raise KeyError("server") from None

    with pytest.raises(KeyError) as caught:
        load()
    assert _interrupted(caught.value)
    assert not _interrupted(KeyError("server"))
