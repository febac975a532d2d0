"""Sensors that keep `DetectJob` true when its run ends without saying so: failed, cancelled, or killed.

Belongs here: when to look. What is corrected is in `detection_assets/jobs/reconcile.py`.
https://docs.dagster.io/guides/automate/sensors/run-status-sensors
"""

from typing import Final

import dagster as dg

from detection_assets.jobs.lifecycle import follow
from detection_assets.jobs.reconcile import reconcile
from resources.storage import Storage

FOLLOW_S: Final = 15
"""Seconds between two looks at the runs that have ended since."""
EVERY_S: Final = 15
"""Seconds between two looks at all that is at work: as far apart as two looks must be at a process that cannot be
heard. A look is a handful of queries."""


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE,
    name="job_follows_failed_run",
    description="A job that still says it runs after its run has failed becomes failed, with the run's own message.",
    # Runs of `touchline run` belong to no code location.
    monitor_all_code_locations=True,
    minimum_interval_seconds=FOLLOW_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def job_follows_failed_run(context: dg.RunStatusSensorContext, storage: Storage) -> None:
    """Of every failed run, whoever launched it; runs without a job are none of ours."""
    follow(context.instance, storage.connect(), context.dagster_run)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    name="job_follows_cancelled_run",
    description="A job whose run was cancelled in Dagster becomes cancelled, which is final.",
    monitor_all_code_locations=True,
    minimum_interval_seconds=FOLLOW_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def job_follows_cancelled_run(context: dg.RunStatusSensorContext, storage: Storage) -> None:
    """As for failed runs."""
    follow(context.instance, storage.connect(), context.dagster_run)


@dg.sensor(
    name="reconcile_jobs",
    description="Finds processes that died (kill -9, power cut, a crash of the daemon): ends the runs of dead "
    "processes, corrects jobs that say they run while their run is over or unknown, and notes in the ledger which "
    "uploads have to be asked for again. Starts no run.",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def reconcile_jobs(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SkipReason:
    """What was done is the tick's skip reason: it is shown in Dagster beside the tick."""
    return dg.SkipReason(str(reconcile(context.instance, storage.connect())))


SENSORS = (job_follows_failed_run, job_follows_cancelled_run, reconcile_jobs)
