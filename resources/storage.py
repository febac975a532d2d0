"""Database and object store as one Dagster resource, connected at first use.

Belongs here: what Dagster configures and shows. The clients are opened in `connection.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
import sqlalchemy as sa
from pydantic import Field, field_validator

from resources.connection import Connection, connect
from resources.local_services import LocalServices
from resources.settings import Settings
from touchline.errors import BadInputError

__all__ = ["Connection", "Storage", "addresses", "connect"]

VARIABLES: Final = {
    "postgres_url": "TOUCHLINE_POSTGRES_URL",
    "s3_endpoint": "TOUCHLINE_S3_ENDPOINT",
    "s3_bucket": "TOUCHLINE_S3_BUCKET",
    "s3_region": "TOUCHLINE_S3_REGION",
    "patience_s": "TOUCHLINE_PATIENCE_S",
}
"""The environment variable that each field stands for."""


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
        """Refuses, before any step, a run whose config leads to other servers."""
        if context.run is not None:
            refuse_redirected(context.run.run_config, addresses(Settings.from_environment()))

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


def refuse_redirected(config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuses a run's config that changes a resource other than `run_settings`.

    Dagster lets a run's config change the fields of any resource, and whoever can open its UI can start a run: it
    would take our keys to a server of theirs. `own`: the fields of `Storage` as the environment has them, with which
    the launchpad fills a config. Values are not repeated. Raises BadInputError.
    """
    for name, resource in (config.get("resources") or {}).items():
        for field, value in ((resource or {}).get("config") or {}).items():
            same = name == "storage" and value == own.get(field)
            if name != "run_settings" and value not in ("", None) and not same:
                raise BadInputError(
                    f"resources.{name}.config.{field}: a run cannot change it; take it out of the run's config, and "
                    "set the server's environment instead"
                )


def addresses(settings: Settings) -> dict[str, Any]:
    """The fields of a `Storage` with these settings: what of them may be shown."""
    return {
        **{name: getattr(settings, name) for name in VARIABLES},
        "postgres_url": without_secrets(settings.postgres_url),
    }


def without_secrets(url: str) -> str:
    """The address of a database without its password and options; empty for what is no address."""
    try:
        full = sa.make_url(url)
    except sa.exc.ArgumentError:
        return ""
    # A socket's folder is part of the address.
    query = {name: value for name, value in full.query.items() if name in ("host", "port")}
    shown = sa.URL.create(full.drivername, full.username, None, full.host, full.port, full.database, query)
    return shown.render_as_string(hide_password=False)


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
