"""`touchline serve`: servers, Dagster's code server, webserver and daemon, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from touchline.errors import ServiceError, TouchlineError, in_words
from touchline_cli import session
from touchline_cli.parts import UMASK, Guardian, Part, Parts
from touchline_cli.serving import Place, alone, listen
from touchline_cli.webserver import address, announced, version_of
from webapp.token import FILE as TOKEN_FILE
from webapp.token import token_of

if TYPE_CHECKING:
    from resources.local_services import Endpoints, LocalServices
    from resources.settings import Settings

MODULE: Final = "detection_assets.code_location"
DAEMON: Final = "detection_assets.dagster_internals.daemon"
LOCATION: Final = "touchline"
LONGEST_SOCKET: Final = 100
"""Bytes of a path that a Unix socket may have; the system's own bound is a little above [sun_path]."""
START_S: Final = 120.0
"""For a part to answer after its start [s]."""
LOOK_S: Final = 0.5
"""Between two looks at the parts [s]."""
REVIVE_S: Final = 1.0
"""Between two looks at the embedded servers [s]."""
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopError(Exception):
    """Somebody asked us to end."""


def serve(host: str, port: int) -> int:
    """Starts everything, prints the addresses, watches the parts, ends everything in order.

    Raises BadInputError at once if the home is served already, or the port cannot be listened on; ServiceError if a
    part does not start, or dies again and again.
    """
    from resources.settings import Settings

    settings = Settings.from_environment()
    with _stoppable():
        try:
            with (
                alone(settings.home, session.say) as place,
                listen(host, port) as listening,
                Guardian(place) as guardian,
            ):
                return _serve(settings, place, host, listening, guardian)
        except _StopError:
            return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP raises _StopError; the next ones change nothing: the end has begun."""
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise _StopError

    # nohup has SIGHUP ignored, and so it stays.
    wanted = [number for number in STOPS if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _serve(settings: Settings, place: Place, host: str, listening: socket.socket, guardian: Guardian) -> int:
    from detection_assets.dagster_internals.clients import prepare
    from resources.connection import connect
    from resources.local_services import LocalServices, profile_of
    from resources.uploads import PREFIX

    url = address(host, listening.getsockname()[1])
    place.url(url)
    token = token_of(settings)
    services = LocalServices(settings)
    with services as endpoints, _code_socket(settings.home) as code:
        parts = Parts(place, session.warn)
        try:
            connect(endpoints).database.ping()
            dagster_home = prepare(settings, endpoints)
            if settings.uploads == settings.home / "uploads":
                # One that was named may be a mount that is not there yet.
                settings.uploads.mkdir(exist_ok=True)
            _start(parts, endpoints, dagster_home, code, host, listening)
            _wait_for_web(url, token, parts)
            with (
                announced(settings.home, host, listening.getsockname()[1]),
                _watching(settings, endpoints),
                _reviving(services),
            ):
                _say_where(settings, url, token)
                session.say(f"object store: {endpoints.s3_endpoint}")
                if endpoints.s3_embedded:
                    session.say(f"S3 tools:     {profile_of(settings)}")
                session.say(f"uploads:      {settings.uploads}, s3://{endpoints.s3_bucket}/{PREFIX}")
                session.say("Ctrl-C ends everything that was started here.")
                while True:
                    parts.look()
                    guardian.look()
                    time.sleep(LOOK_S)
        finally:
            parts.end()
            _put_right(endpoints)


def _start(
    parts: Parts, endpoints: Endpoints, dagster_home: Path, code: Path, host: str, listening: socket.socket
) -> None:
    """Starts the parts, each after what it needs, and puts right what the last time left."""
    from dagster import DagsterInstance

    from detection_assets.jobs.reconcile import reconcile
    from resources.connection import connect

    with DagsterInstance.get() as instance:
        # Before the code server: a run that was about to start is over if nothing listens on its server's socket.
        found = reconcile(instance, connect(endpoints), begun_before=True)
    if found.runs or found.jobs or found.uploads:
        session.say(f"after the last time: {found}")
    workspace = dagster_home / "workspace.yaml"
    location = {"grpc_server": {"socket": str(code), "location_name": LOCATION}}
    workspace.write_text(json.dumps({"load_from": [location]}) + "\n", "utf-8")
    server = Part(
        "code server",
        ("dagster", "api", "grpc", "-m", MODULE, "--location-name", LOCATION, "--socket", str(code), *QUIET),
        before=lambda: code.unlink(missing_ok=True),
    )
    parts.start(server)
    _wait_for_code(code, lambda: parts.starting(server))
    descriptor = listening.fileno()
    web = ("webapp", "--fd", str(descriptor), "--host", host, "--workspace", str(workspace))
    parts.start(Part("webserver", web, descriptors=(descriptor,), token=True))
    parts.start(Part("daemon", (DAEMON, "run", "-w", str(workspace), *QUIET)))


QUIET: Final = ("--log-level", "warning")
"""So that what parts tell does not push the addresses off the screen."""


def _say_where(settings: Settings, url: str, token: str) -> None:
    """The address, with the token where a person reads it: what is printed elsewhere is kept in logs."""
    if session.console.is_terminal:
        session.say(f"Dagster:      {url}/login?token={token}")
    else:
        where = settings.token_file or (settings.home / TOKEN_FILE if not settings.token else "TOUCHLINE_TOKEN")
        session.say(f"Dagster:      {url} (log in with the token in {where})")


@contextmanager
def _code_socket(home: Path) -> Iterator[Path]:
    """Where the code server listens: a socket in a folder that other users cannot enter.

    Whoever reaches it can have code run. A path can be too long for a socket; then the folder is a temporary one.
    """
    folder = home / "dagster" / "code"
    own = len(os.fsencode(folder / "grpc")) <= LONGEST_SOCKET
    if own:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777 & ~UMASK)
    else:
        folder = Path(tempfile.mkdtemp(prefix="touchline-code-"))
    try:
        yield folder / "grpc"
    finally:
        (folder / "grpc").unlink(missing_ok=True)
        if not own:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _watching(settings: Settings, endpoints: Endpoints) -> Iterator[None]:
    """Ends jobs of this machine that hang, as long as the block runs.

    In a thread of this process, which no run and no part of Dagster can hold up.
    """
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(settings, endpoints, over), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


@contextmanager
def _reviving(services: LocalServices) -> Iterator[None]:
    """Starts dead embedded servers again as long as the block runs, in a thread: a start may take a minute."""
    over = threading.Event()

    def revive() -> None:
        told = ""
        while not over.wait(REVIVE_S):
            try:
                for name in services.revive():
                    session.warn(f"the embedded {name} had ended; it is there again, and runs continue")
                told = ""
            except TouchlineError as error:
                # The next look tries again.
                if str(error) != told:
                    session.complain(str(error))
                told = str(error)

    thread = threading.Thread(target=revive, name="servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # Not while the servers are being ended.
        thread.join()


def _watch(settings: Settings, endpoints: Endpoints, over: threading.Event) -> None:
    """Looks for hung jobs until `over`. A server that is away, at whichever moment, is asked again at the next look."""
    from dagster import DagsterInstance

    from detection_assets.jobs.watchdog import LOOK_S, Watchdog
    from resources.connection import connect

    watchdog: Watchdog | None = None
    with ExitStack() as stack:
        while not over.wait(LOOK_S):
            try:
                if watchdog is None:
                    instance = stack.enter_context(DagsterInstance.get())
                    watchdog = Watchdog(instance, connect(endpoints), settings.stall)
                for ended in watchdog.look():
                    session.complain(str(ended))
            except Exception as error:
                session.complain(f"hung jobs could not be looked for: {in_words(error)}")


def _wait_for_code(code: Path, check: Callable[[], None]) -> None:
    from detection_assets.dagster_internals.webserver import code_server_answers

    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        check()
        if code_server_answers(code):
            return
        time.sleep(0.2)
    raise ServiceError(f"Dagster's code server did not answer within {START_S:.0f} s; what it said is above")


def _wait_for_web(url: str, token: str, parts: Parts) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        parts.look()
        try:
            if version_of(url, headers, timeout_s=2):
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise ServiceError(f"the Dagster webserver did not answer at {url} within {START_S:.0f} s; what it said is above")


def _put_right(endpoints: Endpoints) -> None:
    """Tells the jobs of runs that were killed at the end, which could not do so themselves."""
    from dagster import DagsterInstance

    from detection_assets.jobs.reconcile import reconcile
    from resources.connection import connect

    try:
        with DagsterInstance.get() as instance:
            found = reconcile(instance, connect(endpoints))
    except Exception as error:
        session.complain(f"the end of jobs could not be recorded: {in_words(error)}; the next command records it")
        return
    if found.runs or found.jobs:
        session.say(f"at the end: {found}")
