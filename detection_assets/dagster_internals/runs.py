"""Dagster's runs: resolving their job, querying and tagging them, and reporting their end.

Belongs here: methods of `DagsterInstance` and `Definitions` that are not marked `@public`. The callers are in `jobs/`.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster import DagsterInstance
from dagster._core.events import JobFailureData, RunFailureReason


def job_of(definitions: dg.Definitions, name: str) -> dg.JobDefinition:
    """An asset job as an executable job. The public `get_job_def` warns that it will stop resolving asset jobs."""
    return definitions.resolve_job_def(name)


def runs_where(instance: DagsterInstance, filters: dg.RunsFilter, limit: int | None = None) -> list[dg.DagsterRun]:
    """The runs that match a filter, newest first; all of them if `limit` is None."""
    return [record.dagster_run for record in instance.get_run_records(filters, limit=limit)]


def tag_run(instance: DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    """Adds tags to a run, or replaces their values."""
    instance.add_run_tags(run_id, tags)


def fail_run(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Reports a run as failed. With this reason, `failures.failure_of` returns `why` as the whole message."""
    reason = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
    instance.report_run_failed(run, why, reason)


def cancel_run(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Reports a run as cancelled."""
    instance.report_run_canceled(run, why)


def begin_cancel(instance: DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Reports a run as being cancelled; its own process reports the end."""
    instance.report_run_canceling(run, why)


def notes_code_servers(instance: DagsterInstance) -> bool:
    """Whether the run launcher records the code server in the run's tags (`LAUNCHER_TAG`)."""
    return isinstance(instance.run_launcher, dg.DefaultRunLauncher)
