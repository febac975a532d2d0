"""The tables: the schema to the letter, one migration that makes exactly the models, kept apart from Dagster's."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from resources.database import Database, _newest_migration
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.library.tables import (
    Base,
    BrandSource,
    DetectJob,
    DetectJobStatus,
    KnownBrand,
    RunType,
    SourceAsset,
    SourceBrandSighting,
    StageCheckpoint,
)

PROMISED = {
    DetectJob: "id source_asset_id video_path profile_name parent_job_id run_type replay_from_stage config_overrides "
    "status current_stage progress error_message total_detections brands_found cloud_llm_calls estimated_cost_usd "
    "celery_task_id priority created_at started_at completed_at",
    StageCheckpoint: "id job_id stage stage_index frames_prefix frames_manifest frames_meta filtered_frame_sequences "
    "stage_output_key stats config_snapshot config_overrides video_path profile_name is_scenario scenario_label "
    "created_at",
    KnownBrand: "id canonical_name aliases first_source total_occurrences confirmed created_at updated_at",
    SourceBrandSighting: "id source_asset_id brand_id brand_name first_seen_timestamp last_seen_timestamp occurrences "
    "detection_source avg_confidence created_at",
}
"""Fields that exist for good: added to, never dropped or renamed."""


@pytest.mark.parametrize("model", PROMISED, ids=lambda model: model.__name__)
def test_every_promised_field_exists(model: type[Base]) -> None:
    assert set(PROMISED[model].split()) <= set(model.__table__.columns.keys())


def test_enums_have_the_promised_values() -> None:
    assert [s.value for s in DetectJobStatus] == ["pending", "running", "paused", "completed", "failed", "cancelled"]
    assert [r.value for r in RunType] == ["initial", "replay", "retry"]
    assert [b.value for b in BrandSource] == ["ocr", "local_vlm", "cloud_llm", "manual"]


def test_the_migration_makes_exactly_the_models(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.engine.connect() as connection:
        known = Base.metadata.tables
        options = {"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name in known}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        tables = set(sa.inspect(connection).get_table_names())
    assert tables == {*Base.metadata.tables, "touchline_alembic_version"}


def test_many_processes_may_migrate_at_once_and_again(empty_database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: empty_database.migrate(), range(8)))
    with empty_database.session() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM touchline_alembic_version")) == 1


def test_tables_that_are_up_to_date_are_known_without_alembic(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_database.migrate()
    with empty_database.session() as session:
        found = session.scalar(sa.text("SELECT version_num FROM touchline_alembic_version"))
    assert found == _newest_migration(), "a migration's file is named by its revision, in order"
    monkeypatch.setattr("alembic.command.upgrade", lambda *_: pytest.fail("Alembic was asked"))
    empty_database.migrate()


def test_dagsters_own_version_table_is_left_alone(empty_database: Database) -> None:
    with empty_database.session() as session:
        session.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        session.execute(sa.text("INSERT INTO alembic_version VALUES ('dagsters')"))
        session.execute(sa.text("CREATE TABLE event_logs (id int)"))
    empty_database.migrate()
    with empty_database.session() as session:
        assert session.scalar(sa.text("SELECT version_num FROM alembic_version")) == "dagsters"


def test_tables_of_a_newer_touchline_are_refused(empty_database: Database) -> None:
    empty_database.migrate()
    with empty_database.session() as session:
        session.execute(sa.text("UPDATE touchline_alembic_version SET version_num = '9999'"))
    with pytest.raises(ServiceError, match="newer Touchline"):
        empty_database.migrate()


def test_alembic_on_the_command_line_does_the_same(empty_database: Database) -> None:
    root = Path(__file__).resolve().parents[2]
    url = empty_database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    for command in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=root,
            env={**os.environ, "TOUCHLINE_POSTGRES_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    with empty_database.engine.connect() as connection:
        assert set(Base.metadata.tables) <= set(sa.inspect(connection).get_table_names())


def test_times_come_back_in_utc_and_naive_ones_are_refused(database: Database) -> None:
    noon = datetime(2026, 5, 17, 12, tzinfo=timezone(timedelta(hours=2)))
    with database.session() as session:
        source = repository.register_source(session, "schema/times.mp4")
        job = repository.create_job(session, source)
        job.started_at = noon
    with database.session() as session:
        job = repository.get_job(session, job.id)
        assert job.started_at == noon
        assert job.started_at is not None
        assert job.started_at.tzinfo is UTC
        assert abs(datetime.now(UTC) - job.created_at) < timedelta(minutes=1)
    with pytest.raises(sa.exc.StatementError, match="time zone"), database.session() as session:
        repository.get_job(session, job.id).started_at = datetime(2026, 5, 17)


def test_the_database_itself_refuses_an_unknown_status(database: Database) -> None:
    with database.session() as session:
        source = repository.register_source(session, "schema/status.mp4")
        job = repository.create_job(session, source)
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.execute(sa.text("UPDATE detect_jobs SET status = 'sleeping' WHERE id = :id"), {"id": job.id})


def test_a_session_is_rolled_back_when_its_block_fails(database: Database) -> None:
    def fails() -> None:
        with database.session() as session:
            repository.register_source(session, "schema/rollback.mp4")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    with database.session() as session:
        assert repository.find_source(session, "schema/rollback.mp4") is None


def test_rows_can_be_read_after_their_session(database: Database) -> None:
    with database.session() as session:
        source = repository.register_source(session, "schema/after.mp4", duration=3.0)
        source.fps = 25.0
    assert isinstance(source, SourceAsset)
    assert (source.duration, source.fps, source.updated_at.tzinfo) == (3.0, 25.0, UTC)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    database = Database("postgresql://me:geheim@127.0.0.1:1/nothing", patience_s=0)
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1/nothing") as caught:
        database.ping()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite:///x.db"])
def test_what_is_no_postgres_url_is_refused(url: str) -> None:
    with pytest.raises(ServiceError, match="expected"):
        Database(url)


def test_the_server_tells_its_version(database: Database) -> None:
    assert int(database.ping().split(".")[0]) >= 14
