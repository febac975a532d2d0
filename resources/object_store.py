"""The object store: one bucket of an S3-compatible server, over obstore.

Belongs here: objects by key, as bytes or files, and telling a missing object from a server in trouble. Which keys
there are and what lies under them is the business of `checkpoints.py`. Short outages are retried with backoff by
obstore itself, with jitter, for as long as patience lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from resources.retry import DEFAULT_RETRY_S, RetryDeadline
from touchline.disk import shortage
from touchline.errors import BadInputError, CheckpointError, ServiceError
from touchline.home import home

if TYPE_CHECKING:
    from obstore import ReadableFile
    from obstore.store import ClientConfig, S3Config

T = TypeVar("T")
REQUEST_S: Final = (3.0, 60.0)
"""Bounds of the seconds that one request may take: half of the patience, so that one that hangs is tried again.
Large objects travel in parts, each a request."""
PAGE: Final = 1000
"""Objects listed or removed by one request."""
STREAM: Final = 8 * 1024 * 1024
"""Bytes held at a time when an object is streamed."""
READY: Final = "touchline.ready"
"""Key of the empty object by which the embedded server is known to take writes."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing tells of an object: key, bytes, etag without its quotes, and when it was stored by the server's
    clock.
    """

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An object whose parts began to arrive and that was never completed. `size`: bytes of the parts that came."""

    key: str
    upload_id: str
    size: int
    begun: datetime


