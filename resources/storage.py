"""Database and object store as one Dagster resource, connected at first use.

Belongs here: what Dagster configures and shows. The clients are opened in `connection.py`.
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
    """Where checkpoints and rows live. What is empty is as the environment says; a server without an address is
    embedded, and started on demand. Keys and passwords are taken from the environment alone.
    """

    postgres_url: str = Field(
        default="",
        description="Address of the database, without a password (postgresql+psycopg2://USER@HOST:PORT/DATABASE). The "
        "password is that of TOUCHLINE_POSTGRES_URL where it names the same server.",
    )
    s3_endpoint: str = Field(default="", description="Address of the object store.")
    s3_bucket: str = Field(default="", description="Bucket for frames, checkpoints and reports.")
    s3_region: str = Field(default="", description="Region that requests are signed for.")
    patience_s: float | None = Field(default=None, description="How long a server that is away is waited for [s].")

    @field_validator("postgres_url")
    @classmethod
    def _without_secrets(cls, url: str) -> str:
        if url and without_secrets(url) != url:
            raise ValueError("expected an address of Postgres with nothing secret in it: Dagster's UI shows it")
        return url

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuses, before any step, a run whose config leads to other servers or models."""
        if context.run is not None:
            refuse_changed(context.run.run_config, own_fields(Settings.from_environment()))

    def connect(self) -> Connection:
        """The clients, opened at the first call in this process. Raises ServiceError if a server cannot be had."""
        services = _services(self._settings())
        endpoints = services.start()
        # Servers that died meanwhile are brought back for whoever asks again.
        services.revive()
        return connect(endpoints)

    def _settings(self) -> Settings:
        """The environment's settings with what the fields change of them."""
        values = {name: getattr(self, name) for name in VARIABLES}
        given = {name: str(value) for name, value in values.items() if value not in ("", None)}
        if url := given.get("postgres_url"):
            given["postgres_url"] = _with_secrets(url, Settings.from_environment().postgres_url)
        return Settings.from_environment({**os.environ, **{VARIABLES[name]: value for name, value in given.items()}})


def _with_secrets(url: str, known: str) -> str:
    """An address with the password and options of a `known` one on the same server, for the same user."""
    if not known:
        return url
    wanted = sa.make_url(url)
    full = sa.make_url(known).set(database=wanted.database)
    same = without_secrets(full.render_as_string(hide_password=False)) == url
    return full.render_as_string(hide_password=False) if same else url


_held: Final[list[tuple[Settings, LocalServices]]] = []
"""Whoever holds the servers has a lock, an open file and an exit hook: one a process for each home it is told of."""


def _services(settings: Settings) -> LocalServices:
    """The holder of these settings' servers in this process."""
    for known, services in _held:
        if known == settings:
            return services
    _held.append((settings, LocalServices(settings)))
    return _held[-1][1]
