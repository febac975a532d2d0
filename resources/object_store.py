"""The object store over obstore."""

from __future__ import annotations

from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import S3Store

from touchline.errors import CheckpointError


class ObjectStore:
    def __init__(self, endpoint: str, bucket: str, region: str, access_key: str, secret_key: str) -> None:
        self._args = (endpoint, bucket, region, access_key, secret_key)
        self._store = S3Store(
            bucket, endpoint=endpoint, region=region, access_key_id=access_key, secret_access_key=secret_key,
            virtual_hosted_style_request=False, client_options={"allow_http": True},
        )

    def ensure_bucket(self) -> None:
        import boto3

        endpoint, bucket, region, key, secret = self._args
        client = boto3.client("s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret)
        if bucket not in {b["Name"] for b in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=bucket)
        client.close()

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self._store, key, data)

    def put_file(self, key: str, path: Path) -> None:
        obstore.put(self._store, key, path)

    def get(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise CheckpointError(f"{key}: not in the object store") from error

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def list(self, prefix: str) -> list[tuple[str, int]]:
        return [(m["path"], m["size"]) for batch in obstore.list(self._store, prefix=prefix) for m in batch]

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)