class ObjectStore:
    """Objects of one bucket. Puts are whole or not at all. Safe to share by threads; opens nothing by itself.

    obstore and boto3 also read AWS_* variables and proxies: call `shell.isolate_environment` first.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        region: str,
        access_key: str,
        secret_key: str,
        *,
        session_token: str = "",
        retry_s: float = DEFAULT_RETRY_S,
    ) -> None:
        self.endpoint: Final = endpoint
        self.bucket: Final = bucket
        self._region, self._access_key, self._secret_key = region, access_key, secret_key
        self._session_token = session_token
        self._request_s = min(max(retry_s / 2, REQUEST_S[0]), REQUEST_S[1])
        self._retry_s = retry_s
        client: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=self._request_s),
        }
        config: S3Config = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "virtual_hosted_style_request": False,
        }
        if session_token:
            config["session_token"] = session_token
        self._store = S3Store(
            bucket,
            config=config,
            client_options=client,
            retry_config={
                "max_retries": 1000 if retry_s else 0,
                "retry_timeout": timedelta(seconds=retry_s),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By what it was made from, keys included: for a pipe to a child process, and nothing that is kept."""
        keys = (self._access_key, self._secret_key)
        made = partial(ObjectStore, session_token=self._session_token, retry_s=self._retry_s)
        return made, (self.endpoint, self.bucket, self._region, *keys)

    def with_retry(self, retry_s: float) -> ObjectStore:
        """The same bucket by a client that waits `retry_s` seconds for a server that is away."""
        keys = (self._access_key, self._secret_key)
        return ObjectStore(
            self.endpoint, self.bucket, self._region, *keys, session_token=self._session_token, retry_s=retry_s
        )

    def __repr__(self) -> str:
        """Address alone: keys are secret."""
        return f"ObjectStore({self.endpoint!r}, {self.bucket!r})"

    def uri(self, key: str) -> str:
        """The address of an object as S3 tools write it: `s3://BUCKET/KEY`. It names no server and no secret."""
        return f"s3://{self.bucket}/{key}"

    def ensure_bucket(self) -> None:
        """Makes the bucket if there is none. A server that is away is waited for.

        Raises ServiceError: not reachable in time, or not allowed.
        """
        with self._boto3("the bucket") as client:
            self._patiently(partial(self._ensure_bucket, client))

    def _ensure_bucket(self, client: Any) -> None:
        from botocore.exceptions import ClientError

        try:
            client.head_bucket(Bucket=self.bucket)
            return
        except ClientError as error:
            if _status(error) != 404:
                raise
        # us-east-1 is the one region that must not be named.
        where = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        try:
            client.create_bucket(Bucket=self.bucket, **({} if self._region == "us-east-1" else where))
        except ClientError as error:
            # Somebody else may have made it in between.
            if error.response.get("Error", {}).get("Code") not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def put(self, key: str, data: bytes) -> None:
        """Stores bytes under a key, replacing what was there. Raises ServiceError."""
        with self._reaching(key):
            obstore.put(self._store, key, data)

    def put_file(self, key: str, file: Path | IO[bytes]) -> None:
        """Stores a file, from its path or from the position of an open one, without holding it in memory."""
        with self._reaching(key):
            obstore.put(self._store, key, file)

    def get(self, key: str) -> bytes:
        """The bytes under a key. Raises CheckpointError if there are none, ServiceError if the server fails."""
        with self._reaching(key):
            return bytes(obstore.get(self._store, key).bytes())

    def download(
        self, key: str, file: Path | IO[bytes], *, etag: str = "", moved: Callable[[], None] = lambda: None
    ) -> None:
        """Streams an object into a file, given by path or open. `moved` is called after each part. Raises as `get`.

        With `etag`, raises CheckpointError before the first byte if the object has another by now.
        """
        if isinstance(file, Path):
            with file.open("wb") as opened:
                self.download(key, opened, etag=etag, moved=moved)
            return
        with self._reaching(key):
            found = obstore.get(self._store, key)
            if etag and etag != (now := (found.meta["e_tag"] or "").strip('"')):
                raise CheckpointError(f"{key}: expected the content with etag {etag}, found {now}; it was replaced")
            for block in found.stream(min_chunk_size=STREAM):
                file.write(block)
                moved()

    def reader(self, key: str) -> ReadableFile:
        """An object as a file to read and seek in, fetched in parts as they are asked for.

        Raises as `get`, and BadInputError for a name that obstore does not take. Its own `read` raises OSError.
        """
        try:
            with self._reaching(key):
                return obstore.open_reader(self._store, key)
        except ValueError as error:
            raise BadInputError(f"{key!r}: expected a name without control characters; rename it") from error

    def etag(self, key: str) -> str:
        """The etag of an object. Raises as `get`, and BadInputError for a name that obstore does not take."""
        try:
            with self._reaching(key):
                return str(obstore.head(self._store, key)["e_tag"]).strip('"')
        except ValueError as error:
            raise BadInputError(f"{key!r}: expected a name without control characters; rename it") from error

    def exists(self, key: str) -> bool:
        """Whether there is an object under that key."""
        try:
            self.size(key)
        except CheckpointError:
            return False
        return True

    def size(self, key: str) -> int:
        """Bytes of an object. Raises as `get`."""
        with self._reaching(key):
            return obstore.head(self._store, key)["size"]

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Key and size in bytes of every object whose key begins with `prefix` (whole folders), sorted by key."""
        with self._reaching(prefix):
            found = obstore.list(self._store, prefix=prefix, chunk_size=PAGE)
            return sorted((item["path"], item["size"]) for batch in found for item in batch)

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `prefix` (whole folders), page by page, as the server sorts them."""
        with self._reaching(prefix):
            for batch in obstore.list(self._store, prefix=prefix, chunk_size=PAGE):
                for item in batch:
                    yield StoredObject(item["path"], item["size"], str(item["e_tag"]).strip('"'), item["last_modified"])

    def stored_with_any_name(self, prefix: str) -> Iterator[StoredObject]:
        """As `stored`, whatever the names: obstore refuses a whole listing for one that it finds odd (a line break)."""
        with self._boto3(prefix) as client:
            after: dict[str, str] = {}
            while True:
                ask = partial(client.list_objects_v2, Bucket=self.bucket, Prefix=prefix, **after)
                page = self._patiently(ask)
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
                if not page.get("IsTruncated"):
                    return
                after = {"ContinuationToken": page["NextContinuationToken"]}

    def folders(self, prefix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What lies directly under a folder (the bucket itself without one): names of folders, and keys of objects.

        A folder may be empty: some servers keep those whose last object was removed.
        """
        with self._reaching(prefix):
            found = obstore.list_with_delimiter(self._store, prefix=prefix or None)
            names = [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]
            return tuple(sorted(names)), tuple(sorted(item["path"] for item in found["objects"]))

    def delete_all(self, keys: Sequence[str]) -> None:
        """Removes objects, many with one request; those that are not there are no fault. Raises ServiceError."""
        for start in range(0, len(keys), PAGE):
            try:
                with self._reaching(keys[start]):
                    obstore.delete(self._store, list(keys[start : start + PAGE]))
            except CheckpointError:
                # A server that refuses a request for the sake of one key that is gone.
                for key in keys[start : start + PAGE]:
                    self.delete(key)

    def unfinished(self, *prefixes: str) -> tuple[UnfinishedUpload, ...]:
        """The uploads in parts that were never completed, of keys that begin so. Raises ServiceError."""
        with self._boto3("unfinished uploads") as client:
            return self._patiently(partial(self._unfinished, client, prefixes))

    def _unfinished(self, client: Any, prefixes: Sequence[str]) -> tuple[UnfinishedUpload, ...]:
        found = []
        listings, parts = client.get_paginator("list_multipart_uploads"), client.get_paginator("list_parts")
        pages = (page for prefix in prefixes for page in listings.paginate(Bucket=self.bucket, Prefix=prefix))
        for upload in (upload for page in pages for upload in page.get("Uploads", ())):
            key, identity = upload["Key"], upload["UploadId"]
            try:
                of_it = parts.paginate(Bucket=self.bucket, Key=key, UploadId=identity)
                size = sum(part["Size"] for page in of_it for part in page.get("Parts", ()))
            except client.exceptions.NoSuchUpload:
                continue
            found.append(UnfinishedUpload(key, identity, size, upload["Initiated"]))
        return tuple(found)

    def abandon(self, upload: UnfinishedUpload) -> None:
        """Gives up an upload in parts and frees them; one that is gone is no fault. Raises ServiceError."""
        with self._boto3(upload.key) as client:
            try:
                place = {"Bucket": self.bucket, "Key": upload.key, "UploadId": upload.upload_id}
                self._patiently(partial(client.abort_multipart_upload, **place))
            except client.exceptions.NoSuchUpload:
                return

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is no fault."""
        try:
            with self._reaching(key):
                obstore.delete(self._store, key)
        except CheckpointError:
            return

    def _patiently(self, ask: Callable[[], T]) -> T:
        """A question by boto3, asked again while the server is away. obstore asks again by itself."""
        return RetryDeadline(self._retry_s, f"the object store at {self.endpoint}").wait(ask, _away)

    @contextmanager
    def _boto3(self, what: str) -> Iterator[Any]:
        """A boto3 client, for what obstore has no words for. Its errors become ServiceError.

        Not by `S3Resource` of dagster-aws: that takes no timeouts, so that a server that hangs would be waited for
        longer than patience lasts, and it loads Dagster in commands that need none.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(
            connect_timeout=5,
            read_timeout=min(self._request_s, 30),
            retries={"max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": "path"},
        )
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self._region,
            aws_access_key_id=self._access_key,
            aws_secret_access_key=self._secret_key,
            aws_session_token=self._session_token or None,
            config=config,
        )
        try:
            yield client
        except (BotoCoreError, ClientError) as error:
            raise self.service_error(what, error) from error
        finally:
            client.close()

    @contextmanager
    def _reaching(self, key: str) -> Iterator[None]:
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise CheckpointError(
                f"{key}: there is no such object in bucket {self.bucket} of {self.endpoint}. Replay the stage it is of."
            ) from error
        except BaseError as error:
            raise self.service_error(key, error) from error

    def service_error(self, what: str, error: Exception) -> ServiceError:
        """What to tell of a server that failed at something."""
        if self.endpoint.startswith("http://127.0.0.1:") and (full := shortage(home())):
            # The embedded server refuses writes then.
            return ServiceError(f"the object store at {self.endpoint}, bucket {self.bucket}, failed at {what}: {full}")
        reason = " ".join(str(error).split())[:300]
        return ServiceError(
            f"the object store at {self.endpoint}, bucket {self.bucket}, failed at {what}: {reason}. "
            "`touchline doctor` tells what is reachable; once it is back, run the same again: finished work is kept"
        )


def _away(error: BaseException) -> bool:
    """Whether the server could not be reached or is in trouble, as against one that says no."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    return isinstance(error, ConnectionError | HTTPClientError) or (
        isinstance(error, ClientError) and _status(error) >= 500
    )


def _status(error: Exception) -> int:
    response = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
