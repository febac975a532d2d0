"""The guard before everything that a browser can reach: an ASGI app around another.

Belongs here: which requests pass. Any web page that is open in a browser can send requests to this machine, and so
can every user of it; browsers tell where a request comes from, and only whoever has the token gets in.

- `Host` must be a name of ours: else a page of another site could have its name resolved to this machine.
- What changes something (every method but GET and HEAD, every WebSocket) and all of `/graphql` must come from our own
  pages: `Sec-Fetch-Site` and `Origin`, if sent, must say so. "same-site" does not tell ports apart.
- Everything but the login page needs the token: as a bearer, or as the cookie that a login sets. A request that
  changes something and tells no origin is no browser's: it needs the bearer.
- `/graphql` takes queries as JSON by POST. GET shows its page, and what is asked for in the address is not executed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp import login
from webapp.token import Access

READS: Final = frozenset({"GET", "HEAD"})
GRAPHQL: Final = "graphql"
ONCE: Final = ("host", "origin", "sec-fetch-site", "content-type", "authorization")
"""Headers that may be there once at most: of two, another program might believe the other one."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 (compared, not bound)
HEADERS: Final = {
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""On every answer that does not set them itself: nobody frames our pages or includes them in another."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not pass: an HTTP status and a sentence."""

    status: int
    sentence: str


class Hosts:
    """The names under which this server may be asked for: loopback, the address listened on, and what was added.

    Where it listens on every address, this machine's own name and every address written as a number count too: a name
    can be made to lead here, a number cannot.
    """

    def __init__(self, listening: str, more: Iterable[str] = ()) -> None:
        self._names = LOOPBACK | {_bare(name) for name in more}
        self._numbers = listening in EVERYWHERE
        if self._numbers:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        else:
            self._names |= {_bare(listening)}

    def knows(self, netloc: str) -> bool:
        """Whether a Host header, with or without a port, names this server."""
        try:
            name = (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or (self._numbers and _is_number(name))


class Guard:
    """Passes on to `app` what may pass, answers the rest."""

    def __init__(self, app: ASGIApp, access: Access, hosts: Hosts) -> None:
        self._app, self._access, self._hosts = app, access, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._stranger(scope, headers)
        if refusal is None and scope["type"] == "http" and scope["path"] == login.PATH:
            await login.answer(self._access, scope, receive, _hardened(send))
            return
        refusal = refusal or self._unknown(scope, headers) or _malformed(scope, headers)
        if refusal is not None:
            await _refuse(refusal, scope, headers, receive, send)
            return
        if _is_graphql(scope) and scope.get("method") in READS:
            scope = {**scope, "query_string": b""}
        await self._app(scope, receive, _hardened(send) if scope["type"] == "http" else send)

    def _stranger(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Refuses what was sent to another name than ours, or by another page than ours."""
        twice = [name for name in ONCE if len(headers.getlist(name)) > 1]
        if twice:
            return Refusal(400, f"The header {twice[0]} was sent more than once.")
        host = headers.get("host", "")
        if not self._hosts.knows(host):
            return Refusal(
                403,
                f"This server is not known as {host[:200]!r}. Use the address that `touchline serve` printed, or add "
                "the name to TOUCHLINE_HOSTS.",
            )
        if not _changes(scope) and not _is_graphql(scope):
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None and site not in ("same-origin", "none"):
            return Refusal(403, f"This request comes from another site's page (Sec-Fetch-Site: {site[:50]}).")
        if origin is not None and not _is_ours(origin, host):
            return Refusal(403, f"This request comes from another site's page (Origin: {origin[:200]}).")
        return None

    def _unknown(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Refuses whoever did not log in."""
        if self._access.bears(headers.get("authorization")):
            return None
        if not self._access.remembers(headers.get("cookie")):
            return Refusal(
                401,
                "Log in first: open the address that `touchline serve` prints at a terminal, or send the header "
                "`Authorization: Bearer TOKEN`.",
            )
        if _changes(scope) and "origin" not in headers and "sec-fetch-site" not in headers:
            return Refusal(
                403, "This request does not tell which page sent it. Scripts send `Authorization: Bearer TOKEN`."
            )
        return None


def _malformed(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuses ways into GraphQL that Dagster knows and its pages do not use."""
    if scope["type"] != "http" or not _is_graphql(scope):
        return None
    if scope["method"] in READS:
        if "text/html" not in headers.get("accept", ""):
            return Refusal(405, "GraphQL is asked by POST with a JSON body; GET only shows its page.")
    elif scope["method"] == "POST":
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return Refusal(415, f"Expected Content-Type: application/json, got {kind[:100] or 'none'}.")
    return None


def _changes(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in READS


def _is_graphql(scope: Scope) -> bool:
    return str(scope["path"]).strip("/").lower() == GRAPHQL


def _is_ours(origin: str, host: str) -> bool:
    """Whether an Origin is that of our own pages, which have been asked for under the same name and port."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _bare(name: str) -> str:
    return name.strip().lower().strip("[]").rstrip(".")


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _hardened(send: Send) -> Send:
    """Adds HEADERS to an answer."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return add


async def _refuse(refusal: Refusal, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
    response: Response = PlainTextResponse(refusal.sentence + "\n", refusal.status)
    if scope["type"] == "websocket":
        await _close(response, scope, receive, send)
        return
    if refusal.status == 401:
        if _is_page(scope, headers):
            response = _login_page(scope, headers)
        response.headers["WWW-Authenticate"] = 'Bearer realm="touchline"'
    response.headers["Cache-Control"] = "no-store"
    await response(scope, receive, _hardened(send))


async def _close(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
        await send(start)
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": 1008})


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks for a page to show."""
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")


def _login_page(scope: Scope, headers: Headers) -> Response:
    query = scope["query_string"].decode("latin-1")
    path = quote(scope["path"]) + (f"?{query}" if query else "")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") == "navigate":
        # Somebody followed a link of another page: the browser keeps the cookie back. From our own page it sends it.
        return login.onward(path)
    return HTMLResponse(login.page(path), 401, headers=login.SAFE)
