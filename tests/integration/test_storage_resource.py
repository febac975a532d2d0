"""The resource `storage`: what Dagster's UI shows of it, and that a run leads to no other server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from detection_assets.definitions import JOB, build_defs
from resources.database import Database
from resources.fields import own_fields, refuse_changed, without_secrets
from resources.local_services import Endpoints
from resources.models import Models, default_weights
from resources.settings import Settings
from resources.storage import Storage
from touchline.errors import BadInputError
from touchline.stages.detect_objects import DetectObjectsConfig

SECRET = "hunter2"
GIVEN = Settings(
    home=Path("/nowhere"),
    postgres_url=f"postgresql+psycopg2://ada:{SECRET}@db.example:5432/touchline?sslpassword={SECRET}",
    s3_endpoint="https://s3.example",
    s3_access_key_id=SECRET,
    s3_secret_access_key=SECRET,
    s3_session_token=SECRET,
)


def test_the_fields_say_where_servers_are_and_no_secret() -> None:
    own = own_fields(GIVEN)
    shown = own["storage"]
    assert shown["postgres_url"] == "postgresql+psycopg2://ada@db.example:5432/touchline"
    assert (shown["s3_endpoint"], shown["s3_bucket"], shown["patience_s"]) == ("https://s3.example", "touchline", 120.0)
    assert SECRET not in str(own)
    assert SECRET not in str(own_fields(replace(GIVEN, s3_endpoint=f"https://key:{SECRET}@s3.example")))
    assert {name: set(fields) for name, fields in own.items()} == {
        "storage": set(Storage.model_fields),
        "models": set(Models.model_fields),
    }


def test_the_definitions_show_the_servers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_S3_ENDPOINT", "https://s3.example")
    monkeypatch.setenv("TOUCHLINE_POSTGRES_URL", GIVEN.postgres_url)
    monkeypatch.setenv("TOUCHLINE_YOLO_WEIGHTS", "/models/best.pt")
    shown = dg.validate_run_config(build_defs().resolve_job_def(JOB), {})["resources"]
    assert shown["storage"]["config"] == own_fields(GIVEN)["storage"]
    assert shown["models"]["config"] == {"yolo_weights": "/models/best.pt", "yolo_sha256": ""}


@pytest.mark.parametrize(
    "url", [GIVEN.postgres_url, "postgresql://ada@db.example/touchline?password=x", "not an address"]
)
def test_an_address_with_a_secret_is_no_field(url: str) -> None:
    with pytest.raises(ValueError, match="without password and options") as refused:
        Storage(postgres_url=url)
    assert without_secrets(url) != url
    del refused


def test_fields_lead_to_another_database_and_bucket_with_the_keys_of_the_environment(
    empty_database: Database, services: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TOUCHLINE_POSTGRES_URL": services.postgres_url,
        "TOUCHLINE_S3_ENDPOINT": services.s3_endpoint,
        "TOUCHLINE_S3_ACCESS_KEY_ID": services.s3_access_key_id,
        "TOUCHLINE_S3_SECRET_ACCESS_KEY": services.s3_secret_access_key,
    }.items():
        monkeypatch.setenv(name, value)
    name = str(empty_database.engine.url.database)
    url = without_secrets(str(sa.make_url(services.postgres_url).set(database=name).render_as_string(False)))
    bucket = name.replace("_", "-")
    connection = Storage(postgres_url=url, s3_bucket=bucket).connect()
    try:
        with connection.database.session() as session:
            assert session.scalar(sa.text("SELECT current_database()")) == name
        connection.objects.put("a", b"1")
        assert (connection.objects.bucket, connection.objects.get("a")) == (bucket, b"1")
        assert Storage(postgres_url=url, s3_bucket=bucket).connect() is connection
    finally:
        connection.database.close()


def test_a_password_goes_to_no_other_server_than_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_POSTGRES_URL", GIVEN.postgres_url)
    for place, known in (("db.example:5432/other", True), ("db.example:5433/touchline", False), ("evil/x", False)):
        url = Storage(postgres_url=f"postgresql+psycopg2://ada@{place}")._settings().postgres_url
        assert (SECRET in url) is known
        assert url.partition("?")[0].endswith(place.partition("/")[2])


@pytest.mark.parametrize("job", [JOB, "library_check"])
def test_a_run_whose_config_names_other_servers_ends_before_its_first_step(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"resources": {"storage": {"config": {"s3_endpoint": "https://evil.example"}}}}
    with dg.instance_for_test() as instance:
        result = (
            build_defs()
            .resolve_job_def(job)
            .execute_in_process(
                instance=instance,
                run_config={**asked, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
                partition_key=added(instance) if job == JOB else None,
            )
        )
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_start]
    told = str([event.event_specific_data for event in result.all_events if event.is_failure])
    assert "resources.storage.config.s3_endpoint: a run cannot change it" in told
    assert "evil" not in told


def added(instance: dg.DagsterInstance) -> str:
    instance.add_dynamic_partitions("sources", ["nobody-00000000"])
    return "nobody-00000000"


def test_what_the_launchpad_fills_in_is_let_through_and_nothing_else() -> None:
    own = own_fields(replace(GIVEN, yolo_weights="/models/best.pt"))
    filled = {name: {"config": fields} for name, fields in own.items()}
    refuse_changed({"resources": {**filled, "run_settings": {"config": {"profile": "mine"}}, "checkpoints": {}}}, own)
    refuse_changed({"resources": {"storage": {"config": dict.fromkeys(own["storage"], "")}}}, own)
    refuse_changed({"resources": None}, own)
    for resource, config in (
        ("storage", {"s3_bucket": "other"}),
        ("storage", {"yolo_weights": "/models/best.pt"}),
        ("models", {"yolo_weights": "/etc/other.pt"}),
        ("io_manager", {"base_dir": "/etc"}),
    ):
        with pytest.raises(BadInputError, match=f"resources.{resource}.config.*cannot change it"):
            refuse_changed({"resources": {resource: {"config": config}}}, own)


def test_the_weights_of_a_field_count_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_YOLO_WEIGHTS", "/env.pt")
    monkeypatch.setenv("TOUCHLINE_YOLO_SHA256", "ab" * 32)
    for models, expected in ((Models(), ("/env.pt", "ab" * 32)), (Models(yolo_weights="/own.pt"), ("/own.pt", ""))):
        assert default_weights(DetectObjectsConfig(), models._settings()) == expected
