"""Dagster's webserver as an ASGI app, the code server's socket, and the daemon's command.

Belongs here: what Dagster's command lines do inside, where Touchline has to do it in its own process. Starting and
ending the parts is in `touchline_cli/serve.py`, the guard before the app in `webapp/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dagster import DagsterInstance
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.types import ASGIApp

STATEMENT_TIMEOUT_MS: Final = 15_000
"""Longest statement of the webserver in the database, as `dagster-webserver` sets it [ms]."""
RECYCLE_S: Final = 3600
"""Age at which the webserver replaces a connection to the database, as `dagster-webserver` sets it [s]."""
OVERFLOW: Final = 20
"""Connections that the webserver opens beyond the one that it keeps, as `dagster-webserver` sets it."""
POLL_MS: Final = 2000
"""How often Dagster's pages ask for what is new [ms]."""
NOTEBOOKS: Final = ("/notebook", "/dagit/notebook")
"""Dagster's routes for notebooks."""


@contextmanager
def dagster_app(workspace: Path) -> Iterator[ASGIApp]:
    """Dagster's webserver as an ASGI app, on the instance of DAGSTER_HOME and the code that `workspace` names."""
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, RECYCLE_S, OVERFLOW)
        target = WorkspaceFileTarget(paths=[str(workspace)])
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            yield create_app_from_workspace_process_context(context, "", POLL_MS)


def code_server_answers(path: Path) -> bool:
    """Whether a code server listens on the Unix socket at `path`."""
    try:
        DagsterGrpcClient(socket=str(path)).ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True
