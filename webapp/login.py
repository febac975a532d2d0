"""Logging in: the address that carries the token, the page that asks for it, and the cookie that both set.

Belongs here: what `/login` answers. Who needs a login is in `guard.py`, what the token is in `token.py`.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from webapp.token import Access

PATH: Final = "/login"
REMEMBERED_S: Final = 30 * 24 * 3600
"""How long a browser stays logged in [s]."""
MOST_BYTES: Final = 4096
"""Bytes of a form that are read."""
SAFE: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    # Not "no-referrer": with that, browsers do not tell where a form comes from.
    "Referrer-Policy": "same-origin",
}

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
main { max-width: 26rem; margin: 18vh auto 0; padding: 0 1rem }
h1 { font-size: 1.4rem }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: .25rem 0 .75rem }
button { font: inherit; padding: .4rem 1.2rem }
[role=alert] { color: #c62828 }
"""
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{head}
<title>Touchline</title><style>{style}</style></head><body><main>{body}</main></body></html>
"""
_FORM: Final = """<h1>Touchline</h1>{fault}
<form method="post" action="{action}"><input type="hidden" name="next" value="{onward}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form>
<p><code>touchline serve</code> prints an address with the token when it runs at a terminal. The token is in the file
<code>token</code> in its home.</p>"""


async def answer(access: Access, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request to PATH."""
    request = Request(scope, receive)
    await (await _answer(access, request))(scope, receive, send)


async def _answer(access: Access, request: Request) -> Response:
    if request.method in ("GET", "HEAD"):
        given, onward_to = request.query_params.get("token"), request.query_params.get("next", "/")
    elif request.method == "POST":
        fields = await _form(request)
        if fields is None:
            return PlainTextResponse("Expected a form with the field token.\n", 400)
        given, onward_to = fields.get("token", ""), fields.get("next", "/")
    else:
        return PlainTextResponse("Log in by GET or POST.\n", 405)
    onward_to = _within(onward_to)
    if given is None:
        return HTMLResponse(page(onward_to), headers=SAFE)
    if not access.is_token(given.strip()):
        return HTMLResponse(page(onward_to, "This is not the token of this server."), 401, headers=SAFE)
    response = onward(onward_to)
    response.set_cookie(access.cookie, access.cookie_value, REMEMBERED_S, path="/", httponly=True, samesite="strict")
    return response


def page(onward_to: str, fault: str = "") -> str:
    """The page that asks for the token, and leads on to a path of this server."""
    told = f'<p role="alert">{escape(fault)}</p>' if fault else ""
    body = _FORM.format(fault=told, action=PATH, onward=escape(_within(onward_to)))
    return _PAGE.format(head="", style=_STYLE, body=body)


def onward(path: str) -> Response:
    """A page that leads on at once. A redirect would count as sent by whichever page the first address was on.

    Browsers keep no entry of it in their history.
    """
    target = escape(_within(path))
    head = f'<meta http-equiv="refresh" content="0;url={target}">'
    # The address that led here may hold the token.
    headers = {**SAFE, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(_PAGE.format(head=head, style=_STYLE, body=f'<a href="{target}">Continue</a>'), headers=headers)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form, the first of each; None if there is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _within(path: str) -> str:
    """A path of this server as it is, and / for everything that leads elsewhere."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    leads_out = parts.scheme or parts.netloc or not path.startswith("/") or path.startswith(("//", "/\\"))
    strange = any(ord(letter) < 32 or letter == "\\" for letter in path)
    return "/" if leads_out or strange or parts.path == PATH else path
