"""Bringing jobs in line with their Dagster runs, and runs in line with their processes.

Belongs here: what is corrected after something died. What becomes of a job's status is in
`jobs/lifecycle.py`; which process does a run, in `process_liveness.py`; when this is called, in
`sensors/run_status.py`.
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
from detection_assets.jobs.process_liveness import dead_process, done_here, marked
from detection_assets.upkeep.retry_uploads import recover_uploads
from resources.holders import is_gone, is_working, name_of
from resources.storage import Connection
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunLease
from touchline.watch import in_minutes

AT_WORK: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
NEVER_BEGAN: Final = "the server that launched it ended before the run began"
BATCH: Final = 500
"""Runs asked for at a time."""


@dataclass(frozen=True)
class Reconciled:
    """What was corrected: Dagster runs that were ended, jobs with the status they got, and what uploads were lost."""

    runs: tuple[str, ...]
    jobs: tuple[tuple[UUID, DetectJobStatus], ...]
    uploads: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One sentence for logs."""
        if not self.runs and not self.jobs and not self.uploads:
            return "every job agrees with its run"
        jobs = ", ".join(f"{job} is {status}" for job, status in self.jobs) or "none"
        uploads = "".join(f"; {told}" for told in self.uploads)
        return f"ended {len(self.runs)} run(s) of dead processes; jobs corrected: {jobs}{uploads}"


def reconcile(instance: DagsterInstance, connection: Connection, *, begun_before: bool = False) -> Reconciled:
    """Ends the runs whose process is dead, then corrects every job that says it is at work and whose run is not.

    Uploads whose run ended too early are asked for again. Runs of living processes are left alone. A process on another
    machine counts as dead when it was not heard of for too long, at two looks some time apart. Safe at any time, from
    any number of processes at once; a second call finds nothing to do.

    `begun_before`: nothing that Dagster's servers of this machine have launched is alive, as when `touchline serve`
    starts. Runs that were about to start are then over.
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
                corrected += lifecycle.lose(connection, job)
            elif run.is_finished:
                corrected += lifecycle.follow(instance, connection, run, [job])
    return Reconciled(tuple(ended), tuple(corrected), tuple(recover_uploads(instance, connection)))


def _end_dead_runs(instance: DagsterInstance, connection: Connection, *, begun_before: bool) -> list[str]:
    with connection.database.session() as session:
        repository.mark_silent_leases(session)
        silent = repository.expired_leases(session)
        leases = {lease.run_id: lease for lease in repository.list_leases(session)}
    runs = runs_where(instance, dg.RunsFilter(statuses=list(AT_WORK)))
    ended = []
    for run in runs:
        lease = leases.pop(run.run_id, None)
        if lease is not None and run.run_id not in done_here:
            why = _lost(connection, lease, silent.get(run.run_id))
        else:
            process = dead_process(run.tags, run.run_id)
            why = f"{process} ended without reporting an error" if process else ""
            if not why and begun_before and never_began(instance, run):
                why = NEVER_BEGAN
        if why and end_run(instance, run.run_id, why):
            ended.append(run.run_id)
    with connection.database.session() as session:
        repository.delete_leases(session, ended)
    _forget(instance, connection, leases.values())
    return ended


def _lost(connection: Connection, lease: RunLease, silent_s: float | None) -> str:
    """Takes the lease of a run from a process that is dead or was silent for too long; says which, or nothing."""
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


def _forget(instance: DagsterInstance, connection: Connection, leases: Iterable[RunLease]) -> None:
    """Removes the leases of runs that are not at work any more: whoever holds one writes nothing for it from now on."""
    over = []
    for lease in leases:
        run = instance.get_run_by_id(lease.run_id)
        if run is None or run.is_finished:
            over.append(lease.run_id)
    with connection.database.session() as session:
        repository.delete_leases(session, over)


def end_run(instance: DagsterInstance, run_id: str, why: str) -> bool:
    """Tells Dagster that a run has failed, or is cancelled if it was being cancelled; whether it was still going."""
    # Whoever launched the run may have noticed in the meantime.
    now = instance.get_run_by_id(run_id)
    if now is None or now.is_finished:
        return False
    if now.status is DagsterRunStatus.CANCELING:
        cancel_run(instance, now, f"{why}, before it could confirm the cancellation")
    else:
        fail_run(instance, now, f"{why}; {lifecycle.AGAIN}")
    return True


def not_begun(instance: DagsterInstance, connection: Connection) -> list[dg.DagsterRun]:
    """Runs at work, as Dagster has it, that nobody does: as `never_began`, and nobody holds their lease."""
    with connection.database.session() as session:
        held = {lease.run_id for lease in repository.list_leases(session)}
    runs = runs_where(instance, dg.RunsFilter(statuses=list(AT_WORK)))
    return [run for run in runs if run.run_id not in held and never_began(instance, run)]


def never_began(instance: DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run was launched by a server of this machine that is gone, and no process says that it does the run.

    Such a process may still be loading: the answer counts where nothing launched can be alive, or after a while.
    """
    if marked(run.tags, run.run_id):
        return False
    if LAUNCHER_TAG not in run.tags:
        # Dagster's own launcher says so before anything else; one that had no time to has launched nothing.
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
    with socket.socket(family) as asked:
        asked.settimeout(1.0)
        try:
            asked.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            # A server that is slow to answer is there.
            return True
    return True
