"""Who gets past the guard: every rule over a real server, around an app that says what reached it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets.sync.client
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from websockets.exceptions import InvalidStatus

from resources.settings import Settings
from touchline.errors import BadInputError, CheckpointError, ServiceError
from webapp.app import guarded
from webapp.guard import Guard, Hosts
from webapp.login import _within
from webapp.token import FILE, Access, known_token, token_of, without_token

TOKEN = "a-token-of-the-tests"
JOB = "7b1f0a52-58f5-4d0e-9c4e-3c4f6a9d2e11"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what reached it."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "reached"})
        await send({"type": "websocket.close", "code": 1000})
        return
    told = f"reached {scope['method']} {scope['path']} [{scope['query_string'].decode()}]"
    await PlainTextResponse(told)(scope, receive, send)


def read(key: str) -> bytes:
    """An object store with one report, which holds a script, and one that is away."""
    if key.startswith(f"reports/{JOB}/"):
        return b"<script>alert(1)</script>"
    if key.startswith("reports/00000000"):
        raise ServiceError("the object store is away")
    raise CheckpointError(f"{key}: there is nothing")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    number = int(listening.getsockname()[1])
    app = guarded(echo, read, Access(TOKEN, number), Hosts("127.0.0.1", ["proxy.example"]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield number
    server.should_exit = True
    thread.join()


Answer = tuple[int, str, http.client.HTTPMessage]


def ask(port: int, method: str, path: str, *headers: tuple[str, str], body: str = "") -> Answer:
    """Status, text and headers. {port} in a header is the server's; Host is its address unless it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    named = [(name, value.replace("{port}", str(port))) for name, value in headers]
    if not any(name == "Host" for name, _ in named):
        named.append(("Host", f"127.0.0.1:{port}"))
    for name, value in [*named, ("Content-Length", str(len(body)))]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def cookie(port: int) -> tuple[str, str]:
    access = Access(TOKEN, port)
    return "Cookie", f"other=1; {access.cookie}={access.cookie_value}"


