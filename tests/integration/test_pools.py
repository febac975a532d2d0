"""What a pool with a limit holds back: runs in Dagster's queue, while other runs with steps in it are at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg
import pytest
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter

from detection_assets.local.runner import Runner

POOL = "ocr"

Make = Callable[..., dg.DagsterRun]


@pytest.fixture
def made(runner: Runner) -> Iterator[Make]:
    """Makes runs of the job, as `touchline run` does; they are over after the test, and the pool has no limit."""
    runs: list[dg.DagsterRun] = []

    def make(status: dg.DagsterRunStatus, *stages: str) -> dg.DagsterRun:
        job = runner._job.get_subset(asset_selection={dg.AssetKey(name) for name in stages}) if stages else runner._job
        runs.append(runner.instance.create_run_for_job(job, status=status))
        return runs[-1]

    yield make
    for run in runs:
        runner.instance.report_run_canceled(run)
    runner.instance.event_log_storage.delete_concurrency_limit(POOL)


def held_back(runner: Runner, queued: dg.DagsterRun) -> bool:
    """Whether Dagster's queue, configured as this home is, lets a run wait for its pools."""
    instance, storage = runner.instance, runner.instance.event_log_storage
    at_work = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    granularity = instance.get_concurrency_config().pool_config.pool_granularity
    counter = GlobalOpConcurrencyLimitsCounter(
        instance,
        [queued],
        at_work,
        storage.get_concurrency_keys(),
        storage.get_pool_limits(),
        pool_granularity=granularity,
    )
    return counter.is_blocked(queued)


def test_the_queue_counts_runs_of_the_command_line_in_a_pool_that_has_a_limit(runner: Runner, made: Make) -> None:
    working, queued = made(dg.DagsterRunStatus.STARTED), made(dg.DagsterRunStatus.NOT_STARTED)
    assert not held_back(runner, queued), "a pool without a limit holds nothing back"
    runner.instance.event_log_storage.set_concurrency_slots(POOL, 1)
    assert held_back(runner, queued)
    assert not held_back(runner, made(dg.DagsterRunStatus.NOT_STARTED, "match_brands")), "it has no step in the pool"
    runner.instance.event_log_storage.set_concurrency_slots(POOL, 2)
    assert not held_back(runner, queued)
    runner.instance.event_log_storage.set_concurrency_slots(POOL, 1)
    runner.instance.report_run_failed(working)
    assert not held_back(runner, queued), "a run that was killed gives its place back when it is ended"


def test_a_run_that_has_begun_never_waits_for_a_place(runner: Runner, made: Make) -> None:
    runner.instance.event_log_storage.set_concurrency_slots(POOL, 1)
    for run in (made(dg.DagsterRunStatus.STARTED), made(dg.DagsterRunStatus.STARTED)):
        with InstanceConcurrencyContext(runner.instance, run) as places:
            assert places.claim(POOL, "run_ocr")
            assert not places.has_pending_claims()
