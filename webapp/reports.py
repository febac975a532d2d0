"""Reports of jobs, out of the object store: what Dagster's pages link to.

Belongs here: `/detection/reports/{job}/{file}`. Who may ask is decided in `guard.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from detection_assets.metadata.report_links import OWN, path_of
from touchline.errors import CheckpointError, TouchlineError
from touchline.report.files import REPORT_FILES

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
}
HEADERS: Final = {
    # A report holds text out of videos: whatever it is, it runs nothing, sends nothing and is of no origin.
    "Content-Security-Policy": "sandbox allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    # A job's report does not change, but it can be forgotten.
    "Cache-Control": "private, no-cache",
}

Read = Callable[[str], bytes]
"""An object of the bucket by its key. Raises CheckpointError if there is none, ServiceError if it cannot be had."""


def routes(read: Read) -> list[Route]:
    """The routes under `/detection`."""

    async def report(request: Request) -> Response:
        job, name = request.path_params["job"], request.path_params["name"]
        try:
            known = str(UUID(job)) == job and name in REPORT_FILES
        except ValueError:
            known = False
        if not known:
            return PlainTextResponse(f"Expected a job's id and one of {', '.join(REPORT_FILES)}.\n", 404)
        try:
            content = await run_in_threadpool(read, f"reports/{job}/{name}")
        except CheckpointError:
            return PlainTextResponse(f"Job {job} has no {name}: it is not finished, or it was forgotten.\n", 404)
        except TouchlineError as error:
            return PlainTextResponse(f"{name} of job {job} cannot be read now: {error}\n", 503)
        suffix = PurePosixPath(name).suffix
        # Spreadsheets are saved under the job's name; the others are looked at.
        shown = {} if suffix != ".csv" else {"Content-Disposition": f'attachment; filename="{job}-{name}"'}
        return Response(content, headers={**HEADERS, **shown}, media_type=TYPES[suffix])

    return [Route(path_of("{job}", "{name}").removeprefix(OWN), report, methods=["GET"])]
