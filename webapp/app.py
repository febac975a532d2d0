"""Dagster's pages and Touchline's own as one ASGI app behind the guard.

Belongs here: putting them together, and the one place that knows how Dagster's webserver is made. That is no promised
interface of Dagster's: `tests/integration/test_serve_once.py` asks whether it still is what it was.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from detection_assets.dagster_internals.webserver import NOTEBOOKS
from detection_assets.metadata.report_links import OWN
from webapp import reports
from webapp.guard import Guard, Hosts
from webapp.token import Access


def guarded(dagster: ASGIApp, read: reports.Read, access: Access, hosts: Hosts) -> ASGIApp:
    """Everything on one port: `/detection` is Touchline's, all else Dagster's, and the guard is before both.

    Not Dagster's notebooks: that page shows any file of the server's whose path is in the address.
    """
    routes = [Mount(OWN, routes=reports.routes(read))]
    closed = [Route(path, _no_notebooks) for path in NOTEBOOKS]
    return Guard(Starlette(routes=[*routes, *closed, Mount("/", app=dagster)]), access, hosts)


async def _no_notebooks(_request: Request) -> Response:
    return PlainTextResponse("Notebooks are not shown here: their address names a file of the server's.\n", 404)
