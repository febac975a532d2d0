"""The user's shell: none of it reaches the embedded servers, and of one's own servers what the docs name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resources.local_services import Endpoints, export
from resources.settings import Settings
from resources.shell import isolate_environment
from tests.support.hostile_shell import OBJECT_STORE, POSTGRES, PROXIES, variables
from tests.support.upload_library import picture

LIMITED = """
import os, resource, sys
os.umask(0o077)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command with a closed umask and few files."""
USE = """
from resources.local_services import LocalServices
from resources.settings import Settings
from resources.storage import connect
with LocalServices(Settings.from_environment()) as endpoints:
    connection = connect(endpoints)
    connection.objects.put("tests/shell", b"here")
    assert connection.objects.get("tests/shell") == b"here"
    assert list(connection.objects.stored_with_any_name("tests/"))
    connection.database.ping()
"""


def plain_environment() -> dict[str, str]:
    """What the tests were started with, but for everything of Touchline, Dagster and the hostile shell."""
    odd = {*OBJECT_STORE, *POSTGRES, *PROXIES}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOUCHLINE_", "DAGSTER_")) and name not in odd
    }


def python(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_a_command_in_the_worst_of_shells_starts_the_servers_and_works(settings: Settings, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    still.write_bytes(picture())
    home = settings.home / tmp_path.name / "deep"
    environment = {**plain_environment(), **variables(tmp_path / "user"), "TOUCHLINE_HOME": str(home)}
    command = [sys.executable, "-m", "touchline_cli", "run", str(still), "--until", "extract_frames", "--json"]
    done = python("-c", LIMITED, *command, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    data = home / "services"
    assert (data / "postgres").stat().st_mode & 0o077 == 0
    assert (data / "objects").stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OBJECT_STORE, POSTGRES, PROXIES], ids=["object store", "libpq", "proxies"])
def test_none_of_a_kind_of_variables_reaches_servers_that_run_already(
    services: Endpoints, settings: Settings, kind: dict[str, str]
) -> None:
    done = python("-c", USE, environment={**plain_environment(), **kind, "TOUCHLINE_HOME": str(settings.home)})
    assert done.returncode == 0, done.stderr


def test_what_steers_clients_is_taken_out_and_the_rest_stays() -> None:
    env = {**OBJECT_STORE, **POSTGRES, **PROXIES, "PATH": "/bin", "HTTPS_PROXY": "http://proxy.example"}
    isolate_environment(env)
    assert not [name for name in env if name.startswith("PG")]
    left = {name for name in env if name.startswith("AWS_")}
    assert left == {"AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
    assert env["HTTPS_PROXY"] == "http://proxy.example"
    for name in ("no_proxy", "NO_PROXY"):
        assert env[name] == "example.org,example.com,127.0.0.1,localhost,::1"
    assert env["no_grpc_proxy"] == "example.net,127.0.0.1,localhost,::1"
    once = dict(env)
    isolate_environment(env)
    assert env == once


def test_a_database_of_ones_own_keeps_what_its_url_leaves_open_to_libpq() -> None:
    env = {"TOUCHLINE_POSTGRES_URL": "postgresql://db.example/touchline", "PGPASSFILE": "/run/secrets/pgpass"}
    isolate_environment(env)
    assert env["PGPASSFILE"] == "/run/secrets/pgpass"


def test_the_keys_of_the_shell_stand_in_together_and_only_where_touchline_has_none() -> None:
    aws = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
    given = {"TOUCHLINE_S3_ENDPOINT": "https://s3.example", **aws}
    for _ in range(2):
        found = Settings.from_environment(given)
        assert (found.s3_access_key_id, found.s3_secret_access_key, found.s3_session_token) == ("id", "secret", "token")
        # Read again after the variables were taken away.
        isolate_environment(given)
    own = {"TOUCHLINE_S3_ACCESS_KEY_ID": "own", "TOUCHLINE_S3_SECRET_ACCESS_KEY": "mine"}
    found = Settings.from_environment({**aws, **own})
    assert (found.s3_access_key_id, found.s3_secret_access_key, found.s3_session_token) == ("own", "mine", "")


@contextmanager
def listening() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A store that takes everything and notes what was sent: the path, and the headers in lower case."""
    seen: list[tuple[str, dict[str, str]]] = []

    class Store(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.send_header("ETag", '"etag"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PUT = """
from resources.local_services import LocalServices
from resources.object_store import ObjectStore
from resources.settings import Settings
given = LocalServices(Settings.from_environment()).start()
keys = given.s3_access_key_id, given.s3_secret_access_key
token = given.s3_session_token
ObjectStore(given.s3_endpoint, "b", given.s3_region, *keys, session_token=token, retry_s=60).put("k", b"x")
"""


def test_frames_go_to_the_store_that_was_given_with_the_keys_that_belong_to_it(settings: Settings) -> None:
    with listening() as (endpoint, seen), listening() as (elsewhere, astray):
        environment = {
            **plain_environment(),
            "TOUCHLINE_HOME": str(settings.home / "unused"),
            "TOUCHLINE_POSTGRES_URL": "postgresql://127.0.0.1:9/none",
            "TOUCHLINE_S3_ENDPOINT": endpoint,
            **dict.fromkeys(("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "http_proxy"), elsewhere),
        }
        keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
        own = {"TOUCHLINE_S3_ACCESS_KEY_ID": "own", "TOUCHLINE_S3_SECRET_ACCESS_KEY": "mine"}
        for more in (keys, {**keys, **own}):
            done = python("-c", PUT, environment={**environment, **more})
            assert done.returncode == 0, done.stderr
    assert astray == []
    assert [path for path, _ in seen] == ["/b/k", "/b/k"]
    assert [headers.get("x-amz-security-token") for _, headers in seen] == ["token", None]
    assert "Credential=id/" in seen[0][1]["authorization"]
    assert "Credential=own/" in seen[1][1]["authorization"]


def test_child_processes_are_told_of_the_servers_with_their_token() -> None:
    given = Endpoints("url", "http://s3", "b", "r", "id", "secret", False, False, s3_session_token="token")
    assert Settings.from_environment(export(given)).s3_session_token == "token"
