"""Sensors that update a `DetectJob` whose run failed, was cancelled or was killed without updating it.

Belongs here: intervals and ticks. Corrections are in `detection_assets/jobs/reconcile.py`.
https://docs.dagster.io/guides/automate/sensors/run-status-sensors
"""

from typing import Final

import dagster as dg

from detection_assets.jobs.lifecycle import follow
from detection_assets.jobs.reconcile import reconcile
from resources.storage import Storage

FOLLOW_S: Final = 15
"""Interval between two ticks of the run status sensors [s]."""
RECONCILE_S: Final = 15
"""Interval between two ticks that check all runs in progress [s], by a few queries each.

A silent process must be found silent by two checks at least this far apart."""


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE,
    name="job_follows_failed_run",
    description="Sets a job to failed if its run has failed and the job is still active, with the run's message.",
    # Runs of `touchline run` belong to no code location.
    monitor_all_code_locations=True,
    minimum_interval_seconds=FOLLOW_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def job_follows_failed_run(context: dg.RunStatusSensorContext, storage: Storage) -> None:
    """Updates the jobs of a failed run, however it was launched. Runs without a job are ignored."""
    follow(context.instance, storage.connect(), context.dagster_run)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    name="job_follows_cancelled_run",
    description="Sets a job to cancelled if its run was cancelled in Dagster. The status is final.",
    monitor_all_code_locations=True,
    minimum_interval_seconds=FOLLOW_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def job_follows_cancelled_run(context: dg.RunStatusSensorContext, storage: Storage) -> None:
    """Updates the jobs of a cancelled run, however it was launched."""
    follow(context.instance, storage.connect(), context.dagster_run)


@dg.sensor(
    name="reconcile_jobs",
    description="Finds dead processes (kill -9, power failure, a crash of the daemon). It ends their runs, corrects "
    "active jobs whose run has ended or was deleted, and records which uploads need another run. It launches no run.",
    minimum_interval_seconds=RECONCILE_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def reconcile_jobs(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SkipReason:
    """Returns a summary as the skip reason, which Dagster shows next to the tick."""
    return dg.SkipReason(str(reconcile(context.instance, storage.connect())))


SENSORS = (job_follows_failed_run, job_follows_cancelled_run, reconcile_jobs)
