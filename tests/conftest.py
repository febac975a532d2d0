"""What tests share: real servers, started once for the whole run, and everything opened on them.

Belongs here: fixtures that more than one test file uses. Sources are named anew in each test, so that tests do not
see each other's rows.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from detection_assets.jobs import heartbeat
from detection_assets.local.runner import Runner
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.embedded import postgres_setup
from resources.local_services import Endpoints, LocalServices
from resources.object_store import ObjectStore
from resources.settings import Settings
from resources.storage import Connection, connect
from tests.support.webserver import ASSETS, Ask, serving
from touchline.library.tables import SourceAsset
from touchline.synthetic import CLIP, Truth, render

# How long a machine takes, busy as it may be, is no property of the code. Examples are drawn from the tests' own text:
# the same code passes or fails alike everywhere. `--hypothesis-profile=search` draws others.
SEARCH = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("search", SEARCH)
hypothesis.settings.register_profile("any machine", SEARCH, derandomize=True)
hypothesis.settings.load_profile("any machine")
# A suite begun in the background by a shell ignores Ctrl-C, and so would the commands that it starts to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What tests listen to in this process are finished chunks, which are the same on machines fast and slow.
heartbeat.ANNOUNCE_S = math.inf

LONG = ("test_session", "test_faults", "test_control_commands", "test_cli", "test_hangs", "test_side_by_side")
"""Files that take minutes, the longest first."""
FOOTAGE = Path(__file__).resolve().parent.parent.parent / "shared" / "footage"


@pytest.fixture(scope="session", autouse=True)
def settings() -> Iterator[Settings]:
    """Settings of a home that lasts as long as the tests; nothing of the caller's environment shines through."""
    for name in [name for name in os.environ if name.startswith(("TOUCHLINE_", "DAGSTER_", "AWS_"))]:
        del os.environ[name]
    # Not under pytest's own folder: that is closed to the user that Postgres runs as when we are root.
    home = Path(tempfile.mkdtemp(prefix="touchline-tests-"))
    home.chmod(0o755)
    os.environ["TOUCHLINE_HOME"] = str(home)
    # Tests make databases of their own beside the product's.
    postgres_setup.RIGHTS = postgres_setup.RIGHTS.replace("NOCREATEDB", "CREATEDB")  # type: ignore[misc]
    yield Settings.from_environment()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def services(settings: Settings) -> Iterator[Endpoints]:
    """An embedded Postgres and object store of this test run alone."""
    with LocalServices(settings) as endpoints:
        yield endpoints


def drop_database(admin: sa.Engine, name: str) -> None:
    """Drops a database with the sessions that tests left in it.

    Not WITH (FORCE): it wants to end the superuser's autovacuum too, which no other role may. A plain DROP does so.
    """
    left = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user"
    with admin.connect() as connection:
        connection.execute(sa.text(left), {"name": name})
        connection.execute(sa.text(f"DROP DATABASE {name}"))


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
    drop_database(admin, name)


@pytest.fixture(scope="session")
def connection(services: Endpoints) -> Iterator[Connection]:
    """Clients of both servers, tables and bucket made."""
    opened = connect(services)
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def database(connection: Connection) -> Database:
    """Touchline's tables, shared by all tests of the run."""
    return connection.database


@pytest.fixture(scope="session")
def objects(connection: Connection) -> ObjectStore:
    """The run's bucket."""
    return connection.objects


@pytest.fixture(scope="session")
def checkpoints(connection: Connection) -> CheckpointStore:
    """Checkpoints in that bucket and those tables."""
    return connection.checkpoints


@pytest.fixture(scope="session")
def runner(settings: Settings, services: Endpoints, connection: Connection) -> Iterator[Runner]:
    """Dagster on its persistent instance, in this process."""
    opened = Runner(settings, services)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def secluded(settings: Settings, services: Endpoints, runner: Runner) -> Iterator[Runner]:
    """Dagster, tables and a bucket that no other test file puts anything into."""
    name = f"secluded_{uuid.uuid4().hex}"
    admin = sa.create_engine(services.postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = sa.make_url(services.postgres_url).set(database=name).render_as_string(hide_password=False)
    environment = dict(os.environ)
    own = dataclasses.replace(services, postgres_url=url, s3_bucket=name.replace("_", "-"))
    opened = Runner(settings, own)
    yield opened
    opened.close()
    opened.connection.database.close()
    os.environ.clear()
    os.environ.update(environment)
    drop_database(admin, name)


@pytest.fixture(scope="module")
def ask(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """GraphQL on a webserver with its daemon, up as long as the tests of one file."""
    with serving(tmp_path_factory.mktemp("serve")) as graphql:
        yield graphql


@pytest.fixture(scope="module")
def selector(ask: Ask) -> dict[str, str]:
    """The code location and repository, as GraphQL wants them named."""
    [node] = ask(ASSETS, {})["repositoriesOrError"]["nodes"]
    return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A six-second synthetic broadcast and what it shows."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, render(path, CLIP)


@pytest.fixture
def own_video(clip: tuple[Path, Truth], tmp_path: Path) -> Path:
    """The synthetic broadcast under a name that no other test has."""
    path = tmp_path / f"{uuid.uuid4().hex}.mp4"
    shutil.copyfile(clip[0], path)
    return path


@pytest.fixture
def own_source(runner: Runner, own_video: Path) -> SourceAsset:
    """That broadcast, registered."""
    return runner.register(own_video)


@pytest.fixture(scope="session")
def footage() -> Path:
    """Real broadcast clips, where they are."""
    if not FOOTAGE.is_dir():
        pytest.skip(f"no real footage at {FOOTAGE}: it is not part of the project")
    return FOOTAGE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes first, so that no process is left alone with one at the end; the others as they are."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests marked `tells` printed: counts and rows that a reader of the log wants to see though they passed."""
    told = [report for report in terminalreporter.getreports("passed") if "tells" in report.keywords]
    if told:
        terminalreporter.section("told by tests")
    for report in told:
        terminalreporter.write_line(f"{report.nodeid}\n{report.capstdout.strip()}")
