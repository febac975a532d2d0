"""Dagster's pages and Touchline's own as one ASGI app behind the guard.

Belongs here: putting them together, and the one place that knows how Dagster's webserver is made. That is no promised
interface of Dagster's: `tests/integration/test_serve_once.py` asks whether it still is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from detection_assets.metadata.report_links import OWN
from webapp import reports
from webapp.guard import Guard, Hosts
from webapp.token import Access

STATEMENT_TIMEOUT_MS: Final = 15_000
RECYCLE_S: Final = 3600
OVERFLOW: Final = 20
"""What `dagster-webserver` uses for its connections to the database."""
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


def guarded(dagster: ASGIApp, read: reports.Read, access: Access, hosts: Hosts) -> ASGIApp:
    """Everything on one port: `/detection` is Touchline's, all else Dagster's, and the guard is before both.

    Not Dagster's notebooks: that page shows any file of the server's whose path is in the address.
    """
    routes = [Mount(OWN, routes=reports.routes(read))]
    closed = [Route(path, _no_notebooks) for path in NOTEBOOKS]
    return Guard(Starlette(routes=[*routes, *closed, Mount("/", app=dagster)]), access, hosts)


async def _no_notebooks(_request: Request) -> Response:
    return PlainTextResponse("Notebooks are not shown here: their address names a file of the server's.\n", 404)
