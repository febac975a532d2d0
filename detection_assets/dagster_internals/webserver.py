"""Dagster's webserver as an ASGI app, and a ping of its code server.

Belongs here: what Dagster's commands do internally and Touchline does in its own process. `touchline_cli/serve.py`
starts and stops the processes; the guard in front of the app is in `webapp/`.
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
"""Longest duration of a webserver's statement in the database [ms]; the default of `dagster-webserver`."""
RECYCLE_S: Final = 3600
"""Age at which the webserver replaces a connection to the database [s]; the default of `dagster-webserver`."""
OVERFLOW: Final = 20
"""Connections of the webserver beyond the pooled one; the default of `dagster-webserver`."""
POLL_MS: Final = 2000
"""Interval at which Dagster's pages poll for updates [ms]."""
NOTEBOOKS: Final = ("/notebook", "/dagit/notebook")
"""Dagster's routes that render notebooks."""


@contextmanager
def dagster_app(workspace: Path) -> Iterator[ASGIApp]:
    """Dagster's webserver as an ASGI app, for the instance of DAGSTER_HOME and the code locations of `workspace`."""
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
