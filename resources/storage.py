"""Database and object store as one Dagster resource, connected at first use.

Belongs here: going from settings to open clients, once a process. The clients are in `database.py`,
`object_store.py` and `checkpoints.py`.
"""

from dataclasses import dataclass
from functools import lru_cache

import dagster as dg

from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints, LocalServices
from resources.object_store import ObjectStore
from resources.settings import Settings


@dataclass(frozen=True)
class Connection:
    """Open clients of one database and one bucket."""

    database: Database
    objects: ObjectStore
    checkpoints: CheckpointStore


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where checkpoints and rows live. Servers are given by the environment, or embedded and started on demand."""

    def connect(self) -> Connection:
        """The clients, opened at the first call in this process. Raises ServiceError if a server cannot be had."""
        return connect(LocalServices(Settings.from_environment()).start())


@lru_cache(maxsize=4)
def connect(endpoints: Endpoints) -> Connection:
    """Clients of these servers, with the tables up to date and the bucket made."""
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
