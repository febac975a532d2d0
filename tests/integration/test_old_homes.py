"""Homes made by earlier versions: their database and bucket keep working with today's code.

Belongs here: what a user has after an update. Each home in `old_homes/` holds the jobs of one still picture and one
short clip, two replays and an interrupted job; `tests/support/make_old_home.py` says how it was made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tarfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from detection_assets.execution.registry import STAGES
from detection_assets.execution.run_stage import frame_loader, frames_of
from detection_assets.local.runner import Runner
from resources.database import migrations_folder
from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from resources.settings import Settings
from tests.conftest import drop_database
from tests.support.commands import done
from tests.support.make_old_home import ROOT
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, StageCheckpoint

pytestmark = pytest.mark.slow

HOMES = sorted((Path(__file__).parent / "old_homes").glob("*.tar.xz"))
NEWEST = "8cabcc2"
"""The home of the version whose reports are those of today, but for the words of warnings."""
OF_A_RUN = ("job_id", "stages", "video_path", "warnings")
"""Fields of a report that differ from run to run, from folder to folder, or in their words."""
STORED_IN = f"{ROOT}/matches/"


@dataclasses.dataclass
class Home:
    """A restored home and how to reach it."""

    name: str
    runner: Runner
    environment: dict[str, str]
    stored: list[DetectJob]

    def jobs(self, status: DetectJobStatus) -> list[DetectJob]:
        """The jobs of that status that were in the home when it was stored, the oldest first."""
        return [job for job in self.stored if job.status is status]

    def source(self, job: DetectJob) -> SourceAsset:
        with self.runner.connection.database.session() as session:
            return repository.get_source(session, job.partition_key)

    def rows(self, job: DetectJob) -> list[StageCheckpoint]:
        with self.runner.connection.database.session() as session:
            return list(repository.list_checkpoints(session, job_id=job.id))

    def report(self, job: DetectJob) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.runner.connection.objects.get(f"reports/{job.id}/report.json"))
        return report


@pytest.fixture(scope="module", params=HOMES, ids=lambda path: path.name.partition(".")[0])
def home(
    request: pytest.FixtureRequest,
    settings: Settings,
    services: Endpoints,
    runner: Runner,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Home]:
    """Database and bucket of an earlier version, opened by today's. The library lies in another folder than then."""
    path, name = request.param, f"old_{uuid.uuid4().hex}"
    matches = tmp_path_factory.mktemp("matches")
    admin = sa.create_engine(services.postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = sa.make_url(services.postgres_url).set(database=name).render_as_string(hide_password=False)
    own = dataclasses.replace(services, postgres_url=url, s3_bucket=name.replace("_", "-"))
    keys = own.s3_access_key_id, own.s3_secret_access_key
    objects = ObjectStore(own.s3_endpoint, own.s3_bucket, own.s3_region, *keys)
    objects.ensure_bucket()
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None, member.name
            content, (kind, _, rest) = file.read(), member.name.partition("/")
            if kind == "bucket":
                objects.put(rest, content)
            elif kind == "matches":
                (matches / rest).write_bytes(content)
            else:
                restore(url, content.decode().replace(STORED_IN, f"{matches}/"))
    environment = dict(os.environ)
    opened = Runner(settings, own)
    with opened.connection.database.session() as session:
        stored = list(repository.list_jobs(session))[::-1]
    yield Home(path.name.partition(".")[0], opened, dict(os.environ), stored)
    opened.close()
    opened.connection.database.close()
    os.environ.clear()
    os.environ.update(environment)
    drop_database(admin, name)


def restore(url: str, dump: str) -> None:
    """Runs what pg_dump wrote."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(dump)


def test_its_tables_are_brought_up_to_date(home: Home) -> None:
    with home.runner.connection.database.session() as session:
        version = session.scalar(sa.text("SELECT version_num FROM touchline_alembic_version"))
    assert version == ScriptDirectory(str(migrations_folder())).get_current_head()
    assert len(home.jobs(DetectJobStatus.COMPLETED)) == 4
    assert len(home.jobs(DetectJobStatus.FAILED)) == 1


def test_every_document_and_frame_of_every_job_can_be_read(home: Home) -> None:
    connection = home.runner.connection
    read = dict.fromkeys(STAGES, 0)
    for job in home.stored:
        for row in home.rows(job):
            module = STAGES[row.stage].module
            documents = [module.deserialize(document) for document in connection.checkpoints.read(row)]
            assert len(documents) == row.item_count, row.stage_output_key
            # What today's code writes of it is read as the same.
            assert [module.deserialize(module.serialize(document)) for document in documents] == documents
            read[row.stage] += len(documents)
            if row.stage == "extract_frames":
                frames = tuple(frames_of(connection, row))
                load = frame_loader(connection, partial(tuple, frames))
                for frame in frames:
                    assert np.asarray(load(frame.sequence)).shape == (360, 640, 3)
    assert all(read.values()), read


def test_the_report_made_anew_of_old_checkpoints_is_the_old_report(home: Home) -> None:
    for job in home.jobs(DetectJobStatus.COMPLETED):
        before = home.report(job)
        changes = {
            f"brand_report.{name}": value for name, value in job.config_overrides.get("brand_report", {}).items()
        }
        outcome = home.runner.run(home.source(job), first="brand_report", from_job=job.id, overrides=changes)
        assert outcome.succeeded, outcome.error
        after = home.report(outcome.job)
        assert found(after) == found(before)
        if home.name == NEWEST:
            assert comparable(after) == comparable(before)


@pytest.mark.parametrize("stage", ["filter_scenes", "match_brands"])
def test_a_replay_of_an_old_job_finds_what_the_job_found(home: Home, stage: str) -> None:
    first = next(job for job in home.jobs(DetectJobStatus.COMPLETED) if job.video_path.endswith(".mp4"))
    outcome = home.runner.run(home.source(first), first=stage, from_job=first.id)
    assert outcome.succeeded, outcome.error
    assert {row.stage for row in home.rows(outcome.job)} >= {"match_brands", "escalate_vlm", "escalate_cloud"}
    assert found(home.report(outcome.job)) == found(home.report(first))


def test_the_interrupted_job_is_resumed_with_its_settings(home: Home) -> None:
    [job] = home.jobs(DetectJobStatus.FAILED)
    outcome = home.runner.resume(job)
    assert outcome.succeeded, outcome.error
    assert (outcome.job.run_type, outcome.job.parent_job_id) == ("retry", parent(home, job))
    # Fields may have got other names since; their values stay.
    assert values(outcome.job) == values(job)
    assert {brand["name"] for brand in home.report(outcome.job)["brands"]} == {"Northgate", "Qatar Airways"}


def test_nothing_of_it_is_damaged_then(home: Home) -> None:
    told = json.loads(done("doctor", "--verify", "--frames", "--json", environment=home.environment).stdout)
    assert (told["ok"], told["faults"]) == (True, [])
    assert told["checkpoints"] > 20


def parent(home: Home, job: DetectJob) -> uuid.UUID:
    """The first job of the line that a job is in."""
    return job.parent_job_id or job.id


def values(job: DetectJob) -> dict[str, list[Any]]:
    """Stage by stage what was set, without the names of the fields."""
    return {stage: sorted(fields.values(), key=repr) for stage, fields in job.config_overrides.items()}


def found(report: dict[str, Any]) -> list[tuple[str, float, Any]]:
    """The brands of a report with their seconds and intervals."""
    return [(brand["name"], brand["seconds"], brand["intervals"]) for brand in report["brands"]]


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs from run to run."""
    return {name: value for name, value in report.items() if name not in OF_A_RUN}
