"""Runs whose process died without a word: found by the mark their process left, and put right.

Belongs here: runs that `runner.py` started in a process of its own. Runs that Dagster's launcher started are watched by
its daemon (`run_monitoring` in dagster.yaml).

A run that was killed says for ever that it works, and keeps its places in the pools: soon no other run would get one.
https://docs.dagster.io/guides/operate/managing-concurrency
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from resources.database import Database
from touchline import repository
from touchline.schema import DetectJobStatus

PROCESS_TAG: Final = "touchline/process"
WHY: Final = "its process ended without a word; continued by a new run"
CLOCK_S: Final = 60.0
"""Seconds by which a process's start may seem to move when the clock is set."""
IN_PROGRESS: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)


def this_process() -> str:
    """Names this process so that no later one is taken for it: host, pid and when it started [s since 1970]."""
    process = psutil.Process(os.getpid())
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.0f}"


def bury_dead_runs(instance: DagsterInstance, database: Database) -> list[str]:
    """Ends the runs of this host whose process is gone, frees their places in pools and tells their jobs.

    Returns the ids of these runs. Runs of other hosts, of living processes and of Dagster's launcher are left alone.
    """
    dead = []
    for run in instance.get_runs(RunsFilter(statuses=list(IN_PROGRESS))):
        mark = run.tags.get(PROCESS_TAG, "")
        if not mark or not _died(mark):
            continue
        logging.getLogger(__name__).info("run %s: its process (%s) is gone", run.run_id, mark)
        with database.session() as session:
            job = repository.job_of_run(session, run.run_id)
            if job is not None and job.status is DetectJobStatus.RUNNING:
                repository.set_job_status(session, job.id, DetectJobStatus.FAILED, error_message=WHY)
        instance.report_run_failed(run, message=WHY)
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        dead.append(run.run_id)
    return dead


def _died(mark: str) -> bool:
    host, pid, started = mark.split("/")
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        another = abs(process.create_time() - float(started)) > CLOCK_S
        return another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
