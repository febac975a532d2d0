"""What tests share: real servers, started once for the whole run, and clients of them.

Belongs here: fixtures that more than one test file uses. Sources are named anew in each test, so that tests do not
see each other's rows.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints, LocalServices
from resources.object_store import ObjectStore
from resources.settings import Settings


@pytest.fixture(scope="session")
def services() -> Iterator[Endpoints]:
    """An embedded Postgres and object store of this test run alone."""
    # Not under pytest's own folder: that is closed to the user that Postgres runs as when we are root.
    home = Path(tempfile.mkdtemp(prefix="touchline-tests-"))
    home.chmod(0o755)
    services = LocalServices(Settings(home=home))
    try:
        yield services.start()
    finally:
        services.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def empty_database(services: Endpoints) -> Iterator[Database]:
    """A database of its own for one test, without any table."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(services.postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    database = Database(sa.make_url(services.postgres_url).set(database=name).render_as_string(hide_password=False))
    yield database
    database.close()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def database(services: Endpoints) -> Iterator[Database]:
    """Touchline's tables, shared by all tests of the run."""
    database = Database(services.postgres_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture(scope="session")
def objects(services: Endpoints) -> ObjectStore:
    """The run's bucket."""
    store = ObjectStore(
        services.s3_endpoint,
        services.s3_bucket,
        services.s3_region,
        services.s3_access_key_id,
        services.s3_secret_access_key,
    )
    store.ensure_bucket()
    return store


@pytest.fixture(scope="session")
def checkpoints(objects: ObjectStore, database: Database) -> CheckpointStore:
    """Checkpoints in that bucket and those tables."""
    return CheckpointStore(objects, database)
