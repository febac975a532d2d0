"""Database and object store as one Dagster resource, connected at first use.

Belongs here: what Dagster configures. The clients are opened in `connection.py`.
"""

import dagster as dg

from resources.connection import Connection, connect
from resources.local_services import LocalServices
from resources.settings import Settings

__all__ = ["Connection", "Storage", "connect"]


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where checkpoints and rows live. Servers are given by the environment, or embedded and started on demand."""

    def connect(self) -> Connection:
        """The clients, opened at the first call in this process. Raises ServiceError if a server cannot be had."""
        return connect(LocalServices(Settings.from_environment()).start())
