"""Dagster's runs: their job, finding them, tagging them, and ending them from outside.

Belongs here: methods of `DagsterInstance` and `Definitions` that are not marked `@public`. When they are
used is decided in `jobs/`.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster import DagsterInstance
from dagster._core.events import JobFailureData, RunFailureReason


def job_of(definitions: dg.Definitions, name: str) -> dg.JobDefinition:
    """A job over assets as one that can be executed. `get_job_def`, the public way, warns that it will not do so."""
    return definitions.resolve_job_def(name)


def runs_where(instance: DagsterInstance, filters: dg.RunsFilter, limit: int | None = None) -> list[dg.DagsterRun]:
    """The runs that a filter lets through, newest first."""
    return [record.dagster_run for record in instance.get_run_records(filters, limit=limit)]


def tag_run(instance: DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    """Adds tags to a run; one that it has already gets the new value."""
    instance.add_run_tags(run_id, tags)


def fail_run(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Records that a run has failed. The reason makes `failures.failure_of` take `why` as the whole message."""
    reason = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
    instance.report_run_failed(run, why, reason)


def cancel_run(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Records that a run was cancelled."""
    instance.report_run_canceled(run, why)


def begin_cancel(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Records that a run is being cancelled: its own process then records that it was."""
    instance.report_run_canceling(run, why)


def notes_code_servers(instance: DagsterInstance) -> bool:
    """Whether runs are launched by a launcher that notes the code server in the run's tags (`LAUNCHER_TAG`)."""
    return isinstance(instance.run_launcher, dg.DefaultRunLauncher)
