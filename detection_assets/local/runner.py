"""Runs the pipeline in a command's own process: registers sources, executes and resumes runs.

Belongs here: what the CLI and the tests do with Dagster. The CLI itself only reads options and prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import sqlalchemy as sa

from detection_assets.dagster_internals.clients import open_instance, prepare
from detection_assets.dagster_internals.failures import DagsterPostgresError, failure_in
from detection_assets.dagster_internals.runs import job_of
from detection_assets.dagster_internals.storage import close, keep_connections
from detection_assets.dagster_internals.tags import PROCESS_TAG
from detection_assets.definitions import JOB, build_defs
from detection_assets.jobs import heartbeat, lifecycle
from detection_assets.jobs.job_of_run import ALONE_TAG, CONTINUES_TAG, refuse_concurrent
from detection_assets.jobs.process_liveness import finished_here, process_tag
from detection_assets.jobs.reconcile import reconcile
from detection_assets.jobs.resume import Request, request_of
from detection_assets.jobs.run_config import refuse_changed_profile, refuse_unused, run_config
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.registered_files import hand_over
from detection_assets.partitions import sources
from resources.connection import Connection, connect
from resources.leases import release_lease
from resources.local_services import Endpoints
from resources.settings import Settings
from touchline.errors import ServiceError, TouchlineError
from touchline.library import repository
from touchline.library.naming import checksum, content_mark, library_path
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset
from touchline.nodes import NODE_NAMES, selection
from touchline.profiles import load_profile
from touchline.video.opening import probe


class Runner:
    """Definitions, instance and clients, opened once for all runs in this process."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        home = prepare(settings, endpoints)
        self.settings, self.endpoints = settings, endpoints
        self.connection: Connection = connect(endpoints)
        self.instance = open_instance(home)
        keep_connections(self.instance)
        self._job = job_of(build_defs(), JOB)

    def register(self, path: Path, profile: str = "") -> SourceAsset:
        """Registers a video or picture: its row and its partition. Raises BadInputError for any other file."""
        info, name = probe(path), library_path(path)
        # Read before hashing: content that is written while it is hashed gets another mark.
        mark = content_mark(path)
        with self.connection.database.session() as session:
            known = repository.find_source(session, name)
        content = checksum(path, known.checksum if known else "")
        with self.connection.database.session() as session:
            source = repository.register_source(
                session,
                name,
                checksum=content,
                content_mark=mark,
                duration=info.duration_s,
                fps=info.fps or None,
                size=path.stat().st_size,
                width=info.width,
                height=info.height,
                profile_name=profile or load_profile().name,
            )
        self.instance.add_dynamic_partitions(str(sources.name), [source.partition_key])
        return source

    def run(
        self,
        source: SourceAsset,
        *,
        profile: str = "",
        overrides: Mapping[str, Any] | None = None,
        brands_csv: Path | None = None,
        fresh: bool = False,
        first: str | None = None,
        until: str | None = None,
        from_job: UUID | None = None,
        listener: heartbeat.Listener | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunOutcome:
        """Runs a source in this process: all stages, or `first` and the stages that depend on it, up to `until`.

        An unfinished job of the same source and settings is continued unless `fresh`. Raises BadInputError if that job
        is still running, for options without effect on the selected stages, for a missing profile, and for files
        (`brands_csv`, weights in `overrides`) that cannot be registered.
        """
        selected = selection(first, until)
        with self.connection.database.session() as session:
            refuse_changed_profile(session, source, profile, selected, from_job)
        refuse_unused(selected, overrides=overrides or (), brands_csv=brands_csv, from_job=from_job)
        changes, brands = hand_over(self.connection.objects, overrides or {}, brands_csv)
        config = run_config(selected, profile=profile, overrides=changes, brands=brands, fresh=fresh, from_job=from_job)
        reconcile(self.instance, self.connection)
        continued = None if fresh or first else self._unfinished(source)
        alone = {} if fresh or first else {ALONE_TAG: "yes"}
        return self._execute(source, Request(selected, config), continued, listener, {**(tags or {}), **alone})

    def resume(
        self, job: DetectJob, *, listener: heartbeat.Listener | None = None, tags: Mapping[str, str] | None = None
    ) -> RunOutcome:
        """Continues a paused or failed job in this process, with the stages and settings of its run.

        Raises BadInputError for a job that cannot be continued, or that was continued before.
        """
        request = request_of(self.instance, self.connection, job)
        with self.connection.database.session() as session:
            source = repository.get_source(session, job.partition_key)
        return self._execute(source, request, job, listener, tags)

    def _execute(
        self,
        source: SourceAsset,
        request: Request,
        continued: DetectJob | None,
        listener: heartbeat.Listener | None,
        tags: Mapping[str, str] | None,
    ) -> RunOutcome:
        """Executes one run in this process."""
        run_id = str(uuid4())
        whole = len(request.stages) == len(NODE_NAMES) + 1
        with _listening(listener), self._interruptible(run_id, source):
            result = self._job.execute_in_process(
                run_id=run_id,
                instance=self.instance,
                partition_key=source.partition_key,
                asset_selection=None if whole else [dg.AssetKey(name) for name in request.stages],
                run_config={**request.config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={
                    PROCESS_TAG: process_tag(run_id),
                    **(tags or {}),
                    **({CONTINUES_TAG: str(continued.id)} if continued else {}),
                },
                raise_on_error=False,
            )
            self._follow(run_id)
            job = self._job_of(run_id, source)
            cancelled = job is not None and job.status is DetectJobStatus.CANCELLED
            failure = failure_in(result.all_events)
            if not result.success and not cancelled and failure.interrupted:
                # Dagster turns Ctrl-C into a failure of the step; the caller expects KeyboardInterrupt.
                raise KeyboardInterrupt
        message = failure.message or "it failed before its first step"
        if job is None:
            with self.connection.database.session() as session:
                refuse_concurrent(session, source)
            raise TouchlineError(f"{source.video_path}: run {result.run_id} ended before it had a job: {message}")
        error = f"job {job.id} was cancelled; what is finished is kept" if cancelled else message
        return RunOutcome(job, result.run_id, result.success, continued, "" if result.success else error)

    def _job_of(self, run_id: str, source: SourceAsset) -> DetectJob | None:
        with self.connection.database.session() as session:
            return repository.job_of_run(session, run_id, source.id)

    def close(self) -> None:
        """Closes the instance's connections."""
        close(self.instance)

    @contextmanager
    def _interruptible(self, run_id: str, source: SourceAsset) -> Iterator[None]:
        """Fails the job if the run is left early: by Ctrl-C between two stages, or because the database is lost."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, DagsterPostgresError) as error:
            # Dagster could not write its own tables.
            trouble = self.connection.database.service_error(error.__cause__ or error)
            self._fail_job(run_id, source, str(trouble), trouble)
            raise trouble from error
        except BaseException as error:
            self._fail_job(run_id, source, "", error)
            raise
        finally:
            finished_here.add(run_id)
            release_lease(run_id)

    def _follow(self, run_id: str) -> None:
        """Sets the job's status again after the run's end: the first attempt only logs its errors, this one raises."""
        run = self.instance.get_run_by_id(run_id)
        if run is not None:
            lifecycle.follow(self.instance, self.connection, run)

    def _fail_job(self, run_id: str, source: SourceAsset, message: str, error: BaseException) -> None:
        """Fails the job of a run that was left early; its message is "interrupted" if `message` is empty.

        If the database cannot be reached, a note is added to `error`. The next run of the source corrects the job.
        """
        try:
            with self.connection.database.session(patience_s=0) as session:
                job = repository.job_of_run(session, run_id, source.id)
        except ServiceError as unreachable:
            error.add_note(f"the job's end could not be recorded: {unreachable}")
            return
        if job is not None:
            lifecycle.fail(self.connection, job, message or lifecycle.interrupted(job.id), error)

    def _unfinished(self, source: SourceAsset) -> DetectJob | None:
        with self.connection.database.session() as session:
            # Jobs of dead processes were failed by `reconcile` before.
            refuse_concurrent(session, source)
            newest = repository.list_jobs(session, source.id, limit=1)
            return newest[0] if newest and newest[0].status not in repository.FINAL else None


@contextmanager
def _listening(listener: heartbeat.Listener | None) -> Iterator[None]:
    if listener is None:
        yield
        return
    heartbeat.listeners.append(listener)
    try:
        yield
    finally:
        heartbeat.listeners.remove(listener)
