"""Database and object store as one Dagster resource, connected at first use.

Belongs here: what Dagster configures. The clients are opened in `connection.py`.
"""

from typing import Final

import dagster as dg

from resources.connection import Connection, connect
from resources.local_services import LocalServices
from resources.settings import Settings

__all__ = ["Connection", "Storage", "connect"]


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where checkpoints and rows live. Servers are given by the environment, or embedded and started on demand."""

    def connect(self) -> Connection:
        """The clients, opened at the first call in this process. Raises ServiceError if a server cannot be had."""
        services = _services(Settings.from_environment())
        endpoints = services.start()
        # Servers that died meanwhile are brought back for whoever asks again.
        services.revive()
        return connect(endpoints)


_held: Final[list[tuple[Settings, LocalServices]]] = []
"""Whoever holds the servers has a lock, an open file and an exit hook: one a process for each home it is told of."""


def _services(settings: Settings) -> LocalServices:
    """The holder of these settings' servers in this process."""
    for known, services in _held:
        if known == settings:
            return services
    _held.append((settings, LocalServices(settings)))
    return _held[-1][1]
