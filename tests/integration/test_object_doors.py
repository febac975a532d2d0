"""Who has no key is let in nowhere: every port, socket and file of the embedded object store, tried by a stranger."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import grpc
import psutil
import pytest

from resources.embedded import object_security as security
from resources.embedded import processes
from resources.embedded.object_server import ObjectServer, _weed
from resources.object_store import ObjectStore
from touchline.errors import ServiceError

pytestmark = pytest.mark.slow

BUCKET, KEY, SECRET = "touchline", "uploads/clip.mp4", b"what nobody else may read" * 4096
STRANGER = Path(__file__).parents[1] / "support" / "stranger.py"
NOBODY = 65534
QUESTIONS = (
    "/master_pb.Seaweed/GetMasterConfiguration",
    "/master_pb.Seaweed/VolumeList",
    "/filer_pb.SeaweedFiler/GetFilerConfiguration",
    "/filer_pb.SeaweedFiler/ListEntries",
    "/volume_server_pb.VolumeServer/VolumeServerStatus",
    "/iam_pb.SeaweedIdentityAccessManagement/ListUsers",
    "/worker_pb.WorkerService/WorkerStream",
)
"""gRPC calls that an empty message is enough for."""


def store(server: ObjectServer) -> ObjectStore:
    """The product's own client of that server."""
    keys = (server.memory["access_key"], server.memory["secret_key"])
    return ObjectStore(server.endpoint, BUCKET, "us-east-1", *keys, retry_s=60)


