"""The Dagster webserver of `touchline serve`: finding it, and launching and terminating runs through it.

Belongs here: a command's requests to the webserver. `serve.py` starts and ends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from detection_assets.dagster_internals.tags import PARTITION_TAG
from resources.settings import Settings
from touchline.errors import BadInputError, ServiceError
from touchline_cli.serving import is_served
from webapp.token import known_token

FILE: Final = "serve.json"
"""Name of the file in the home that has the webserver's address and the PID of a running `touchline serve`."""


def address(host: str, port: int) -> str:
    """The address at which a webserver that listens on `host` is reached from this machine."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 (compared, not bound)
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def announced(home: Path, host: str, port: int) -> Iterator[str]:
    """Writes the webserver's address into the home while the block runs; yields the address."""
    url = address(host, port)
    path = home / FILE
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", "utf-8")
    draft.replace(path)
    try:
        yield url
    finally:
        path.unlink(missing_ok=True)


def find(home: Path, given: str | None) -> str | None:
    """The address of a webserver that answers: the given one, else that of the home's `touchline serve`, if any.

    Raises BadInputError if the given one is not an address or does not answer. The address of a killed `touchline
    serve` is ignored.
    """
    if given is not None:
        if urlsplit(given).scheme not in ("http", "https"):
            raise BadInputError(f"--server {given}: expected an address such as http://127.0.0.1:3000")
        if not _answers(given):
            raise BadInputError(f"--server {given}: no Dagster webserver answers there; `touchline serve` starts one")
        return given.rstrip("/")
    url = _announced(home) if is_served(home) else None
    return url if url and _answers(url) else None


class Webserver:
    """Launches runs of the job as the launchpad does: they are queued until the daemon starts them."""

    def __init__(self, url: str) -> None:
        from dagster_graphql import DagsterGraphQLClient

        parts = urlsplit(url)
        self._url = url
        self._client = DagsterGraphQLClient(
            parts.hostname or "",
            port_number=parts.port,
            use_https=parts.scheme == "https",
            path_prefix=parts.path,
            headers=authorization(url),
        )

    def launch(
        self, job: str, assets: Sequence[str], partition_key: str, config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Launches a run of some assets on one partition. Returns its id. Raises ServiceError if it is refused."""
        from dagster_graphql import DagsterGraphQLClientError

        try:
            return self._client.submit_job_execution(
                job,
                run_config=config,
                tags={**tags, PARTITION_TAG: partition_key},
                asset_selection=list(assets),
            )
        except DagsterGraphQLClientError as error:
            cause = error.__cause__ or error
            raise ServiceError(f"{self._url} did not launch a run of {partition_key}: {cause}") from error

    def terminate(self, run_id: str) -> bool:
        """Terminates a run. Returns False if the webserver did not launch it, or if it has ended."""
        from dagster_graphql import DagsterGraphQLClientError

        try:
            self._client.terminate_run(run_id)
        except DagsterGraphQLClientError:
            return False
        return True


def authorization(url: str) -> dict[str, str]:
    """The header with the token for a webserver; empty without a token.

    The home's own token is sent only to its own `touchline serve`; other addresses get the environment's token.
    """
    settings = Settings.from_environment()
    own = is_served(settings.home) and url.rstrip("/") == _announced(settings.home)
    token = known_token(settings) if own or settings.token or settings.token_file else ""
    return {"Authorization": f"Bearer {token}"} if token else {}


def version_of(url: str, headers: Mapping[str, str], timeout_s: float) -> str:
    """The version of Dagster of a webserver, by GraphQL; empty if the response has none.

    Raises HTTPError, URLError or OSError if it does not answer, ValueError if the response is not JSON.
    """
    request = Request(  # noqa: S310 (http or https)
        f"{url.rstrip('/')}/graphql",
        json.dumps({"query": "query Version { version }"}).encode(),
        {**headers, "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 (http or https)
        response = json.load(answer)
    data = response.get("data") if isinstance(response, dict) else None
    return str(data["version"]) if isinstance(data, dict) and data.get("version") else ""


def _announced(home: Path) -> str | None:
    try:
        return str(json.loads((home / FILE).read_text("utf-8"))["url"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{home / FILE} cannot be read ({error}); remove it, or give --server") from error


def _answers(url: str) -> bool:
    try:
        return bool(version_of(url, authorization(url), timeout_s=5))
    except HTTPError as error:
        if error.code == 401:
            raise BadInputError(
                f"{url} requires a token: set TOUCHLINE_TOKEN to the token of that `touchline serve`"
            ) from error
        return False
    except (URLError, OSError, ValueError):
        return False