BEARER = ("Authorization", f"Bearer {TOKEN}")
JSON = ("Content-Type", "application/json")
OURS = ("Origin", "http://127.0.0.1:{port}")
HTML = ("Accept", "text/html")
PASSES: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    ("a page", "GET", "/runs", []),
    ("a page asked for from another site's link", "GET", "/runs", [("Sec-Fetch-Site", "cross-site")]),
    ("localhost", "GET", "/runs", [("Host", "localhost:{port}")]),
    ("a proxy's name that was added", "GET", "/runs", [("Host", "proxy.example")]),
    ("a proxy's name in capitals", "GET", "/runs", [("Host", "PROXY.example.:443")]),
    ("a query of our page", "POST", "/graphql", [JSON, OURS, ("Sec-Fetch-Site", "same-origin")]),
    ("a query of our page where Sec-Fetch is left out", "POST", "/graphql", [JSON, OURS]),
    (
        "a query of our page behind a proxy",
        "POST",
        "/graphql",
        [JSON, ("Host", "proxy.example"), ("Origin", "https://proxy.example")],
    ),
    ("the page of GraphQL", "GET", "/graphql", [HTML, ("Sec-Fetch-Site", "none")]),
    ("a change by our page", "POST", "/report_asset_materialization/a", [OURS]),
]
REFUSED: list[tuple[str, str, str, list[tuple[str, str]], int, str]] = [
    ("another host", "GET", "/runs", [("Host", "evil.example")], 403, "not known as 'evil.example'"),
    ("another host with our port", "GET", "/runs", [("Host", "evil.example:{port}")], 403, "TOUCHLINE_HOSTS"),
    ("a number that is not listened on", "GET", "/runs", [("Host", "10.0.0.1")], 403, "not known"),
    ("no host", "GET", "/runs", [("Host", "")], 403, "not known"),
    ("a broken host", "GET", "/runs", [("Host", "[")], 403, "not known"),
    ("two hosts", "GET", "/runs", [("Host", "localhost"), ("Host", "evil.example")], 400, "more than once"),
    ("two origins", "POST", "/graphql", [JSON, OURS, ("Origin", "http://evil.example")], 400, "more than once"),
    ("a foreign origin", "POST", "/graphql", [JSON, ("Origin", "http://evil.example")], 403, "another site's"),
    ("another port of ours", "POST", "/graphql", [JSON, ("Origin", "http://127.0.0.1:1")], 403, "another site's"),
    ("another name of ours", "POST", "/graphql", [JSON, ("Origin", "http://localhost:{port}")], 403, "another site's"),
    ("a sandboxed page", "POST", "/graphql", [JSON, ("Origin", "null")], 403, "another site's"),
    ("a file", "POST", "/graphql", [JSON, ("Origin", "file://127.0.0.1:{port}")], 403, "another site's"),
    ("a broken origin", "POST", "/graphql", [JSON, ("Origin", "http://[")], 403, "another site's"),
    ("another site", "POST", "/graphql", [JSON, OURS, ("Sec-Fetch-Site", "cross-site")], 403, "another site's"),
    ("the same site", "POST", "/graphql", [JSON, OURS, ("Sec-Fetch-Site", "same-site")], 403, "another site's"),
    ("GraphQL's page from a link", "GET", "/graphql", [HTML, ("Sec-Fetch-Site", "cross-site")], 403, "another site's"),
    ("another method", "DELETE", "/anything", [("Sec-Fetch-Site", "cross-site")], 403, "another site's"),
    ("a preflight", "OPTIONS", "/graphql", [("Origin", "http://evil.example")], 403, "another site's"),
    ("text", "POST", "/graphql", [OURS, ("Content-Type", "text/plain")], 415, "got text/plain"),
    ("text that names JSON", "POST", "/graphql", [OURS, ("Content-Type", "text/plain; application/json")], 415, "JSON"),
    ("a form", "POST", "/graphql", [OURS, ("Content-Type", "application/x-www-form-urlencoded")], 415, "expected"),
    ("GraphQL's own type", "POST", "/graphql", [OURS, ("Content-Type", "application/graphql")], 415, "expected"),
    ("no type", "POST", "/graphql?query=mutation", [OURS], 415, "got none"),
    ("a mutation by GET", "GET", "/graphql?query=mutation", [], 405, "by POST"),
    ("a mutation by GET of an odd path", "GET", "//GraphQL/?query=mutation", [], 405, "by POST"),
    ("a change that tells no origin", "POST", "/report_asset_materialization/a", [], 403, "which page sent it"),
]


