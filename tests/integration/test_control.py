"""Pausing, resuming and cancelling: jobs stop between chunks, go on from there, and say so."""

from __future__ import annotations

import uuid
from typing import Any

import dagster as dg
import pytest

from detection_assets.definitions import JOB, build_defs
from detection_assets.execution.registry import STAGES, Stage
from detection_assets.jobs.job_of_run import STOP_TAG
from detection_assets.jobs.resume import request_of
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from tests.support.controlled import (
    CANCELLED,
    CHUNKS,
    PAUSED,
    SETTINGS,
    UNTIL,
    ask,
    jobs_of,
    now,
    rows_of,
    stopped_run,
    tag,
)
from touchline.errors import BadInputError
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset

pytestmark = pytest.mark.slow


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The chunks that stages compute from now on."""
    done: list[tuple[str, int]] = []

    def counting(stage: Stage) -> Stage:
        make = stage.worker
        assert make is not None

        def made(*arguments: Any) -> Any:
            worker: Any = make(*arguments)
            inner = worker.run_chunk

            def run_chunk(chunk: Any) -> Any:
                done.append((stage.name, chunk.chunk_id))
                return inner(chunk)

            worker.run_chunk = run_chunk
            return worker

        return Stage(stage.name, stage.module, stage.identity, made)

    for name in ("filter_scenes", "detect_edges"):
        monkeypatch.setitem(STAGES, name, counting(STAGES[name]))
    return done


def test_a_paused_job_stops_at_the_next_chunk_and_resumes_there_as_a_retry(
    runner: Runner, own_source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    stopped = stopped_run(
        runner, own_source, lambda: ask(runner, own_source, PAUSED), stage="detect_edges", share=2.5 / CHUNKS
    )
    assert not stopped.succeeded
    assert (stopped.job.status, stopped.job.error_message) == (PAUSED, "paused by request")
    assert f"touchline resume {stopped.job.id}" in stopped.error
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == [0, 1, 2]
    # The stage beside it did not go on either, unless it came first.
    assert "detect_edges" not in rows_of(runner, stopped.job)
    resumed = runner.resume(now(runner, stopped.job))
    assert resumed.succeeded, resumed.error
    assert (resumed.job.run_type, resumed.job.status) == (RunType.RETRY, DetectJobStatus.COMPLETED)
    assert (resumed.job.parent_job_id, resumed.job.config_overrides) == (stopped.job.id, stopped.job.config_overrides)
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == list(range(CHUNKS))
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == list(range(CHUNKS))
    assert now(runner, stopped.job).status is PAUSED
    with pytest.raises(BadInputError, match=f"continued already, by job {resumed.job.id}, which is completed"):
        runner.resume(now(runner, stopped.job))


def test_a_request_between_two_stages_is_seen_before_the_next_one_begins(
    runner: Runner, own_source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    # The last thing a stage says is that all of it is done; its checkpoint is written after that.
    left: list[int] = []

    def listen(name: str, done: float) -> None:
        if name == "filter_scenes" and done == 1.0:
            left.append(1)
            # Said once at the last chunk, where the stage looks itself, and once at its end.
            if len(left) == 2:
                ask(runner, own_source, PAUSED)

    stopped = runner.run(own_source, overrides=SETTINGS, until=UNTIL, listener=listen)
    assert len(left) == 2
    assert stopped.job.status is PAUSED
    assert set(rows_of(runner, stopped.job)) == {"extract_frames", "filter_scenes"}
    assert not [chunk for stage, chunk in computed if stage == "detect_edges"]


@pytest.mark.parametrize("status", [PAUSED, CANCELLED])
def test_a_run_tag_asks_for_the_same_and_is_not_inherited(
    runner: Runner, own_source: SourceAsset, status: DetectJobStatus
) -> None:
    stopped = stopped_run(
        runner, own_source, lambda: tag(runner, own_source, str(status)), stage="filter_scenes", share=0.1
    )
    assert (stopped.job.status, stopped.job.error_message) == (status, f"{status} by request"), stopped.error
    run = runner.instance.get_run_by_id(stopped.run_id)
    assert run is not None
    assert run.tags[STOP_TAG] == ""
    ended = dg.DagsterRunStatus.FAILURE if status is PAUSED else dg.DagsterRunStatus.CANCELED
    assert run.status is ended


def the_job() -> dg.JobDefinition:
    return build_defs().resolve_job_def(JOB)


def test_a_tag_that_a_run_inherits_unanswered_does_not_stop_it(runner: Runner, own_source: SourceAsset) -> None:
    ended = runner.run(own_source, until="extract_frames")
    runner.instance.add_run_tags(ended.run_id, {STOP_TAG: "paused"})
    with dg.execute_job(
        dg.reconstructable(the_job),
        instance=runner.instance,
        # As Dagster's UI does: a re-execution begins with its parent's tags.
        tags={"dagster/partition": own_source.partition_key, STOP_TAG: "paused"},
        reexecution_options=dg.ReexecutionOptions(ended.run_id, ["extract_frames"]),
    ) as again:
        assert again.success
    run = runner.instance.get_run_by_id(again.run_id)
    assert run is not None and run.tags[STOP_TAG] == ""


def test_a_tag_on_a_run_that_has_not_begun_pauses_it_before_any_work(runner: Runner, own_source: SourceAsset) -> None:
    stopped = runner.run(own_source, until="extract_frames", tags={STOP_TAG: "paused"})
    assert stopped.job.status is PAUSED
    assert not rows_of(runner, stopped.job)


def test_a_tag_that_says_something_else_changes_nothing(runner: Runner, own_source: SourceAsset) -> None:
    assert runner.run(own_source, until="extract_frames", tags={STOP_TAG: "please"}).succeeded


def test_a_run_that_dagster_cancels_stops_at_the_next_chunk_though_the_interrupt_was_lost(
    runner: Runner, own_source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    def cancelling() -> None:
        run = runner.instance.get_run_by_id(str(jobs_of(runner, own_source)[-1].dagster_run_id))
        assert run is not None
        runner.instance.report_run_canceling(run)

    stopped = stopped_run(runner, own_source, cancelling, stage="filter_scenes", share=1.5 / CHUNKS)
    assert stopped.stopped and not stopped.succeeded
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == [0, 1]
    [job] = jobs_of(runner, own_source)
    # What the cancellation interrupted is cancelled as soon as the run is.
    assert (job.status, job.error_message) == (CANCELLED, "cancelled in Dagster")


def test_a_cancelled_job_is_final_and_what_it_left_half_done_is_not_taken_up(
    runner: Runner, own_source: SourceAsset, computed: list[tuple[str, int]]
) -> None:
    stopped = stopped_run(
        runner, own_source, lambda: ask(runner, own_source, CANCELLED), stage="detect_edges", share=2.5 / CHUNKS
    )
    assert stopped.job.status is CANCELLED
    assert stopped.error == f"job {stopped.job.id} was cancelled; what is finished is kept"
    with pytest.raises(BadInputError, match="is cancelled; expected paused or failed"):
        runner.resume(now(runner, stopped.job))
    again = runner.run(own_source, overrides=SETTINGS, until=UNTIL)
    assert again.succeeded, again.error
    assert again.continued is None
    assert again.job.run_type is RunType.REPLAY  # not all nodes were selected
    assert [chunk for stage, chunk in computed if stage == "detect_edges"] == [0, 1, 2, *range(CHUNKS)]
    # What it had finished is taken over.
    assert [chunk for stage, chunk in computed if stage == "filter_scenes"] == list(range(CHUNKS))
    assert rows_of(runner, again.job)["filter_scenes"].reused_from == rows_of(runner, stopped.job)["filter_scenes"].id


def test_a_job_whose_run_dagster_has_forgotten_is_resumed_from_what_it_says_itself(
    runner: Runner, own_source: SourceAsset
) -> None:
    stopped = stopped_run(runner, own_source, lambda: ask(runner, own_source, PAUSED), stage="filter_scenes", share=0.1)
    known = request_of(runner.instance, runner.connection, now(runner, stopped.job))
    runner.instance.delete_run(stopped.run_id)
    forgotten = request_of(runner.instance, runner.connection, now(runner, stopped.job))
    # The job does not say where the run was to end.
    assert set(known.stages) < set(forgotten.stages)
    assert forgotten.config["ops"]["extract_frames"]["config"] == {"chunk_s": 1.0}
    assert forgotten.config["resources"]["run_settings"]["config"]["profile"] == stopped.job.profile_name


def test_two_that_go_on_with_one_attempt_leave_its_journal_alone(runner: Runner, own_source: SourceAsset) -> None:
    checkpoints = runner.connection.checkpoints
    stopped = stopped_run(
        runner, own_source, lambda: ask(runner, own_source, PAUSED), stage="filter_scenes", share=2.5 / CHUNKS
    )
    print_ = rows_of(runner, stopped_again(runner, stopped))["filter_scenes"].fingerprint
    left = checkpoints.journal(stopped.job.id, "filter_scenes", print_)
    assert left.finished == (0, 1, 2)
    # Another that goes on now still finds all of it.
    second = checkpoints.journal(uuid.uuid4(), "filter_scenes", print_)
    second.copy_from(left)
    assert (second.finished, second.state) == (left.finished, left.state)
    assert list(second.documents()) == list(left.documents())
    second.clear()
    assert checkpoints.journal(stopped.job.id, "filter_scenes", print_).finished == (0, 1, 2)
    with pytest.raises(ValueError, match="expected to be empty"):
        left.copy_from(left)


def stopped_again(runner: Runner, stopped: RunOutcome) -> DetectJob:
    resumed = runner.resume(now(runner, stopped.job))
    assert resumed.succeeded, resumed.error
    return resumed.job
