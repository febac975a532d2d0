"""Going on with a job that was paused or that failed, in whichever process its run was.

Belongs here: what the job's run had been asked to do, and whether it may be taken up. Running it is in `runner.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
from dagster import DagsterInstance

from detection_assets.dagster_internals.runs import runs_where
from detection_assets.dagster_internals.tags import PARENT_RUN_TAG
from detection_assets.jobs.job_of_run import CONTINUES_TAG, selected_stages
from detection_assets.jobs.run_config import run_config
from detection_assets.local.registered_files import hand_over, handed_over
from resources.storage import Connection
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus
from touchline.nodes import NODE_NAMES, REPORT, downstream
from touchline.profiles import dotted, profile_of

RESUMABLE: Final = (DetectJobStatus.PAUSED, DetectJobStatus.FAILED)


@dataclass(frozen=True)
class Request:
    """What a run is asked to do: stages in order, and Dagster's run config."""

    stages: tuple[str, ...]
    config: Mapping[str, Any]


def request_of(instance: DagsterInstance, connection: Connection, job: DetectJob) -> Request:
    """What to ask for in order to go on with a job.

    Raises BadInputError if it is not one to go on with, its profile is missing, or a file that it names is.
    """
    if job.status not in RESUMABLE:
        again = "cancel or pause it first" if job.status is DetectJobStatus.RUNNING else "run its source again instead"
        raise BadInputError(f"job {job.id} is {job.status}; expected {' or '.join(RESUMABLE)}: {again}")
    if later := continuations(instance, connection, job):
        # A job goes on once: whoever asks again is told with which.
        raise BadInputError(f"job {job.id} was continued already, by {named(*later[0])}; `touchline jobs` shows it")
    run = instance.get_run_by_id(job.dagster_run_id) if job.dagster_run_id else None
    if run is None:
        # Dagster has forgotten it; the job itself tells nearly as much.
        stages = downstream(job.replay_from_stage) if job.replay_from_stage else (*NODE_NAMES, REPORT)
        profile_of(job.partition_key, job.profile_name)
        changes, _ = hand_over(connection.objects, dotted(job.config_overrides), None)
        return Request(stages, run_config(stages, profile=job.profile_name, overrides=changes))
    config = handed_over(connection.objects, run.run_config)
    config.pop("loggers", None)
    settings = config["resources"]["run_settings"]["config"]
    with connection.database.session() as session:
        own = repository.get_source(session, job.partition_key).profile_name
    profile_of(job.partition_key, settings.get("profile") or own)
    # To begin anew is what the first attempt did.
    settings["fresh"] = False
    return Request(tuple(selected_stages(run)), config)


def continuations(
    instance: DagsterInstance, connection: Connection, job: DetectJob
) -> list[tuple[dg.DagsterRun, DetectJob | None]]:
    """The runs that go on with a job, each with its own job if it has begun, but for those that ended before that."""
    runs = runs_where(instance, dg.RunsFilter(tags={CONTINUES_TAG: str(job.id)}))
    if job.dagster_run_id:
        runs += runs_where(instance, dg.RunsFilter(tags={PARENT_RUN_TAG: job.dagster_run_id}))
    found = []
    for run in runs:
        with connection.database.session() as session:
            later = repository.job_of_run(session, run.run_id, job.source_asset_id)
        if later is not None or not run.is_finished:
            found.append((run, later))
    return found


def named(run: dg.DagsterRun, job: DetectJob | None) -> str:
    """What to call a run that goes on with a job."""
    return f"job {job.id}, which is {job.status}" if job else f"Dagster run {run.run_id}, {run.status.value.lower()}"
