"""Database and object store as one Dagster resource, connected at first use.

Belongs here: the fields of the resource. The clients are created in `connection.py`.
"""

from __future__ import annotations

import os
from typing import Final

import dagster as dg
import sqlalchemy as sa
from pydantic import Field, field_validator

from resources.connection import Connection, connect
from resources.fields import VARIABLES, own_fields, refuse_changed, without_secrets
from resources.local_services import LocalServices
from resources.settings import Settings

__all__ = ["Connection", "Storage", "connect"]


class Storage(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The servers of checkpoints and rows. An empty field is read from the environment; a server without an address is
    embedded and started on demand. Keys and passwords come from the environment only.
    """

    postgres_url: str = Field(
        default="",
        description="Address of the database, without a password (postgresql+psycopg2://USER@HOST:PORT/DATABASE). The "
        "password is that of TOUCHLINE_POSTGRES_URL where it names the same server.",
    )
    s3_endpoint: str = Field(default="", description="Address of the object store.")
    s3_bucket: str = Field(default="", description="Bucket for frames, checkpoints and reports.")
    s3_region: str = Field(default="", description="Region that requests are signed for.")
    patience_s: float | None = Field(default=None, description="Retry deadline for an unavailable server [s].")

    @field_validator("postgres_url")
    @classmethod
    def _without_secrets(cls, url: str) -> str:
        if url and without_secrets(url) != url:
            raise ValueError("expected a Postgres URL without password and options: Dagster's UI shows it")
        return url

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Raises BadInputError, before any step, if the run's config names other servers or models."""
        if context.run is not None:
            refuse_changed(context.run.run_config, own_fields(Settings.from_environment()))

    def connect(self) -> Connection:
        """The clients, created at the first call in this process. Raises ServiceError if a server is not available."""
        services = _services(self._settings())
        endpoints = services.start()
        # Embedded servers that died in the meantime are restarted.
        services.revive()
        return connect(endpoints)

    def _settings(self) -> Settings:
        """The environment's settings, overridden by the fields of this resource."""
        values = {name: getattr(self, name) for name in VARIABLES}
        given = {name: str(value) for name, value in values.items() if value not in ("", None)}
        if url := given.get("postgres_url"):
            given["postgres_url"] = _with_secrets(url, Settings.from_environment().postgres_url)
        return Settings.from_environment({**os.environ, **{VARIABLES[name]: value for name, value in given.items()}})


def _with_secrets(url: str, known: str) -> str:
    """`url` with the password and options of `known`, if both name the same server and user."""
    if not known:
        return url
    wanted = sa.make_url(url)
    full = sa.make_url(known).set(database=wanted.database)
    same = without_secrets(full.render_as_string(hide_password=False)) == url
    return full.render_as_string(hide_password=False) if same else url


_held: Final[list[tuple[Settings, LocalServices]]] = []
"""One `LocalServices` for each distinct settings of this process: each has a lock, an open file and an exit hook."""


def _services(settings: Settings) -> LocalServices:
    """The `LocalServices` of these settings in this process."""
    for known, services in _held:
        if known == settings:
            return services
    _held.append((settings, LocalServices(settings)))
    return _held[-1][1]
