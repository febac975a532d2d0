"""Clients of one database and one bucket, created once a process.

Belongs here: creating clients, without Dagster. The Dagster resource is in `storage.py`; the clients are in
`database.py`, `object_store.py` and `checkpoints.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints
from resources.object_store import ObjectStore


@dataclass(frozen=True)
class Connection:
    """Clients of one database and one bucket."""

    database: Database
    objects: ObjectStore
    checkpoints: CheckpointStore


@lru_cache(maxsize=4)
def connect(endpoints: Endpoints) -> Connection:
    """Clients of these servers. Migrates the tables and creates the bucket. Raises ServiceError."""
    database = Database(endpoints.postgres_url, patience_s=endpoints.patience_s)
    database.migrate()
    objects = ObjectStore(
        endpoints.s3_endpoint,
        endpoints.s3_bucket,
        endpoints.s3_region,
        endpoints.s3_access_key_id,
        endpoints.s3_secret_access_key,
        session_token=endpoints.s3_session_token,
        retry_s=endpoints.patience_s,
    )
    objects.ensure_bucket()
    return Connection(database, objects, CheckpointStore(objects, database))