def kill(server: ObjectServer) -> None:
    """Ends the server as a crash of the machine would."""
    os.kill(server.memory["pid"], signal.SIGKILL)
    assert processes.wait_until(lambda: processes.ended(server.memory["pid"]), 60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A server with one object, in a home whose path is longer than that of a socket may be."""
    umask = os.umask(0o022)
    started = ObjectServer(tmp_path_factory.mktemp("home") / ("long-" * 30), {})
    try:
        started.start(BUCKET)
        store(started).put(KEY, SECRET)
        yield started
    finally:
        started.stop()
        os.umask(umask)


class Answer(NamedTuple):
    """What one door said to one thing that was tried."""

    door: str
    how: str
    what: str
    said: str


@pytest.fixture(scope="module")
def answers(server: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """What a stranger got: another user where we are root, else our own without keys and without files."""
    foreign = tmp_path_factory.mktemp("foreign")
    security.write(foreign, "another", "key")
    process = psutil.Process(server.memory["pid"])
    listening = {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    names = {port: name for name, port in server.memory["ports"].items()}
    root = os.geteuid() == 0
    files = [str(path) for path in server.data.parent.rglob("*") if not path.is_dir()]
    told = {
        "ports": {names.get(port, "unknown"): port for port in sorted(listening)},
        "stranger": {name: (foreign / name).read_text() for name in ("server.pem", "server.key")},
        "user": NOBODY if root else None,
        "bucket": BUCKET,
        "key": KEY,
        "paths": [*files, *(str(c.laddr) for c in process.net_connections("unix") if str(c.laddr).startswith("/"))]
        if root
        else [],
    }
    asked = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER.read_text()],
        input=json.dumps(told),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd="/",
    )
    return [Answer(*found) for found in json.loads(asked.stdout)]


def status(answer: Answer) -> int:
    """The HTTP status in an answer; 0 if it is none."""
    found = re.match(r"HTTP/1\.[01] (\d+)", answer.said)
    return int(found[1]) if found else 0


def test_every_port_is_known_and_on_loopback(server: ObjectServer) -> None:
    process = psutil.Process(server.memory["pid"])
    listening = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == set(server.memory["ports"].values())


def test_inner_ports_say_nothing_to_a_stranger(answers: list[Answer]) -> None:
    inner = [a for a in answers if a.door not in ("s3", "file")]
    assert {a.door for a in inner} == {"master", "volume", "filer", "admin"} | {
        f"{part}.grpc" for part in ("master", "volume", "filer", "admin", "s3")
    }
    for answer in inner:
        # To a request without TLS, Go's server says in plain text that it wants TLS, and nothing else.
        tls_wanted = status(answer) == 400 and answer.said.endswith("Client sent an HTTP request to an HTTPS server.\n")
        alert = answer.how == "plain" and answer.said.startswith("\x15\x03")
        assert answer.said.startswith("refused") or answer.said == "" or tls_wanted or alert, answer


def test_the_s3_port_refuses_what_is_not_signed(answers: list[Answer]) -> None:
    asked = [a for a in answers if a.door == "s3" and a.how == "plain"]
    assert asked
    for answer in asked:
        if answer.what.startswith(("GET /status", "GET /healthz")):
            assert (status(answer), answer.said.partition("\r\n\r\n")[2]) == (200, ""), answer
        else:
            assert status(answer) in (400, 403, 404, 405, 501), answer


def test_no_answer_about_objects_allows_a_foreign_web_page(answers: list[Answer]) -> None:
    for answer in answers:
        if "access-control-allow-origin" in answer.said.lower():
            # SeaweedFS lets every page read that it was refused and that the server is well. Nothing else.
            assert answer.door == "s3", answer
            assert not answer.what.startswith("OPTIONS"), answer
            assert status(answer) >= 400 or not answer.said.partition("\r\n\r\n")[2], answer


def test_files_and_sockets_are_closed_to_others(server: ObjectServer, answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.door != "file" or answer.said.startswith("refused"), answer
    for folder in (server.data, server.private):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600
    for path in security.sockets(server.memory["ports"]):
        assert not path.exists() or not path.stat().st_mode & 0o077, path


@pytest.mark.parametrize("part", ["master", "volume", "filer", "admin", "s3"])
def test_grpc_answers_no_call_without_a_certificate(server: ObjectServer, part: str) -> None:
    address = f"127.0.0.1:{server.memory['ports'][part + '.grpc']}"
    authority = (server.private / security.AUTHORITY).read_bytes()
    channels = [grpc.insecure_channel(address), grpc.secure_channel(address, grpc.ssl_channel_credentials(authority))]
    for channel in channels:
        with channel:
            for question in QUESTIONS:
                with pytest.raises(grpc.RpcError) as refused:
                    channel.unary_unary(question)(b"", timeout=3)
                assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_nothing_changed_and_no_secret_shows(server: ObjectServer, answers: list[Answer]) -> None:
    assert answers
    assert store(server).get(KEY) == SECRET
    assert [key for key, _ in store(server).list("")] == ["touchline.ready", KEY]
    command = " ".join(psutil.Process(server.memory["pid"]).cmdline())
    logs = "".join(path.read_text() for path in [server.log, *server.private.glob("log/*.log.*")])
    for secret in (server.memory["access_key"], server.memory["secret_key"]):
        assert secret not in command
        assert secret not in logs
        assert not any(secret in answer.said for answer in answers)


def test_restarts_keep_objects_and_leave_nothing_outside(server: ObjectServer) -> None:
    before = server.memory["ports"]
    kill(server)
    assert any(path.exists() for path in security.sockets(before))
    # Any connection of this machine may have taken one of the ports meanwhile.
    free = all(map(processes.port_free, before.values()))
    server.start(BUCKET)
    begun = server.memory["ports"]
    assert begun == before or not free
    assert store(server).get(KEY) == SECRET
    process = psutil.Process(server.memory["pid"])
    used = {file.path for file in process.open_files() if file.mode != "r"}
    used |= {str(c.laddr) for c in process.net_connections("unix") if str(c.laddr).startswith("/")}
    outside = {path for path in used if not path.startswith(str(server.data.parent))}
    assert outside <= {str(path) for path in security.sockets(begun)}
    server.stop()
    assert not [path for path in (*outside, *map(str, security.sockets(begun))) if os.path.lexists(path)]
    server.start(BUCKET)
    assert store(server).get(KEY) == SECRET


def test_what_lies_where_a_socket_should_is_left_and_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "SOCKETS", tmp_path)
    ports = {"filer": 1, "filer.grpc": 2, "s3.grpc": 3}
    mine, file = tmp_path / "seaweedfs-filer-grpc-2.sock", tmp_path / "seaweedfs-s3-grpc-3.sock"
    for path in (mine, tmp_path / "seaweedfs-filer-grpc-4.sock"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    security.remove_sockets(ports)
    assert [path.name for path in tmp_path.iterdir()] == ["seaweedfs-filer-grpc-4.sock"]
    assert not security.sockets_taken(ports)
    file.write_text("somebody's")
    security.remove_sockets(ports)
    assert security.sockets_taken(ports)
    server = ObjectServer(tmp_path, {"ports": ports})
    server._choose_ports()
    assert not set(server.memory["ports"].values()) & set(ports.values())


def test_a_port_that_is_taken_while_the_server_starts_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, choose = ObjectServer(tmp_path, {}), ObjectServer._choose_ports
    with socket.socket() as other:

        def taken(chosen: ObjectServer) -> None:
            monkeypatch.undo()
            choose(chosen)
            other.bind(("127.0.0.1", chosen.memory["ports"]["volume"]))
            other.listen()

        monkeypatch.setattr(ObjectServer, "_choose_ports", taken)
        try:
            server.start(BUCKET)
            assert other.getsockname()[1] not in server.memory["ports"].values()
        finally:
            server.stop()


def test_certificates_hold_for_strict_readers(tmp_path: Path) -> None:
    security.write(tmp_path, "key", "secret")
    context = ssl.create_default_context(cafile=str(tmp_path / security.AUTHORITY))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(here, there, server_hostname="127.0.0.1")
    server = serving.wrap_bio(there, here, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.getpeercert()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_server_without_its_certificates_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "configuration", lambda: "")
    server = ObjectServer(tmp_path, {})
    with pytest.raises(ServiceError, match=r"\(filer\).*\(filer\.grpc\)|\(filer\.grpc\).*\(filer\)"):
        server.start(BUCKET)
    assert processes.wait_until(lambda: processes.ended(server.memory["pid"]), 60)


def test_a_home_of_before_opens_and_is_closed(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path, {"access_key": "0123456789abcdef", "secret_key": "fedcba9876543210"})
    names = [name for part in (*security.PARTS, "s3") for name in (part, f"{part}.grpc")]
    ports = server.memory["ports"] = dict(zip(names, processes.free_ports(len(names)), strict=True))
    server.data.mkdir(mode=0o755)
    before: dict[str, Any] = {
        "env": {
            **processes.server_environment(server.data),
            "AWS_ACCESS_KEY_ID": server.memory["access_key"],
            "AWS_SECRET_ACCESS_KEY": server.memory["secret_key"],
            "TMPDIR": str(tmp_path),
        },
        "umask": 0o022,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    options = [f"-{name.removesuffix('.grpc')}.port{'.grpc' * name.endswith('.grpc')}={ports[name]}" for name in names]
    command = [_weed(), "mini", f"-dir={server.data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *options, "-webdav=false"]
    command += ["-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    with subprocess.Popen(command, **before) as old:
        server.memory["pid"] = old.pid
        assert processes.wait_until(lambda: not server._writes(BUCKET), 120)
        large = os.urandom(9 * 2**20)
        store(server).put(KEY, SECRET)
        store(server).put("frames/large", large)
        old.kill()
    assert security.sockets(ports)[0].parent == Path("/tmp")
    server.start(BUCKET)
    try:
        assert store(server).get(KEY) == SECRET
        assert store(server).get("frames/large") == large
        store(server).put("frames/large", b"")
        store(server).delete(KEY)
        assert not store(server).exists(KEY)
        assert not [
            path for path in server.data.rglob("*") if path.name.endswith(".dat") and path.stat().st_mode & 0o77
        ]
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=server.memory["access_key"],
            aws_secret_access_key=server.memory["secret_key"],
        )
        client.head_bucket(Bucket=BUCKET)
        client.create_bucket(Bucket="another-bucket")
        client.close()
    finally:
        kill(server)
        server.stop()
    assert not [path for path in security.sockets(ports) if os.path.lexists(path)]
