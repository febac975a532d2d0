"""A database of the version before leases: its rows keep, and its lost uploads are found."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from resources.database import Database, migrations_folder
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, SourceAsset, Upload

UPLOAD = sa.text(
    "INSERT INTO uploads (location, key, version, etag, size, modified, first_seen, last_seen, state, reason, "
    "checksum, partition_key, run_key) "
    "VALUES ('/u/', :key, 1, 'e', 1, now(), now(), now(), :state, '', 'c', :key, :key || '/1/e')"
)


def test_old_jobs_keep_their_status_and_uploads_without_a_job_are_followed(empty_database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with empty_database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        sources, jobs = (
            sa.Table(name, sa.MetaData(), autoload_with=connection) for name in ("source_assets", "detect_jobs")
        )
    with empty_database.session() as session:
        source = SourceAsset(
            id=uuid.uuid4(), partition_key="told", video_path="/u/told.mp4", profile_name="soccer_broadcast"
        )
        key = source.partition_key
        known = [column.name for column in sources.columns if not column.name.endswith("ed_at")]
        values: dict[str, Any] = {"checksum": "c", "state": "accepted", "rejection_reason": ""}
        row: dict[str, Any] = {name: getattr(source, name) for name in known}
        session.execute(sa.insert(sources).values(row | values))
        for number, status in enumerate(DetectJobStatus):
            # Whatever an older version left there, a job that failed and says that it is completed too.
            job = DetectJob(
                source_asset_id=source.id,
                video_path=source.video_path,
                profile_name=source.profile_name,
                partition_key=key,
                dagster_run_id=f"run-{number}",
                status=status,
                error_message="the lights went out",
            )
            known = [column.name for column in jobs.columns if not column.name.endswith("ed_at")]
            fields = {name: getattr(job, name, None) for name in known}
            session.execute(sa.insert(jobs).values({**fields, "id": uuid.uuid4()}))
        for name, state in ((key, "started"), ("lost", "started"), ("waits", "requested"), ("odd", "refused")):
            session.execute(UPLOAD, {"key": name, "state": state})
    for _ in range(2):
        empty_database.migrate()
    with empty_database.session() as session:
        assert {job.status for job in repository.list_jobs(session)} == set(DetectJobStatus)
        rows = {row.key: row for row in session.scalars(sa.select(Upload))}
        assert {name: (row.state, row.tries) for name, row in rows.items()} == {
            key: ("started", 1),
            "lost": ("started", 1),
            "waits": ("requested", 1),
            "odd": ("refused", 0),
        }
        assert [row.key for row in repository.running_uploads(session, limit=9)] == ["lost"]
        assert repository.claim_lease(session, str(uuid.uuid4()), "h", host="a", process={}, version="")
    with empty_database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    empty_database.migrate()
