"""A home of one's own: who may enter it and its Postgres, what a killed first start leaves, servers that died in use.

Belongs here: doors and deaths of the embedded servers. Their ordinary life is in `test_local_services.py`.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import psutil
import psycopg2
import pytest
import sqlalchemy as sa

from resources import retry, storage
from resources.database import Database
from resources.embedded import postgres_server, processes
from resources.embedded.home_folder import State, make_home
from resources.embedded.postgres_server import PostgresServer
from resources.embedded.postgres_setup import Setup
from resources.local_services import Endpoints, LocalServices
from resources.object_store import ObjectStore
from resources.settings import Settings
from tests.integration.test_local_services import environment_of, pids
from touchline.errors import ServiceError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(settings: Settings) -> Settings:
    """A home of this file, with the rights that the product's role really has."""
    return Settings.from_environment({"TOUCHLINE_HOME": str(settings.home / "own"), "TOUCHLINE_PATIENCE_S": "60"})


@pytest.fixture(scope="module")
def held(home: Settings) -> Iterator[tuple[LocalServices, Endpoints]]:
    """Its servers, held as `touchline serve` does."""
    begun = subprocess.run([sys.executable, "-c", START], env=environment_of(home), check=False)
    assert begun.returncode == 0
    services = LocalServices(home)
    yield services, services.start()
    services.stop()
    assert not pids(home)


START = """
from resources.local_services import LocalServices
from resources.settings import Settings
with LocalServices(Settings.from_environment()):
    pass
"""
KILLED = (
    """
import os, signal, sys
from resources.embedded import home_folder, postgres_setup, processes
def point(name):
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
def dying(work, named):
    def wrapped(*arguments, **options):
        name = named(*arguments)
        point("before " + name)
        result = work(*arguments, **options)
        point("after " + name)
        return result
    return wrapped
# A step is whatever writes to the home, or starts a program on it.
home_folder.write_for_owner = dying(home_folder.write_for_owner, lambda path, text: "write")
processes.spawn = dying(processes.spawn, lambda command, *_: os.path.basename(command[0]))
postgres_setup.Setup._run = dying(postgres_setup.Setup._run, lambda _, program, *__: "setup by " + program)
"""
    + START
)
STEPS = ("write", "setup by initdb", "setup by postgres", "postgres", "weed")


def test_the_role_that_the_product_uses_can_do_nothing_beyond_its_database(
    held: tuple[LocalServices, Endpoints],
) -> None:
    engine = sa.create_engine(held[1].postgres_url, poolclass=sa.NullPool)
    refused = (
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY (SELECT 1) TO '/tmp/touchline-was-here'",
        "CREATE ROLE other SUPERUSER",
        "CREATE DATABASE other",
        "ALTER ROLE touchline SUPERUSER",
        "SET ROLE touchline_admin",
        "ALTER SYSTEM SET listen_addresses = '*'",
        "SELECT rolpassword FROM pg_authid",
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        rights = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls FROM pg_roles WHERE rolname = "
        assert connection.scalar(sa.text(rights + "'touchline'")) is False
        assert (
            connection.scalar(sa.text("SELECT count(*) FROM pg_auth_members WHERE member = 'touchline'::regrole")) == 0
        )
        for statement in refused:
            with pytest.raises(sa.exc.DBAPIError, match=r"permission denied|must be|superuser"):
                connection.execute(sa.text(statement))
    for other in ("dbname=postgres", "user=touchline_admin", "user=postgres", "password=wrong"):
        name, _, value = other.partition("=")
        url = sa.make_url(held[1].postgres_url)
        words = url.translate_connect_args(username="user", database="dbname") | dict(url.query) | {name: value}
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(**words)


def test_postgres_listens_on_no_port_and_its_socket_is_closed_to_others(
    home: Settings, held: tuple[LocalServices, Endpoints]
) -> None:
    pid = State(home.home / "services").of("postgres")["pid"]
    assert not [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    folder = Path(str(sa.make_url(held[1].postgres_url).query["host"]))
    assert folder == home.home / "services/socket"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("old", ["open", "new"])
def test_the_home_is_closed_to_others_whatever_the_umask_was(
    home: Settings, held: tuple[LocalServices, Endpoints], old: str
) -> None:
    services = home.home / "services"
    if old == "open":
        for path in (home.home, services, services / "objects", services / "postgres.log", services / "lease"):
            path.chmod(0o777)
        with LocalServices(home):
            pass
    # As root, those of the group of Postgres's user may pass through, and no others.
    passed = 0o710 if os.geteuid() == 0 else 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.home, services)} == {passed}
    for path in services.iterdir():
        assert not path.stat().st_mode & 0o077 or path.name.startswith("postgres-"), path


