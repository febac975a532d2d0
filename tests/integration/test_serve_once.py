"""One `touchline serve` a home: a second is refused and changes nothing, and what a killed one left is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from resources.embedded.processes import end_groups
from resources.settings import Settings
from tests.support.webserver import ADD, ANSWER_S, Ask, bearer
from touchline.errors import BadInputError
from touchline_cli.serving import FILE, hold_home, is_served, leader, listen
from touchline_cli.webserver import FILE as ADDRESS
from touchline_cli.webserver import announced, authorization, find
from webapp.token import token_of

PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_home_is_held_by_one_and_others_are_told_where_and_by_whom(tmp_path: Path) -> None:
    assert not is_served(tmp_path)
    with hold_home(tmp_path) as place:
        assert is_served(tmp_path)
        with pytest.raises(BadInputError, match=f"by process {os.getpid()}, which is starting"), hold_home(tmp_path):
            pass
        place.url("http://127.0.0.1:3123")
        told = f"already served at http://127.0.0.1:3123 by process {os.getpid()}"
        with pytest.raises(BadInputError, match=told), hold_home(tmp_path):
            pass
        with hold_home(tmp_path / "another"):
            assert is_served(tmp_path)
    assert not is_served(tmp_path)
    with hold_home(tmp_path):
        pass


def test_an_address_left_behind_counts_for_nothing_though_something_answers_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / ADDRESS).write_text(json.dumps({"url": f"http://127.0.0.1:{taken.getsockname()[1]}", "pid": 1}))
        assert find(tmp_path, None) is None
        with hold_home(tmp_path), announced(tmp_path, "127.0.0.1", 3000) as url:
            assert json.loads((tmp_path / ADDRESS).read_text("utf-8")) == {"url": url, "pid": os.getpid()}


def test_the_homes_token_is_sent_to_its_own_server_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))
    token = token_of(Settings.from_environment())
    with hold_home(tmp_path), announced(tmp_path, "127.0.0.1", 3000) as url:
        assert authorization(url) == authorization(url + "/") == {"Authorization": f"Bearer {token}"}
        assert authorization("http://127.0.0.1:3001") == authorization("http://evil.example:3000") == {}
        monkeypatch.setenv("TOUCHLINE_TOKEN", "that-of-another-home")
        assert authorization("http://other.example") == {"Authorization": "Bearer that-of-another-home"}
        monkeypatch.delenv("TOUCHLINE_TOKEN")
    # What answers at the address of one that was killed may be anybody's.
    assert authorization("http://127.0.0.1:3000") == {}


def test_what_a_killed_one_left_running_is_ended_and_nothing_else(tmp_path: Path) -> None:
    left, other = (subprocess.Popen(SLEEPER, start_new_session=True) for _ in range(2))
    try:
        parts = [
            {"pid": left.pid, "created": psutil.Process(left.pid).create_time()},
            # Its number was given to another program since.
            {"pid": other.pid, "created": psutil.Process(other.pid).create_time() - 100},
            {"pid": 2**22 + 1, "created": 0.0},
            {"pid": "?"},
        ]
        (tmp_path / FILE).write_text(json.dumps({"pid": other.pid, "url": "http://127.0.0.1:1", "parts": parts}))
        with hold_home(tmp_path):
            left.wait(120)
            assert not psutil.pid_exists(left.pid)
            assert other.poll() is None
        for broken in ("{", "[]", "7"):
            (tmp_path / FILE).write_text(broken)
            with hold_home(tmp_path):
                pass
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_what_a_dead_part_had_started_is_ended_as_well(tmp_path: Path) -> None:
    part = subprocess.Popen([sys.executable, "-c", LEADER, "import time; time.sleep(600)"], **PIPES)
    assert part.stdout is not None
    started = psutil.Process(int(part.stdout.readline()))
    noted = leader(part.pid)
    part.kill()
    part.wait()
    (tmp_path / FILE).write_text(json.dumps({"parts": [noted, {"pid": os.getpid(), "id": noted["id"]}]}))
    with hold_home(tmp_path):
        started.wait(120)
    part.communicate()


def test_a_port_that_is_taken_is_refused_before_anything_starts() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInputError, match=f"--port {port}: it cannot be listened on .*; give another port"):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(BadInputError, match=f"--host {host} --port {port}: it cannot be listened on"):
            listen(host, port)
    with pytest.raises(BadInputError, match="--port 70000: expected a number from 0 to 65535"):
        listen("127.0.0.1", 70_000)


@pytest.mark.slow
def test_a_second_serve_is_refused_at_once_and_the_first_is_still_found(ask: Ask, settings: Settings) -> None:
    before = (settings.home / ADDRESS).read_text("utf-8")
    line = [sys.executable, "-m", "touchline_cli", "serve", "--port", "0"]
    # No servers of its own are started for it, so it needs none to be given.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    environment["TOUCHLINE_HOME"] = str(settings.home)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    first = json.loads(before)
    assert f"is already served at {first['url']} by process {first['pid']}" in done.stderr
    assert "Dagster" not in done.stdout
    assert (settings.home / ADDRESS).read_text("utf-8") == before
    assert find(settings.home, None) == first["url"]
    assert ask("query { version }", {})["version"]


LEADER = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
sys.stdin.read()
"""
ORDERLY = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[-1]).touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""
DEAF = ORDERLY.replace("signal.SIGTERM, end", "signal.SIGTERM, signal.SIG_IGN")


