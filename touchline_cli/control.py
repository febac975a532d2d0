"""`touchline pause`, `resume` and `cancel`: stops and continues jobs.

Belongs here: a user's requests. A run checks for them in `detection_assets/jobs/job_of_run.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from detection_assets.dagster_internals.tags import PRIORITY_TAG
from detection_assets.jobs.run_config import refuse_unused
from touchline.errors import BadInputError
from touchline_cli import session
from touchline_cli.webserver import Webserver, find

if TYPE_CHECKING:
    from detection_assets.dagster_internals.clients import Clients
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from touchline.library.tables import DetectJob, DetectJobStatus
    from touchline_cli.outcome import Ended


def pause(job_id: str, as_json: bool) -> int:
    """Pauses a job: a running one stops at its next chunk, any other becomes paused now."""
    from touchline.library.tables import DetectJobStatus

    with session.clients() as clients:
        job = _ask(clients, job_id, DetectJobStatus.PAUSED)
    _report(job, "pauses at its next chunk" if job.stop_requested else "is paused", as_json)
    return 0


def cancel(job_id: str, server: str | None, as_json: bool) -> int:
    """Cancels a job. If the webserver launched its run, Dagster terminates the run at once."""
    from resources.settings import Settings
    from touchline.library.tables import DetectJobStatus

    url = find(Settings.from_environment().home, server)
    with session.clients() as clients:
        job = _ask(clients, job_id, DetectJobStatus.CANCELLED)
        ends_now = False
        if job.stop_requested and url is not None and job.dagster_run_id:
            ends_now = Webserver(url).terminate(job.dagster_run_id)
    what = "is being terminated" if ends_now else "ends at its next chunk" if job.stop_requested else "is cancelled"
    _report(job, what, as_json)
    return 0


def resume(job_id: str, report: Path | None, priority: int | None, server: str | None, as_json: bool) -> int:
    """Launches a retry through the webserver, or executes it in a worker process.

    Returns the exit code: 1 if the run failed here, 3 if it was stopped by request, 130 after Ctrl-C.
    """
    from resources.settings import Settings
    from touchline.library import repository
    from touchline.report.files import check_folder
    from touchline_cli.outcome import exit_code, row_of
    from touchline_cli.progress import ProgressDisplay
    from touchline_cli.run import run_one

    url = find(Settings.from_environment().home, server)
    if url is not None:
        if report is not None:
            raise BadInputError(f"--report: {url} runs the job; `touchline report` writes its report once it has ended")
        return _queued(url, job_id, priority, as_json)
    if report is not None:
        check_folder("--report", report)
    try:
        with session.worker_pool(1) as (workers, connection), ProgressDisplay(as_json) as progress:
            with connection.database.session() as db_session:
                job = repository.get_job(db_session, job_id)
            tags = {PRIORITY_TAG: str(job.priority if priority is None else priority)}
            ended = run_one(workers, job.partition_key, partial(_resumed, job_id, tags, report), progress)
            video = Path(job.video_path)
            row = row_of(connection, ended, video, (report, video.stem) if report else None, progress, as_json)
    except KeyboardInterrupt:
        session.complain("interrupted; `touchline jobs` shows the job to resume", "yellow")
        return 130
    if as_json:
        session.print_json(row)
    return exit_code([row])


def _resumed(job_id: str, tags: Mapping[str, str], report: Path | None, runner: Runner, listener: Listener) -> Ended:
    from detection_assets.jobs.resume import request_of
    from touchline_cli.outcome import Ended

    job = _corrected(runner, job_id)
    if report is not None:
        refuse_unused(request_of(runner.instance, runner.connection, job).stages, report=report)
    return Ended(runner.resume(job, listener=listener, tags=tags))


def _queued(url: str, job_id: str, priority: int | None, as_json: bool) -> int:
    """Launches the retry through the webserver."""
    from detection_assets.jobs.job_of_run import CONTINUES_TAG
    from detection_assets.jobs.resume import request_of
    from detection_assets.jobs.run_config import JOB

    with session.clients() as clients:
        job = _corrected(clients, job_id)
        request = request_of(clients.instance, clients.connection, job)
        tags = {PRIORITY_TAG: str(job.priority if priority is None else priority), CONTINUES_TAG: str(job.id)}
        run_id = Webserver(url).launch(JOB, request.stages, job.partition_key, request.config, tags)
    _report(job, f"resumes as Dagster run {run_id}, which is queued", as_json, continued_by=run_id)
    return 0


def _corrected(clients: Clients | Runner, job_id: str) -> DetectJob:
    """The job, after jobs and runs of dead processes were reconciled."""
    from detection_assets.jobs.reconcile import reconcile
    from touchline.library import repository

    with clients.connection.database.session() as db_session:
        repository.get_job(db_session, job_id)
    reconcile(clients.instance, clients.connection)
    with clients.connection.database.session() as db_session:
        return repository.get_job(db_session, job_id)


def _ask(clients: Clients | Runner, job_id: str, status: DetectJobStatus) -> DetectJob:
    """Requests that a job stops; returns the job. Raises BadInputError if it has ended, or another job continues it.

    A queued run that continues it has no job yet; it is tagged instead.
    """
    from detection_assets.dagster_internals.runs import tag_run
    from detection_assets.jobs.job_of_run import STOP_TAG
    from detection_assets.jobs.lifecycle import ask
    from detection_assets.jobs.resume import continuations, named
    from touchline.library import repository

    job = _corrected(clients, job_id)
    for run, later in continuations(clients.instance, clients.connection, job):
        if later is not None and later.status not in repository.FINAL:
            raise BadInputError(f"job {job.id} was continued by {named(run, later)}; name that one")
        if later is None:
            tag_run(clients.instance, run.run_id, {STOP_TAG: str(status)})
    with clients.connection.database.session() as db_session:
        return ask(db_session, job.id, status)


def _report(job: DetectJob, what: str, as_json: bool, *, continued_by: str | None = None) -> None:
    if as_json:
        row = {"job_id": str(job.id), "partition_key": job.partition_key, "status": str(job.status)}
        row["dagster_run_id"] = continued_by or job.dagster_run_id or ""
        asked = job.stop_requested
        session.print_json({**row, "asked": str(asked) if asked else None})
    else:
        session.say(f"job {job.id} of {job.partition_key} {what}")
