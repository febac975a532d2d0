"""Fields of Dagster resources that the UI shows and that no run may change.

Belongs here: which settings are shown, and the check of a run's config. The fields are described in `storage.py` and
`models.py`.
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
"""Environment variable of each field of `Storage`, by field name."""


def own_fields(settings: Settings) -> dict[str, dict[str, Any]]:
    """Values of the fields of the resources `storage` and `models`, by resource, without secrets."""
    storage = {name: getattr(settings, name) for name in VARIABLES}
    storage["postgres_url"] = without_secrets(settings.postgres_url)
    if "@" in settings.s3_endpoint:
        # The part before @ may be a key. An empty field is read from the environment.
        storage["s3_endpoint"] = ""
    return {
        "storage": storage,
        "models": {"yolo_weights": settings.yolo_weights, "yolo_sha256": settings.yolo_sha256},
    }


def refuse_changed(config: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises BadInputError if a run's config changes a resource other than `run_settings`.

    Dagster lets a run's config change any resource, and everyone with access to the UI can launch a run: it could send
    the keys to another server or load a local file. `own` has the values of `own_fields`, which the launchpad fills in.
    The error repeats no value.
    """
    for name, resource in (config.get("resources") or {}).items():
        for field, value in ((resource or {}).get("config") or {}).items():
            if name != "run_settings" and value not in ("", None, own.get(name, {}).get(field)):
                raise BadInputError(
                    f"resources.{name}.config.{field}: a run cannot change it; take it out of the run's config, and "
                    "set the server's environment instead"
                )


def without_secrets(url: str) -> str:
    """A database URL without password and options; empty if it is not a URL."""
    try:
        full = sa.make_url(url)
    except sa.exc.ArgumentError:
        return ""
    # `host` and `port` of a Unix socket are query parameters.
    query = {name: value for name, value in full.query.items() if name in ("host", "port")}
    shown = sa.URL.create(full.drivername, full.username, None, full.host, full.port, full.database, query)
    return shown.render_as_string(hide_password=False)