@pytest.mark.parametrize(("program", "in_order"), [(ORDERLY, True), (DEAF, False)], ids=["orderly", "deaf"])
def test_the_end_waits_for_what_a_part_started_though_the_part_is_gone_first(
    program: str, in_order: bool, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    text = program.replace("sys.argv[-1]", repr(str(done)))
    part = subprocess.Popen([sys.executable, "-c", LEADER, text], **PIPES)
    assert part.stdout is not None
    started = psutil.Process(int(part.stdout.readline()))
    assert part.stdout.readline() == b"ready\n"
    end_groups([part.pid], 240.0 if in_order else 1.0)
    part.communicate()
    assert part.returncode == -signal.SIGTERM
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert done.exists() == in_order


STOPPED = """
import signal
from touchline_cli.serve import _stoppable, _StopError
try:
    with _stoppable():
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGINT)
            print("ended in order")
except _StopError:
    print("stopped", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_the_end_of_the_terminal_ends_it_in_order_and_a_second_signal_changes_nothing() -> None:
    # With the handlers of a terminal's process, whatever the tests were started by has ignored.
    handlers = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    handlers += "; signal.signal(signal.SIGINT, signal.default_int_handler)"
    line = [sys.executable, "-c", handlers + STOPPED]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.splitlines() == ["ended in order", "stopped True"]


PARTITIONS = """
query Partitions {
  assetNodes(assetKeys: [{ path: ["run_ocr"] }]) { partitionKeys }
}"""


@pytest.mark.slow
def test_only_who_has_the_token_asks_dagster_and_only_by_json_from_our_own_page(
    ask: Ask, selector: dict[str, str], settings: Settings
) -> None:
    url = str(find(settings.home, None))
    variables = {"selector": selector, "name": "sources", "key": "let-in"}
    query = {"query": ADD, "variables": variables}
    body, address = json.dumps(query).encode(), f"{url}/graphql?{urlencode({'query': ADD})}"
    json_type, ours = {"Content-Type": "application/json"}, {"Origin": url}
    refused: list[tuple[int, str, bytes | None, dict[str, str]]] = [
        (401, f"{url}/graphql", body, {**json_type, **ours}),
        (403, f"{url}/graphql", body, {**json_type, **bearer(), "Origin": "http://127.0.0.1:1"}),
        (403, f"{url}/graphql", body, {**json_type, **bearer(), "Host": "evil.example"}),
        (415, f"{url}/graphql", body, {**bearer(), "Content-Type": "text/plain"}),
        (415, address, b"", {**bearer(), "Content-Type": "text/plain"}),
        (405, address, None, bearer()),
        (401, f"{url}/runs", None, {}),
        (404, f"{url}/detection/reports/none/report.html", None, bearer()),
    ]
    for status, where, sent, headers in refused:
        with pytest.raises(HTTPError) as error:
            urlopen(Request(where, sent, headers), timeout=ANSWER_S)
        assert error.value.code == status, error.value.read()
        error.value.close()
    with urlopen(Request(address, headers={**bearer(), "Accept": "text/html"}), timeout=ANSWER_S) as page:
        assert b"GraphiQL" in page.read()
    assert "let-in" not in json.dumps(ask(PARTITIONS, {}))
    assert ask(ADD, variables)["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
    assert "let-in" in json.dumps(ask(PARTITIONS, {}))


@pytest.mark.slow
def test_a_subscription_of_dagsters_pages_works_and_a_strangers_does_not(ask: Ask, settings: Settings) -> None:
    url = str(find(settings.home, None))
    socket_url = url.replace("http", "ws") + "/graphql"
    protocol: Any = {"subprotocols": ["graphql-ws"], "proxy": None, "open_timeout": ANSWER_S}
    with connect(socket_url, additional_headers={**bearer(), "Origin": url}, **protocol) as opened:
        opened.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(opened.recv(ANSWER_S))["type"] == "connection_ack"
    with pytest.raises(InvalidStatus):
        connect(socket_url, additional_headers={"Origin": url}, **protocol)


@pytest.mark.slow
def test_parts_that_code_can_be_run_through_are_closed_to_other_users(ask: Ask, settings: Settings) -> None:
    told = json.loads((settings.home / FILE).read_bytes())
    parts = [psutil.Process(part["pid"]) for part in told["parts"]]
    assert len(parts) == 3
    listening = {
        connection.laddr.port
        for part in parts
        for process in (part, *part.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {urlsplit(told["url"]).port}
    folder = settings.home / "dagster" / "code"
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "grpc").is_socket()
    token = bearer()["Authorization"].removeprefix("Bearer ")
    for process in (psutil.Process(told["pid"]), *parts):
        assert token not in " ".join(process.cmdline())
    assert token not in (settings.home / ADDRESS).read_text("utf-8")
