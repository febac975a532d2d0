"""The web server of `touchline serve`: `python -m webapp`, on a socket that its parent listens on.

Belongs here: what this one process opens. The socket is the parent's, so that a restart loses neither the port nor
whoever is waiting.
"""

from __future__ import annotations

import argparse
import logging
import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

import uvicorn

from detection_assets.dagster_internals.webserver import dagster_app
from resources.object_store import ObjectStore
from resources.settings import Settings
from webapp.app import guarded
from webapp.guard import Hosts
from webapp.reports import Read
from webapp.token import Access, token_of

GRACE_S: Final = 3
"""How long open pages are waited for at the end [s]: a subscription never ends by itself."""
REFUSED: Final = "ASGI callable returned without completing handshake"
PATIENCE_S: Final = 10.0
"""How long whoever looks at a report waits for a server that is away [s]."""


def main() -> None:
    """Serves until SIGTERM."""
    options = _options()
    listening = socket.socket(fileno=options.fd)
    settings = Settings.from_environment()
    access = Access(token_of(settings), listening.getsockname()[1])
    hosts = Hosts(options.host, settings.hosts)
    logging.getLogger("dagster").setLevel(logging.WARNING)
    with dagster_app(options.workspace) as dagster:
        app = guarded(dagster, _reader(settings), access, hosts)
        # No log of requests: addresses may hold the token.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, proxy_headers=False
        )
        # Said of every WebSocket that the guard refuses with a sentence; strangers must not fill the terminal by it.
        logging.getLogger("uvicorn.error").addFilter(lambda record: REFUSED not in record.getMessage())
        uvicorn.Server(config).run(sockets=[listening])


def _reader(settings: Settings) -> Read:
    """Reads objects with a client of its own, opened at the first question, that gives up soon."""

    @lru_cache(1)
    def store() -> ObjectStore:
        return ObjectStore(
            settings.s3_endpoint,
            settings.s3_bucket,
            settings.s3_region,
            settings.s3_access_key_id,
            settings.s3_secret_access_key,
            session_token=settings.s3_session_token,
            retry_s=PATIENCE_S,
        )

    return lambda key: store().get(key)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m webapp", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--host", required=True, help="the address it was told to listen on")
    parser.add_argument("--workspace", type=Path, required=True, help="workspace.yaml of the code to load")
    return parser.parse_args()


if __name__ == "__main__":
    main()