@pytest.mark.parametrize("server", ["postgres", "objects"])
def test_a_server_that_was_killed_is_brought_back_and_its_clients_go_on(
    home: Settings, held: tuple[LocalServices, Endpoints], server: str
) -> None:
    services, endpoints = held
    assert services.revive() == ()
    database = Database(endpoints.postgres_url, patience_s=240)
    database.ping()
    objects = ObjectStore(
        endpoints.s3_endpoint, "touchline", "us-east-1", endpoints.s3_access_key_id, endpoints.s3_secret_access_key
    )
    objects.put("kept", b"before")
    pid = State(home.home / "services").of(server)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.ended(pid), 60)
    done: list[object] = []
    work = (lambda: database.ping()) if server == "postgres" else (lambda: objects.get("kept"))
    client = threading.Thread(target=lambda: done.append(work()))
    client.start()
    assert services.revive() == (server,)
    client.join(240)
    assert done and services.start() == endpoints
    assert objects.get("kept") == b"before"
    database.close()


def test_a_living_server_that_does_not_answer_is_waited_for_and_left_alone(
    home: Settings, held: tuple[LocalServices, Endpoints]
) -> None:
    pid = State(home.home / "services").of("postgres")["pid"]
    hasty = Settings.from_environment({"TOUCHLINE_HOME": str(home.home), "TOUCHLINE_PATIENCE_S": "0"})
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ServiceError, match=rf"postgres \(process {pid}\) runs and does not answer"):
            LocalServices(hasty).start()
        assert [(s.running, s.answers) for s in LocalServices(home).status()] == [(True, False), (True, True)]
        assert held[0].revive() == ()
        threading.Timer(0.5, lambda: os.kill(pid, signal.SIGCONT)).start()
        with LocalServices(home) as endpoints:
            assert endpoints == held[1]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert State(home.home / "services").of("postgres")["pid"] == pid


