"""Reconciles jobs with their Dagster runs, and runs with their processes.

Belongs here: corrections after a process died. `jobs/lifecycle.py` sets a job's status, `process_liveness.py` checks
processes, `sensors/run_status.py` calls this module.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus

from detection_assets.dagster_internals.runs import cancel_run, fail_run, notes_code_servers, runs_where
from detection_assets.dagster_internals.tags import LAUNCHER_TAG
from detection_assets.jobs import lifecycle
from detection_assets.jobs.process_liveness import dead_process, finished_here, marked
from detection_assets.upkeep.retry_uploads import recover_uploads
from resources.holders import is_gone, is_working, name_of
from resources.storage import Connection
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunLease
from touchline.watch import in_minutes

IN_PROGRESS: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
"""Statuses of runs that a process should be executing."""
NEVER_STARTED: Final = "the server that launched it ended before the run began"
"""Failure message of a run that no process has begun."""
BATCH: Final = 500
"""Runs per query."""


@dataclass(frozen=True)
class Reconciled:
    """What was corrected: ids of ended Dagster runs, jobs with their new status, one sentence per lost upload run."""

    runs: tuple[str, ...]
    jobs: tuple[tuple[UUID, DetectJobStatus], ...]
    uploads: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A summary in one sentence, for logs."""
        if not self.runs and not self.jobs and not self.uploads:
            return "every job agrees with its run"
        jobs = ", ".join(f"{job} is {status}" for job, status in self.jobs) or "none"
        uploads = "".join(f"; {sentence}" for sentence in self.uploads)
        return f"ended {len(self.runs)} run(s) of dead processes; jobs corrected: {jobs}{uploads}"


def reconcile(instance: DagsterInstance, connection: Connection, *, begun_before: bool = False) -> Reconciled:
    """Ends the runs of dead processes, then corrects every active job whose run has ended or was deleted.

    Uploads whose run ended too early are requested again. Runs of living processes are left alone. A process on another
    machine counts as dead if its lease was not renewed for too long, at two checks some time apart. It is safe to call
    this at any time and from several processes; a second call has no effect.

    `begun_before`: no process launched by this machine's Dagster servers is alive, as when `touchline serve` starts.
    Runs that were about to start then count as ended.
    """
    ended = _end_dead_runs(instance, connection, begun_before=begun_before)
    with connection.database.session() as session:
        jobs = repository.active_jobs(session)
    corrected: list[tuple[UUID, DetectJobStatus]] = []
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        ids = sorted({job.dagster_run_id or "" for job in batch})
        runs = {run.run_id: run for run in runs_where(instance, dg.RunsFilter(run_ids=ids))}
        for job in batch:
            run = runs.get(job.dagster_run_id or "")
            if run is None:
                corrected += lifecycle.fail_without_run(connection, job)
            elif run.is_finished:
                corrected += lifecycle.follow(instance, connection, run, [job])
    return Reconciled(tuple(ended), tuple(corrected), tuple(recover_uploads(instance, connection)))


def _end_dead_runs(instance: DagsterInstance, connection: Connection, *, begun_before: bool) -> list[str]:
    with connection.database.session() as session:
        repository.mark_silent_leases(session)
        silent = repository.expired_leases(session)
        leases = {lease.run_id: lease for lease in repository.list_leases(session)}
    runs = runs_where(instance, dg.RunsFilter(statuses=list(IN_PROGRESS)))
    ended = []
    for run in runs:
        lease = leases.pop(run.run_id, None)
        if lease is not None and run.run_id not in finished_here:
            why = _take_lost_lease(connection, lease, silent.get(run.run_id))
        else:
            process = dead_process(run.tags, run.run_id)
            why = f"{process} ended without reporting an error" if process else ""
            if not why and begun_before and never_started(instance, run):
                why = NEVER_STARTED
        if why and end_run(instance, run.run_id, why):
            ended.append(run.run_id)
    with connection.database.session() as session:
        repository.delete_leases(session, ended)
    _forget_ended(instance, connection, leases.values())
    return ended


def _take_lost_lease(connection: Connection, lease: RunLease, silent_s: float | None) -> str:
    """Takes the lease of a run from a process that is dead or silent for too long. Returns the reason, or ""."""
    process = name_of(lease.host, lease.process)
    if lease.holder == repository.REVOKED:
        return f"{process} was given up"
    if is_gone(lease.host, lease.process):
        why = f"{process} ended without reporting an error"
    elif silent_s is not None and not is_working(lease.host, lease.process):
        why = f"{process} was not heard of for {in_minutes(silent_s)}"
    else:
        return ""
    with connection.database.session() as session:
        taken = repository.revoke_lease(session, lease, silent=silent_s is not None)
    return why if taken else ""


def _forget_ended(instance: DagsterInstance, connection: Connection, leases: Iterable[RunLease]) -> None:
    """Removes the leases of runs that have ended; their holders can write nothing for them from now on."""
    over = []
    for lease in leases:
        run = instance.get_run_by_id(lease.run_id)
        if run is None or run.is_finished:
            over.append(lease.run_id)
    with connection.database.session() as session:
        repository.delete_leases(session, over)


def end_run(instance: DagsterInstance, run_id: str, why: str) -> bool:
    """Reports a run to Dagster as failed, or as cancelled if it was being cancelled. Returns False if it had ended."""
    # The run's launcher may have reported its end in the meantime.
    now = instance.get_run_by_id(run_id)
    if now is None or now.is_finished:
        return False
    if now.status is DagsterRunStatus.CANCELING:
        cancel_run(instance, now, f"{why}, before it could confirm the cancellation")
    else:
        fail_run(instance, now, f"{why}; {lifecycle.AGAIN}")
    return True


def unstarted_runs(instance: DagsterInstance, connection: Connection) -> list[dg.DagsterRun]:
    """Runs in progress, according to Dagster, that have never started (see `never_started`) and have no lease."""
    with connection.database.session() as session:
        held = {lease.run_id for lease in repository.list_leases(session)}
    runs = runs_where(instance, dg.RunsFilter(statuses=list(IN_PROGRESS)))
    return [run for run in runs if run.run_id not in held and never_started(instance, run)]


def never_started(instance: DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run was launched by a server of this machine that is gone, and has no process tag.

    Its process may still be loading. So the answer counts only if no launched process can be alive, or after a while.
    """
    if marked(run.tags, run.run_id):
        return False
    if LAUNCHER_TAG not in run.tags:
        # Dagster's launcher writes this tag first; a launcher that died before that has launched nothing.
        return run.status is DagsterRunStatus.STARTING and notes_code_servers(instance)
    try:
        server = json.loads(run.tags.get(LAUNCHER_TAG, ""))
    except ValueError:
        return False
    if not isinstance(server, dict):
        return False
    if path := server.get("socket"):
        return not _answers(socket.AF_UNIX, str(path))
    local = server.get("host") in ("localhost", "127.0.0.1")
    return bool(local and server.get("port")) and not _answers(socket.AF_INET, ("127.0.0.1", int(server["port"])))


def _answers(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family) as client:
        client.settimeout(1.0)
        try:
            client.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            # A timeout: the server exists and is slow.
            return True
    return True
