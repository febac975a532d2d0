"""The object store: one bucket of an S3-compatible server, with obstore and boto3.

Belongs here: objects by key, and the distinction of a missing object from a server error. Keys and contents are defined
in `checkpoints.py`. obstore retries transient errors with backoff and jitter until the retry deadline.
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

from resources.retry import DEFAULT_RETRY_S, call_with_retry
from touchline.disk import shortage
from touchline.errors import BadInputError, CheckpointError, ServiceError
from touchline.home import home

if TYPE_CHECKING:
    from obstore import ReadableFile
    from obstore.store import ClientConfig, S3Config

T = TypeVar("T")
REQUEST_S: Final = (3.0, 60.0)
"""Minimum and maximum timeout of a request [s]. The timeout is half of the retry deadline, so that a hanging request is
retried. Large objects are transferred in parts, each with a request."""
PAGE: Final = 1000
"""Maximum number of objects that one request lists or deletes."""
STREAM: Final = 8 * 1024 * 1024
"""Block size for streaming an object [bytes]."""
READY: Final = "touchline.ready"
"""Key of the empty object whose upload shows that the embedded server accepts writes."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a listing: key, size [bytes], etag without quotes, and time of storage by the server's clock."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was not completed. `size` is that of its parts [bytes]."""

    key: str
    upload_id: str
    size: int
    begun: datetime


class ObjectStore:
    """Objects of one bucket. Puts are atomic. Thread-safe; connects at the first request.

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
        """Pickles the arguments, including the keys: for a pipe to a child process only."""
        keys = (self._access_key, self._secret_key)
        made = partial(ObjectStore, session_token=self._session_token, retry_s=self._retry_s)
        return made, (self.endpoint, self.bucket, self._region, *keys)

    def with_retry(self, retry_s: float) -> ObjectStore:
        """A client of the same bucket with a retry deadline of `retry_s` seconds."""
        keys = (self._access_key, self._secret_key)
        return ObjectStore(
            self.endpoint, self.bucket, self._region, *keys, session_token=self._session_token, retry_s=retry_s
        )

    def __repr__(self) -> str:
        """Without the keys, which are secret."""
        return f"ObjectStore({self.endpoint!r}, {self.bucket!r})"

    def uri(self, key: str) -> str:
        """The S3 URI of an object, `s3://BUCKET/KEY`."""
        return f"s3://{self.bucket}/{key}"

    def ensure_bucket(self) -> None:
        """Creates the bucket if it does not exist. Raises ServiceError if the server is unavailable or refuses."""
        with self._boto3("the bucket") as client:
            self._retried(partial(self._ensure_bucket, client))

    def _ensure_bucket(self, client: Any) -> None:
        from botocore.exceptions import ClientError

        try:
            client.head_bucket(Bucket=self.bucket)
            return
        except ClientError as error:
            if _status(error) != 404:
                raise
        # S3 refuses us-east-1 as a location constraint.
        where = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        try:
            client.create_bucket(Bucket=self.bucket, **({} if self._region == "us-east-1" else where))
        except ClientError as error:
            # Another process may have created it in between.
            if error.response.get("Error", {}).get("Code") not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def put(self, key: str, data: bytes) -> None:
        """Stores or replaces an object. Raises ServiceError."""
        with self._reaching(key):
            obstore.put(self._store, key, data)

    def put_file(self, key: str, file: Path | IO[bytes]) -> None:
        """Streams a file, given by path or open, into an object. Raises ServiceError."""
        with self._reaching(key):
            obstore.put(self._store, key, file)

    def get(self, key: str) -> bytes:
        """The content of an object. Raises CheckpointError if there is none, ServiceError if the server fails."""
        with self._reaching(key):
            return bytes(obstore.get(self._store, key).bytes())

    def download(
        self, key: str, file: Path | IO[bytes], *, etag: str = "", moved: Callable[[], None] = lambda: None
    ) -> None:
        """Streams an object into a file, given by path or open. `moved` is called after each block. Raises as `get`.

        With `etag`, raises CheckpointError before the first byte if the object has another etag.
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
        """An object as a seekable file that is fetched in parts on demand.

        Raises as `get`, and BadInputError for a key that obstore refuses. The methods of the file raise OSError.
        """
        try:
            with self._reaching(key):
                return obstore.open_reader(self._store, key)
        except ValueError as error:
            raise BadInputError(f"{key!r}: expected a name without control characters; rename it") from error

    def etag(self, key: str) -> str:
        """The etag of an object. Raises as `get`, and BadInputError for a key that obstore refuses."""
        try:
            with self._reaching(key):
                return str(obstore.head(self._store, key)["e_tag"]).strip('"')
        except ValueError as error:
            raise BadInputError(f"{key!r}: expected a name without control characters; rename it") from error

    def exists(self, key: str) -> bool:
        """Whether an object with that key exists."""
        try:
            self.size(key)
        except CheckpointError:
            return False
        return True

    def size(self, key: str) -> int:
        """Size of an object [bytes]. Raises as `get`."""
        with self._reaching(key):
            return obstore.head(self._store, key)["size"]

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Key and size [bytes] of every object under `prefix` (whole folders), sorted by key."""
        with self._reaching(prefix):
            found = obstore.list(self._store, prefix=prefix, chunk_size=PAGE)
            return sorted((item["path"], item["size"]) for batch in found for item in batch)

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """Every object under `prefix` (whole folders), page by page, in the order of the server."""
        with self._reaching(prefix):
            for batch in obstore.list(self._store, prefix=prefix, chunk_size=PAGE):
                for item in batch:
                    yield StoredObject(item["path"], item["size"], str(item["e_tag"]).strip('"'), item["last_modified"])

    def stored_with_any_name(self, prefix: str) -> Iterator[StoredObject]:
        """As `stored`, for keys with any characters: obstore refuses a listing with, for example, a line break."""
        with self._boto3(prefix) as client:
            after: dict[str, str] = {}
            while True:
                ask = partial(client.list_objects_v2, Bucket=self.bucket, Prefix=prefix, **after)
                page = self._retried(ask)
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
                if not page.get("IsTruncated"):
                    return
                after = {"ContinuationToken": page["NextContinuationToken"]}

    def folders(self, prefix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the folders and keys of the objects directly under `prefix`, by default the bucket.

        A folder may be empty: some servers keep it after its last object was deleted.
        """
        with self._reaching(prefix):
            found = obstore.list_with_delimiter(self._store, prefix=prefix or None)
            names = [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]
            return tuple(sorted(names)), tuple(sorted(item["path"] for item in found["objects"]))

    def delete_all(self, keys: Sequence[str]) -> None:
        """Deletes objects, PAGE with one request. Missing objects are ignored. Raises ServiceError."""
        for start in range(0, len(keys), PAGE):
            try:
                with self._reaching(keys[start]):
                    obstore.delete(self._store, list(keys[start : start + PAGE]))
            except CheckpointError:
                # Some servers refuse the whole request if one key is missing.
                for key in keys[start : start + PAGE]:
                    self.delete(key)

    def unfinished(self, *prefixes: str) -> tuple[UnfinishedUpload, ...]:
        """The unfinished multipart uploads under these prefixes. Raises ServiceError."""
        with self._boto3("unfinished uploads") as client:
            return self._retried(partial(self._unfinished, client, prefixes))

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
        """Aborts a multipart upload. A missing one is ignored. Raises ServiceError."""
        with self._boto3(upload.key) as client:
            try:
                target = {"Bucket": self.bucket, "Key": upload.key, "UploadId": upload.upload_id}
                self._retried(partial(client.abort_multipart_upload, **target))
            except client.exceptions.NoSuchUpload:
                return

    def delete(self, key: str) -> None:
        """Deletes an object. A missing one is ignored. Raises ServiceError."""
        try:
            with self._reaching(key):
                obstore.delete(self._store, key)
        except CheckpointError:
            return

    def _retried(self, ask: Callable[[], T]) -> T:
        """A boto3 request, retried while the server is unavailable. obstore retries by itself."""
        name = f"the object store at {self.endpoint}"
        return call_with_retry(ask, _unavailable, deadline_s=self._retry_s, name=name)

    @contextmanager
    def _boto3(self, what: str) -> Iterator[Any]:
        """A boto3 client, for requests that obstore lacks. Its errors become ServiceError.

        `S3Resource` of dagster-aws is not used: it has no timeouts, so a hanging server would exceed the deadline, and
        it imports Dagster in commands that do not need it.
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
                f"{key}: no such object in bucket {self.bucket} of {self.endpoint}. Replay the stage that wrote it."
            ) from error
        except BaseError as error:
            raise self.service_error(key, error) from error

    def service_error(self, what: str, error: Exception) -> ServiceError:
        """The ServiceError for a failed request."""
        if self.endpoint.startswith("http://127.0.0.1:") and (full := shortage(home())):
            # The embedded server refuses writes when its disk is full.
            return ServiceError(f"the object store at {self.endpoint}, bucket {self.bucket}, failed at {what}: {full}")
        reason = " ".join(str(error).split())[:300]
        return ServiceError(
            f"the object store at {self.endpoint}, bucket {self.bucket}, failed at {what}: {reason}. "
            "`touchline doctor` shows what is reachable; once it is back, run the same again: finished work is kept"
        )


def _unavailable(error: BaseException) -> bool:
    """Whether the server is unreachable or failing, as opposed to a server that refuses."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    return isinstance(error, ConnectionError | HTTPClientError) or (
        isinstance(error, ClientError) and _status(error) >= 500
    )


def _status(error: Exception) -> int:
    response = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