@pytest.mark.parametrize(("method", "path", "headers"), [p[1:] for p in PASSES], ids=[p[0] for p in PASSES])
def test_our_own_pages_pass_and_without_a_token_nothing_does(
    port: int, method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    for proof in (cookie(port), BEARER):
        status, text, answered = ask(port, method, path, *headers, proof)
        assert (status, text) == (200, f"reached {method} {path} []")
        assert answered["X-Frame-Options"] == "SAMEORIGIN"
        assert answered["Cross-Origin-Resource-Policy"] == "same-origin"
    other = Access("another-token-of-tests", port)
    for wrong in ((), (("Authorization", "Bearer x"),), (("Cookie", f"{other.cookie}={other.cookie_value}"),)):
        status, text, answered = ask(port, method, path, *headers, *wrong)
        assert status == 401 and "reached" not in text
        assert answered["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "why"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_no_page_of_ours_sends_is_refused_though_the_browser_is_logged_in(
    port: int, method: str, path: str, headers: list[tuple[str, str]], status: int, why: str
) -> None:
    found, text, _ = ask(port, method, path, *headers, cookie(port))
    assert found == status and why.lower() in text.lower()
    assert text.count("\n") == 1 and text.endswith(".\n")


def test_a_script_with_the_token_needs_no_origin_and_a_foreign_one_is_refused_all_the_same(port: int) -> None:
    assert ask(port, "POST", "/graphql", JSON, BEARER)[0] == 200
    assert ask(port, "POST", "/graphql", JSON, BEARER, ("Origin", "http://evil.example"))[0] == 403


def test_graphql_page_gets_nothing_of_what_its_address_asks(port: int) -> None:
    assert ask(port, "GET", "/graphql?query=mutation", HTML, BEARER)[1] == "reached GET /graphql []"


SOCKETS = [
    ("our page", [OURS], True, 0),
    ("a script", [], False, 0),
    ("a foreign page", [("Origin", "http://evil.example")], True, 403),
    ("another port", [("Origin", "http://127.0.0.1:1")], True, 403),
    ("no origin, with the cookie", [], True, 403),
    ("nobody known", [OURS], None, 401),
]


@pytest.mark.parametrize(("headers", "by_cookie", "status"), [s[1:] for s in SOCKETS], ids=[s[0] for s in SOCKETS])
def test_a_websocket_is_held_to_the_same_rules(
    port: int, headers: list[tuple[str, str]], by_cookie: bool | None, status: int
) -> None:
    proof = {None: [], True: [cookie(port)], False: [BEARER]}[by_cookie]
    named = {name: value.replace("{port}", str(port)) for name, value in [*headers, *proof]}
    url = f"ws://127.0.0.1:{port}/graphql"
    if status == 0:
        with websockets.sync.client.connect(url, additional_headers=named, proxy=None, open_timeout=60) as opened:
            assert opened.recv() == "reached"
        return
    with pytest.raises(InvalidStatus) as error:
        websockets.sync.client.connect(url, additional_headers=named, proxy=None, open_timeout=60)
    assert error.value.response.status_code == status
    assert error.value.response.body.endswith(b".\n")


def test_the_address_with_the_token_logs_in_and_the_token_leaves_the_address(port: int) -> None:
    status, text, answered = ask(port, "GET", f"/login?token={TOKEN}&next=/runs%3Fa%3D1")
    assert status == 200 and 'content="0;url=/runs?a=1"' in text and TOKEN not in text
    assert (answered["Referrer-Policy"], answered["Cache-Control"]) == ("no-referrer", "no-store")
    pair, *flags = [part.strip() for part in answered["Set-Cookie"].split(";")]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(flags)
    # Another port is another server, and the cookie is not the token.
    assert pair.startswith(f"touchline-{port}=") and TOKEN not in pair
    assert ask(port, "GET", "/runs", ("Cookie", pair))[1] == "reached GET /runs []"


def test_the_page_asks_for_the_token_and_leads_on_to_where_one_wanted_to_go(port: int) -> None:
    status, text, answered = ask(port, "GET", '/runs?a="><b>', HTML)
    assert status == 401 and 'value="/runs?a=&quot;&gt;&lt;b&gt;"' in text
    assert answered["Content-Security-Policy"].startswith("default-src 'none'")
    form = ("Content-Type", "application/x-www-form-urlencoded")
    status, text, answered = ask(port, "POST", "/login", form, OURS, body=f"token={TOKEN}&next=/runs")
    assert status == 200 and 'url=/runs"' in text and "Set-Cookie" in answered
    status, text, answered = ask(port, "POST", "/login", form, OURS, body="token=wrong&next=//evil.example")
    assert status == 401 and "not the token" in text and "evil" not in text and "Set-Cookie" not in answered
    assert ask(port, "POST", "/login", form, ("Origin", "http://evil.example"), body=f"token={TOKEN}")[0] == 403
    assert ask(port, "POST", "/login", JSON, body="{}")[0] == 400
    assert ask(port, "POST", "/login", form, body=f"token={TOKEN}" + "x" * 5000)[0] == 400
    assert ask(port, "DELETE", "/login")[0] == 405


def test_a_link_followed_on_another_site_is_asked_for_again_by_our_own_page(port: int) -> None:
    followed = [HTML, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]
    status, text, answered = ask(port, "GET", "/runs/1?x=2", *followed)
    assert status == 200 and 'content="0;url=/runs/1?x=2"' in text and "Set-Cookie" not in answered
    status, text, _ = ask(port, "GET", "/runs/1?x=2", HTML, ("Sec-Fetch-Site", "same-origin"))
    assert status == 401 and "<form" in text


@pytest.mark.parametrize(
    "path",
    [
        "http://evil.example",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "",
        "/login?x",
        "/a\nb",
        "https:/x",
        "/[",
        "//[",
    ],
)
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert _within(path) in ("/", "/[")


def test_a_report_is_served_to_whoever_is_logged_in_and_can_do_nothing(port: int) -> None:
    kinds = {"report.html": "text/html", "report.json": "application/json", "summary.csv": "text/csv"}
    for name, kind in {**kinds, "exposures.csv": "text/csv"}.items():
        assert ask(port, "GET", f"/detection/reports/{JOB}/{name}")[0] == 401
        status, text, answered = ask(port, "GET", f"/detection/reports/{JOB}/{name}", cookie(port))
        assert (status, text) == (200, "<script>alert(1)</script>")
        assert answered["Content-Type"].startswith(kind)
        policy = answered["Content-Security-Policy"]
        assert policy.startswith("sandbox ") and "default-src 'none'" in policy and "allow-scripts" not in policy
        assert answered["X-Content-Type-Options"] == "nosniff" and answered["X-Frame-Options"] == "DENY"
    assert ask(port, "GET", f"/detection/reports/{JOB[:-1]}2/report.html", BEARER)[0] == 404
    away = "00000000-0000-4000-8000-000000000000"
    assert ask(port, "GET", f"/detection/reports/{away}/report.html", BEARER)[0] == 503
    for path in (f"{JOB}/other.html", f"{JOB.upper()}/report.html", "x/report.html", f"{JOB}/..%2fx", "../../token"):
        status, text, _ = ask(port, "GET", f"/detection/reports/{path}", BEARER)
        assert "<script>" not in text
        assert status == 404 or text.startswith("reached")
    assert ask(port, "POST", f"/detection/reports/{JOB}/report.html", BEARER)[0] == 405


def test_hosts_are_numbers_and_own_names_where_every_address_is_listened_on() -> None:
    everywhere = Hosts("0.0.0.0")  # noqa: S104 (nothing listens)
    assert everywhere.knows("192.168.1.5:3000") and everywhere.knows("[fe80::1]:3000")
    assert everywhere.knows(f"{socket.gethostname()}:3000") and not everywhere.knows("evil.example:3000")
    assert Hosts("::1").knows("[::1]:3000") and not Hosts("::1").knows("[::2]:3000")
    assert Hosts("Box.Lan").knows("box.lan")


def test_the_token_is_made_once_for_its_owner_alone_and_another_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(**more: str) -> Settings:
        return Settings.from_environment({"TOUCHLINE_HOME": str(tmp_path), **more})

    assert known_token(settings()) == ""
    made = token_of(settings())
    file = tmp_path / FILE
    assert len(made) > 40 and token_of(settings()) == known_token(settings()) == made
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert token_of(settings()) == made and file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.write_text(f" {TOKEN} \n")
    assert token_of(settings(TOUCHLINE_TOKEN_FILE=str(other))) == TOKEN
    assert token_of(settings(TOUCHLINE_TOKEN=TOKEN, TOUCHLINE_TOKEN_FILE="/nowhere")) == TOKEN
    wrong: dict[str, dict[str, str]] = {
        "at least 16": {"TOUCHLINE_TOKEN": "short"},
        "visible ASCII": {"TOUCHLINE_TOKEN": "a token with spaces in it"},
        "no such file": {"TOUCHLINE_TOKEN_FILE": str(tmp_path / "none")},
        "Is a directory": {"TOUCHLINE_TOKEN_FILE": str(tmp_path)},
    }
    for why, given in wrong.items():
        with pytest.raises(BadInputError, match=why) as error:
            token_of(settings(**given))
        assert given.get("TOUCHLINE_TOKEN", "?") not in str(error.value)
    monkeypatch.setenv("TOUCHLINE_TOKEN", TOKEN)
    assert "TOUCHLINE_TOKEN" not in without_token()
    assert TOKEN not in repr(settings(TOUCHLINE_TOKEN=TOKEN))


def test_what_is_no_request_passes_as_it_is() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(app, Access(TOKEN, 1), Hosts("127.0.0.1"))({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize("path", ["/notebook", "/dagit/notebook", "/%6eotebook"])
def test_the_page_that_shows_any_file_of_the_server_is_closed(port: int, path: str) -> None:
    status, text, _ = ask(port, "GET", f"{path}?path=/etc/hostname", ("Authorization", f"Bearer {TOKEN}"))
    assert (status, "reached" in text) == (404, False)
