"""Embedded servers through their whole life: shared, left last, killed under the hands, taken over, never mistaken."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from resources.embedded.processes import wait_until
from resources.local_services import Endpoints, LocalServices
from resources.settings import Settings
from resources.storage import connect
from touchline.errors import ServiceError

pytestmark = pytest.mark.slow

HOLDER = """
import sys, time
from resources.local_services import LocalServices
from resources.settings import Settings
from resources.storage import connect
with LocalServices(Settings.from_environment()):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a home of this test alone, whose servers are ended whatever happens."""
    # Beside the shared home: pytest's own folders are closed to the user that Postgres runs as when we are root.
    own = Settings.from_environment({"TOUCHLINE_HOME": str(settings.home / tmp_path.name)})
    yield own
    if pids(own):
        with LocalServices(own):
            pass
    assert not pids(own)


def pids(settings: Settings) -> set[int]:
    """Processes whose command line names the home's services.

    Not the children of those: what Postgres forks bears its command line until it has taken a name of its own.
    """
    mark = str(settings.home / "services")
    found = {
        process.pid: process.info["ppid"]
        for process in psutil.process_iter(["cmdline", "ppid", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(mark in w for w in process.info["cmdline"] or ())
    }
    return {pid for pid, parent in found.items() if parent not in found}


def environment_of(settings: Settings) -> dict[str, str]:
    """This process's environment with that home, and without the servers that a runner may have named in it."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    return {**rest, "TOUCHLINE_HOME": str(settings.home)}


@contextmanager
def holder(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the home's servers until told otherwise."""
    environment = environment_of(settings)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            if process.poll() is None:
                process.communicate("\n", timeout=240)


def note(endpoints: Endpoints, value: str) -> None:
    """Writes one row and one object."""
    engine = sa.create_engine(endpoints.postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS kept (value text)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (:value)"), {"value": value})
    connect(endpoints).objects.put(f"kept/{value}", value.encode())


def noted(endpoints: Endpoints) -> tuple[list[str], list[str]]:
    """Rows and objects written so far."""
    engine = sa.create_engine(endpoints.postgres_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = list(connection.execute(sa.text("SELECT value FROM kept ORDER BY value")).scalars())
    objects = connect(endpoints).objects
    return rows, [value for value in ("a", "b", "c") if objects.exists(f"kept/{value}")]


def test_what_was_written_is_there_after_a_restart(home: Settings) -> None:
    with LocalServices(home) as endpoints:
        note(endpoints, "a")
        assert pids(home)
    assert not pids(home)
    with LocalServices(home) as endpoints:
        note(endpoints, "b")
        assert noted(endpoints) == (["a", "b"], ["a", "b"])


def test_the_last_of_several_processes_ends_the_servers(home: Settings) -> None:
    with holder(home), LocalServices(home) as endpoints:
        begun = pids(home)
        note(endpoints, "a")
    # The holder left while nobody else was here, and we before it.
    assert begun
    assert not pids(home)
    with LocalServices(home) as endpoints:
        with holder(home):
            shared = pids(home)
        assert pids(home) == shared
        assert noted(endpoints) == (["a"], ["a"])


def test_two_processes_that_start_at_once_share_one_pair_of_servers(home: Settings) -> None:
    environment = environment_of(home)
    arguments = {"env": environment, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", HOLDER], **arguments) for _ in range(2)]  # type: ignore[call-overload]
    try:
        assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
        masters = [pid for pid in pids(home) if "mini" in psutil.Process(pid).cmdline()]
        assert len(masters) == 1
    finally:
        for process in both:
            process.communicate("\n", timeout=240)


def test_servers_that_outlive_their_process_are_taken_over(home: Settings) -> None:
    with holder(home) as process:
        with LocalServices(home) as endpoints:
            note(endpoints, "a")
        begun = pids(home)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert pids(home) == begun
    with LocalServices(home) as endpoints:
        assert pids(home) >= begun
        assert noted(endpoints) == (["a"], ["a"])
    assert not pids(home)


def test_servers_that_were_killed_are_started_again_on_their_data(home: Settings) -> None:
    with LocalServices(home) as endpoints:
        note(endpoints, "a")
        # As after a power cut: no server had the time to say goodbye, and their lock files stand.
        for pid in pids(home):
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not pids(home), 60)
    with LocalServices(home) as endpoints:
        assert noted(endpoints) == (["a"], ["a"])


def test_a_port_taken_meanwhile_is_left_to_its_owner(home: Settings) -> None:
    with LocalServices(home) as endpoints:
        port = int(endpoints.s3_endpoint.rsplit(":", 1)[1])
        note(endpoints, "a")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with LocalServices(home) as endpoints:
            assert not endpoints.s3_endpoint.endswith(f":{port}")
            assert noted(endpoints) == (["a"], ["a"])


def test_a_process_that_came_to_a_remembered_pid_is_not_ours(home: Settings) -> None:
    with LocalServices(home):
        pass
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        path = home.home / "services/state.json"
        memory = json.loads(path.read_text())
        for server in memory.values():
            server["pid"] = bystander.pid
        path.write_text(json.dumps(memory))
        assert [status.running for status in LocalServices(home).status()] == [False, False]
        with LocalServices(home):
            assert [status.running for status in LocalServices(home).status()] == [True, True]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_servers_given_by_address_are_used_and_left_alone(services: Endpoints, settings: Settings) -> None:
    given = Settings.from_environment(
        {
            "TOUCHLINE_HOME": str(settings.home / "given"),
            "TOUCHLINE_POSTGRES_URL": services.postgres_url,
            "TOUCHLINE_S3_ENDPOINT": services.s3_endpoint,
            "TOUCHLINE_S3_ACCESS_KEY_ID": services.s3_access_key_id,
            "TOUCHLINE_S3_SECRET_ACCESS_KEY": services.s3_secret_access_key,
        }
    )
    with LocalServices(given) as endpoints:
        assert endpoints.postgres_url == services.postgres_url
        assert not endpoints.postgres_embedded
        assert not endpoints.s3_embedded
    assert [(status.embedded, status.running) for status in LocalServices(given).status()] == [(False, True)] * 2
    assert not (settings.home / "given").exists()


def test_secrets_are_for_the_owner_alone_and_in_no_representation(services: Endpoints, settings: Settings) -> None:
    assert (settings.home / "services/state.json").stat().st_mode & 0o077 == 0
    assert services.s3_secret_access_key not in repr(services)
    assert services.postgres_url not in repr(services)
    command_lines = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in pids(settings))
    assert services.s3_secret_access_key not in command_lines


def test_an_object_store_without_its_keys_is_refused(settings: Settings) -> None:
    given = Settings.from_environment(
        {"TOUCHLINE_HOME": str(settings.home / "keyless"), "TOUCHLINE_S3_ENDPOINT": "http://127.0.0.1:9"}
    )
    with pytest.raises(ServiceError, match="TOUCHLINE_S3_ACCESS_KEY_ID"):
        LocalServices(given).start()


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="TOUCHLINE_HOME"):
        LocalServices(Settings.from_environment({"TOUCHLINE_HOME": str(tmp_path / "file/home")})).start()