def test_connecting_again_and_again_opens_no_more_files(
    home: Settings, held: tuple[LocalServices, Endpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHLINE_HOME", str(home.home))
    storage.Storage().connect()
    gc.collect()
    before = psutil.Process().num_fds()
    for _ in range(10):
        storage.Storage().connect()
    try:
        # One file for each connection would be ten. Other threads of the process open and close a few of their own.
        assert psutil.Process().num_fds() < before + 10
    finally:
        storage._services(Settings.from_environment()).stop()


def test_a_first_start_that_is_killed_at_any_step_is_done_again(settings: Settings, tmp_path: Path) -> None:
    own = Settings.from_environment({"TOUCHLINE_HOME": str(settings.home / tmp_path.name)})
    passwords = set()
    for point in (*(f"{moment} {step}" for step in STEPS for moment in ("before", "after")), "the end"):
        command = [sys.executable, "-c", KILLED, point]
        done = subprocess.run(command, env=environment_of(own), capture_output=True, text=True, check=False)
        assert done.returncode == (0 if point == "the end" else -signal.SIGKILL), (point, done.stderr)
        passwords.add(State(own.home / "services").of("postgres").get("password"))
    assert len(passwords - {None}) == 1
    assert not pids(own)


def test_a_home_beyond_the_length_of_a_socket_has_it_elsewhere_and_leaves_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    own = settings.home / "a name, with odd letters 100% + é" / ("long" * 20)
    with LocalServices(Settings.from_environment({"TOUCHLINE_HOME": str(own)}), only=["postgres"]) as endpoints:
        Database(endpoints.postgres_url, patience_s=0).migrate()
        folder = Path(str(sa.make_url(endpoints.postgres_url).query["host"]))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert own not in folder.parents
    assert not folder.exists()


def test_a_home_of_an_older_version_gets_the_new_roles_and_keeps_what_it_has(
    settings: Settings, tmp_path: Path
) -> None:
    services = settings.home / tmp_path.name / "services"
    make_home(services.parent)
    server = PostgresServer(services, {})
    user = postgres_server.unprivileged()
    setup = Setup(server.data, server._binaries(user), user)
    server.data.mkdir(mode=0o700)
    if user:
        os.chown(server.data, user.pw_uid, user.pw_gid)
    # As it was: the clients' role is the superuser of initdb, and owns everything.
    setup._run("initdb", "-D", str(server.data), "-U", "touchline", "--auth=trust", "--locale=C", "--no-sync")
    assert not setup._ask("postgres", "CREATE DATABASE touchline")
    assert not setup._ask(
        "touchline",
        "CREATE TYPE kind AS ENUM ('a')",
        "CREATE TABLE kept (id serial PRIMARY KEY, kind kind)",
        "INSERT INTO kept (kind) VALUES ('a')",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    State(services, writes=True).of("postgres")["password"] = "remembered"
    own = Settings.from_environment({"TOUCHLINE_HOME": str(services.parent)})
    with LocalServices(own, only=["postgres"]) as endpoints:
        assert ":remembered@" in endpoints.postgres_url
        engine = sa.create_engine(endpoints.postgres_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in (
                "INSERT INTO kept (kind) VALUES ('a')",
                "ALTER TABLE kept ADD COLUMN more int",
                "ALTER TYPE kind ADD VALUE 'b'",
                "DROP FUNCTION one()",
                "CREATE TABLE another (id int)",
            ):
                connection.execute(sa.text(statement))
            assert connection.scalar(sa.text("SELECT count(*) FROM kept")) == 2
            mine = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            assert connection.scalar(sa.text(mine)) is False
            left = "SELECT count(*) FROM pg_class WHERE relowner = 10 AND relnamespace = 'public'::regnamespace"
            assert connection.scalar(sa.text(left)) == 0


@pytest.mark.parametrize("server", ["Postgres", "object store"])
def test_a_server_that_is_away_when_work_starts_is_waited_for(server: str) -> None:
    # Bound and not listened on: who connects is refused, and nobody else can take it.
    away = socket.socket()
    away.bind(("127.0.0.1", 0))
    port = away.getsockname()[1]
    begun = time.monotonic()
    if server == "Postgres":
        ask = Database(f"postgresql://x:y@127.0.0.1:{port}/z", patience_s=2).migrate
    else:
        address = f"http://127.0.0.1:{port}"
        ask = ObjectStore(address, "touchline", "us-east-1", "key", "secret", retry_s=2).ensure_bucket
    with away, pytest.raises(ServiceError, match=f"(?i){server} at .*{port}.* failed"):
        ask()
    # The random pauses end before the patience would be passed.
    assert 1.0 < time.monotonic() - begun < 120


def test_a_wait_is_told_once_with_its_reason(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "NOTICE_S", 0.0)
    left = [OSError("it is away")] * 3

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert retry.call_with_retry(work, lambda _: True, deadline_s=60, name="the store") == "done"
    assert [record.message for record in caplog.records if record.name == retry.log.name] == [
        "waiting for the store, up to 60 s: it is away"
    ]
    with pytest.raises(OSError, match="refused"):
        retry.call_with_retry(Mock(side_effect=OSError("refused")), lambda _: False, deadline_s=60, name="the store")
