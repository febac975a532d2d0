"""A database of the version before leases: its rows keep, and its lost uploads are found."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from resources.database import Database, migrations_folder
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, Upload

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
        jobs = sa.Table("detect_jobs", sa.MetaData(), autoload_with=connection)
    with empty_database.session() as session:
        source = repository.register_source(session, "/u/told.mp4", checksum="c")
        key = source.partition_key
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
            values = {name: getattr(job, name, None) for name in known}
            session.execute(sa.insert(jobs).values({**values, "id": uuid.uuid4()}))
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
        assert [row.key for row in repository.followed_uploads(session, limit=9)] == ["lost"]
        assert repository.claim_lease(session, str(uuid.uuid4()), "h", host="a", process={}, version="")
    with empty_database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    empty_database.migrate()
