"""The object store against a real S3 server: whole objects, clear errors, patience with short outages."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from touchline.errors import CheckpointError, ServiceError


@pytest.fixture
def prefix() -> str:
    return f"tests/{uuid.uuid4()}/"


def store(services: Endpoints, **changed: str) -> ObjectStore:
    values = {
        "endpoint": services.s3_endpoint,
        "bucket": services.s3_bucket,
        "region": services.s3_region,
        "access_key": services.s3_access_key_id,
        "secret_key": services.s3_secret_access_key,
    }
    return ObjectStore(**{**values, **changed}, retry_s=60.0)


def test_bytes_come_back_as_they_went_in(objects: ObjectStore, prefix: str) -> None:
    for size in (0, 1, 6 * 1024 * 1024):
        data = os.urandom(size)
        objects.put(f"{prefix}{size}", data)
        assert objects.get(f"{prefix}{size}") == data
        assert objects.size(f"{prefix}{size}") == size


def test_a_put_replaces_the_object(objects: ObjectStore, prefix: str) -> None:
    objects.put(prefix + "a", b"old")
    objects.put(prefix + "a", b"new")
    assert objects.get(prefix + "a") == b"new"


@pytest.mark.parametrize("size", [10, 12 * 1024 * 1024], ids=["small", "in several parts"])
def test_files_are_streamed_both_ways(objects: ObjectStore, prefix: str, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "sent").write_bytes(data)
    objects.put_file(prefix + "path", tmp_path / "sent")
    with (tmp_path / "sent").open("rb") as opened:
        objects.put_file(prefix + "open", opened)
    objects.download(prefix + "path", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data
    with io.BytesIO() as buffer:
        objects.download(prefix + "open", buffer)
        assert buffer.getvalue() == data


def test_more_objects_than_a_page_are_listed_in_order_with_their_sizes(objects: ObjectStore, prefix: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: objects.put(f"{prefix}{n:04d}", b"x" * (n % 7)), range(1100)))
    assert objects.list(prefix) == [(f"{prefix}{n:04d}", n % 7) for n in range(1100)]
    assert objects.list(prefix + "nothing/") == []


def test_a_missing_object_is_named(objects: ObjectStore, prefix: str, tmp_path: Path) -> None:
    key = prefix + "missing"
    with pytest.raises(CheckpointError, match=key):
        objects.get(key)
    with pytest.raises(CheckpointError, match=key):
        objects.download(key, tmp_path / "x")
    with pytest.raises(CheckpointError, match=key):
        objects.size(key)
    assert not objects.exists(key)


def test_deleting_twice_is_no_fault(objects: ObjectStore, prefix: str) -> None:
    objects.put(prefix + "a", b"x")
    assert objects.exists(prefix + "a")
    objects.delete(prefix + "a")
    objects.delete(prefix + "a")
    assert not objects.exists(prefix + "a")


def test_a_bucket_is_made_once(services: Endpoints) -> None:
    made = store(services, bucket=f"made-{uuid.uuid4().hex[:12]}")
    made.ensure_bucket()
    made.ensure_bucket()
    made.put("a", b"x")
    assert made.list("") == [("a", 1)]


def test_a_wrong_secret_is_a_fault_of_the_service_that_shows_no_secret(services: Endpoints) -> None:
    wrong = store(services, secret_key="geheim-geheim-geheim")
    for call in (wrong.ensure_bucket, lambda: wrong.put("a", b"x"), lambda: wrong.get("a")):
        with pytest.raises(ServiceError, match=services.s3_bucket) as caught:
            call()
        assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(wrong)


def test_a_server_that_stays_away_is_named(services: Endpoints) -> None:
    gone = ObjectStore("http://127.0.0.1:1", "touchline", "us-east-1", "key", "secret", retry_s=0)
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1"):
        gone.put("a", b"x")
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1"):
        gone.ensure_bucket()


def test_a_short_outage_is_waited_out(services: Endpoints, prefix: str) -> None:
    # Bound and not listened on: who connects is refused, and nobody else can take it.
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    objects = store(services, endpoint=f"http://127.0.0.1:{reserved.getsockname()[1]}")
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        put = pool.submit(objects.put, prefix + "late", b"patience")
        time.sleep(1.0)
        assert not put.done()
        with Forwarder(reserved, services.s3_endpoint):
            put.result(timeout=120)
            assert time.monotonic() - began >= 1.0
            assert objects.get(prefix + "late") == b"patience"


class Forwarder:
    """Listens on a socket that is bound, and passes everything that arrives there on to the server."""

    def __init__(self, bound: socket.socket, endpoint: str) -> None:
        host, _, target = endpoint.removeprefix("http://").partition(":")
        self._target = (host, int(target))
        self._server = bound
        self._server.listen()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Forwarder:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._server, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._open += [client, server]
            self._start(self._copy, client, server)
            self._start(self._copy, server, client)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        for data in _received(source):
            sink.sendall(data)

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _received(source: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            data = source.recv(65536)
        except OSError:
            return
        if not data:
            return
        yield data


def test_a_listing_tells_size_and_time_by_the_clock_of_the_store(objects: ObjectStore, prefix: str) -> None:
    objects.put(prefix + "b/2", b"two")
    objects.put(prefix + "a", b"")
    first, second = objects.stored(prefix)
    assert [(first.key, first.size), (second.key, second.size)] == [(prefix + "a", 0), (prefix + "b/2", 3)]
    assert abs(datetime.now(UTC) - second.modified) < timedelta(minutes=1)
    assert objects.folders(prefix) == (("b",), (prefix + "a",))


def test_many_objects_are_removed_at_once_and_those_that_are_gone_are_no_fault(
    objects: ObjectStore, prefix: str
) -> None:
    doomed = [f"{prefix}{number}" for number in range(5)]
    for key in doomed:
        objects.put(key, b"x")
    objects.delete_all([*doomed, prefix + "none"])
    objects.delete_all(doomed)
    objects.delete_all([])
    assert list(objects.stored(prefix)) == []
