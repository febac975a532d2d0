"""What must be true of the Dagster instance before runs start: the pools' limits, and no run of a dead process.

Belongs here: setting the instance up and tidying it. Which asset is in which pool stands at the asset.
https://docs.dagster.io/guides/operate/managing-concurrency
"""

from __future__ import annotations

import socket
from typing import Final

import dagster as dg
import psutil
from sqlalchemy.exc import IntegrityError

POOLS: Final = {"gpu": 1, "ocr": 2, "cloud_llm": 2}
"""Steps at work at once, over all runs, where nothing else was set (Dagster's UI, or `dagster instance concurrency`).

Not `default_limit` in dagster.yaml: on Postgres a run fails when that is first put into effect by two runs at once, and
every run fails after it was changed (dagster-io/dagster 33552).
"""
PROCESS_TAG: Final = "touchline/process"
"""On runs inside a command's own process: which one, so that its death is noticed."""
UNDER_WAY: Final = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def set_up(instance: dg.DagsterInstance) -> None:
    """Gives each pool its limit if it has none, ends runs of dead processes, frees what ended runs still hold."""
    limited = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
    for name, limit in POOLS.items():
        if name not in limited:
            try:
                instance.event_log_storage.set_concurrency_slots(name, limit)
            except IntegrityError:
                # Another process set the same limit at this very moment.
                continue
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY))):
        if _is_dead(run.tags.get(PROCESS_TAG, "")):
            instance.report_run_failed(run, "The process that this run was in ended without a word.")
    # A run that was killed keeps its places in the pools: the next would wait for them for ever.
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def this_process() -> str:
    """This process by host, number and start, so that a number used again is not taken for it."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _is_dead(name: str) -> bool:
    """Whether a process of this host, named by `this_process`, is gone; of other hosts nothing is known."""
    host, _, rest = name.partition(":")
    if not rest or host != socket.gethostname():
        return False
    pid, _, created = rest.partition(":")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != created
    except psutil.NoSuchProcess:
        return True
