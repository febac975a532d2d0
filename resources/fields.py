"""The fields of resources that Dagster's UI shows, and that no run changes.

Belongs here: what of the environment's settings may be shown, and refusing a run that would change it. What the fields
mean stands at the resources: `storage.py` and `models.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from resources.settings import Settings
from touchline.errors import BadInputError

VARIABLES: Final = {
    "postgres_url": "TOUCHLINE_POSTGRES_URL",
    "s3_endpoint": "TOUCHLINE_S3_ENDPOINT",
    "s3_bucket": "TOUCHLINE_S3_BUCKET",
    "s3_region": "TOUCHLINE_S3_REGION",
    "patience_s": "TOUCHLINE_PATIENCE_S",
}
"""The environment variable that each field of `Storage` stands for."""


def own_fields(settings: Settings) -> dict[str, dict[str, Any]]:
    """The fields of the resources `storage` and `models` with these settings, by resource: no secret among them."""
    storage = {name: getattr(settings, name) for name in VARIABLES}
    storage["postgres_url"] = without_secrets(settings.postgres_url)
    if "@" in settings.s3_endpoint:
        # Whatever stands before it may be a key; what is empty is taken from the environment.
        storage["s3_endpoint"] = ""
    return {
        "storage": storage,
        "models": {"yolo_weights": settings.yolo_weights, "yolo_sha256": settings.yolo_sha256},
    }


def refuse_changed(config: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a run's config that changes a resource other than `run_settings`.

    Dagster lets a run's config change the fields of any resource, and whoever can open its UI can start a run: it
    would take our keys to a server of theirs, or load a file of ours. `own`: as `own_fields`, with which the launchpad
    fills a config. Values are not repeated. Raises BadInputError.
    """
    for name, resource in (config.get("resources") or {}).items():
        for field, value in ((resource or {}).get("config") or {}).items():
            if name != "run_settings" and value not in ("", None, own.get(name, {}).get(field)):
                raise BadInputError(
                    f"resources.{name}.config.{field}: a run cannot change it; take it out of the run's config, and "
                    "set the server's environment instead"
                )


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
