"""The pools: how many steps that use something scarce may be at work at once, over all runs.

Belongs here: the limits, waiting for a place, and giving back what ended runs still hold. Which asset is in which pool
stands at the asset.
https://docs.dagster.io/guides/operate/managing-concurrency
"""

from __future__ import annotations

import time
from typing import Final

import dagster as dg
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from sqlalchemy.exc import IntegrityError

from detection_assets.jobs import heartbeat

POOLS: Final = {"gpu": 2, "ocr": 2, "cloud_llm": 2}
"""Steps at work at once where nothing else was set (in Dagster's UI, or by `dagster instance concurrency set`): as many
as runs, since a step that finds no place asks again after a second at the earliest.

Not `default_limit` in dagster.yaml: on Postgres a run fails when two runs at once are the first to use a pool, and
every run fails after that limit was changed (dagster-io/dagster 33552).
"""
LONGEST_SLEEP_S: Final = 0.5
"""A run that waits for a place looks up so often whether it was interrupted [s]."""


def sleep_while_waiting() -> None:
    """Lets runs of this process sleep while they wait for a place. A second call changes nothing.

    Dagster 1.13 sleeps for the lesser of 0 and the time that is left: a run that waits keeps a core busy, which the one
    that has the place could use (dagster-io/dagster 20367, never merged).
    """
    InstanceConcurrencyContext.interval_to_next_pending_claim_check = _until_next_claim  # type: ignore[method-assign, assignment]


def _until_next_claim(waiting: InstanceConcurrencyContext) -> float:
    """Seconds until one of a run's waiting steps may ask for a place again."""
    heartbeat.waiting()
    now = time.time()
    left = [float(at) - now for at in waiting._pending_timeouts.values()]
    return max(0.0, min([LONGEST_SLEEP_S, *left]))


def set_limits(instance: dg.DagsterInstance) -> None:
    """Gives each pool that has no limit the one of `POOLS`. Safe at any time, from several processes at once."""
    limited = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
    for name, limit in POOLS.items():
        if name not in limited:
            try:
                instance.event_log_storage.set_concurrency_slots(name, limit)
            except IntegrityError:
                # Another process set the same limit at this very moment.
                continue


def free_ended(instance: dg.DagsterInstance) -> None:
    """Gives back the places of runs that are over. A run that was killed keeps them: the next would wait for ever.

    The daemon does the same after a while (`free_slots_after_run_end_seconds`), but not every run has one beside it.
    """
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
