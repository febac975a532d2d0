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
from touchline_cli.serving import HomeLock, hold_home, listen
from touchline_cli.webserver import address, announced, version_of
from webapp.token import FILE as TOKEN_FILE
from webapp.token import token_of

if TYPE_CHECKING:
    from resources.local_services import Endpoints, LocalServices
    from resources.settings import Settings

MODULE: Final = "detection_assets.code_location"
DAEMON: Final = "detection_assets.dagster_internals.daemon"
LOCATION: Final = "touchline"
"""Name of the code location."""
LONGEST_SOCKET: Final = 100
"""Most bytes of the path of a Unix socket; the system's limit (`sun_path`) is 104 to 108."""
START_S: Final = 120.0
"""Time that a part may take to answer after its start [s]."""
CHECK_S: Final = 0.5
"""Interval between two checks of the parts [s]."""
REVIVE_S: Final = 1.0
"""Interval between two checks of the embedded servers [s]."""
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end `touchline serve`."""
QUIET: Final = ("--log-level", "warning")
"""Options that keep the parts' log from scrolling the addresses off the screen."""


class _StopError(Exception):
    """A signal asks the process to end."""


def serve(host: str, port: int) -> int:
    """Starts everything, prints the addresses, watches the parts, and ends everything in order.

    Raises BadInputError if the home is already served or the port cannot be used; ServiceError if a part does not
    start, or dies too often.
    """
    from resources.settings import Settings

    settings = Settings.from_environment()
    with _stoppable():
        try:
            with (
                hold_home(settings.home, session.say) as lock,
                listen(host, port) as listening,
                Guardian(lock) as guardian,
            ):
                return _serve(settings, lock, host, listening, guardian)
        except _StopError:
            return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP raises _StopError; later ones are ignored."""
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise _StopError

    # Under nohup, SIGHUP stays ignored.
    wanted = [number for number in STOPS if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _serve(settings: Settings, lock: HomeLock, host: str, listening: socket.socket, guardian: Guardian) -> int:
    from detection_assets.dagster_internals.clients import prepare
    from resources.connection import connect
    from resources.local_services import LocalServices, profile_of
    from resources.uploads import PREFIX

    url = address(host, listening.getsockname()[1])
    lock.url(url)
    token = token_of(settings)
    services = LocalServices(settings)
    with services as endpoints, _code_socket(settings.home) as code:
        parts = Parts(lock, session.warn)
        try:
            connect(endpoints).database.ping()
            dagster_home = prepare(settings, endpoints)
            if settings.uploads == settings.home / "uploads":
                # A configured folder can be a mount that is not there yet.
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
                    parts.check()
                    guardian.check()
                    time.sleep(CHECK_S)
        finally:
            parts.end()
            _reconcile_at_end(endpoints)


def _start(
    parts: Parts, endpoints: Endpoints, dagster_home: Path, code: Path, host: str, listening: socket.socket
) -> None:
    """Reconciles jobs of the last `touchline serve`, then starts the parts in order."""
    from dagster import DagsterInstance

    from detection_assets.jobs.reconcile import reconcile
    from resources.connection import connect

    with DagsterInstance.get() as instance:
        # Before the code server starts: a run that was about to start counts as ended if its server's socket is dead.
        found = reconcile(instance, connect(endpoints), begun_before=True)
    if found.runs or found.jobs or found.uploads:
        session.say(f"since the last time: {found}")
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


def _say_where(settings: Settings, url: str, token: str) -> None:
    """Prints the webserver's address; with the token only at a terminal, because other output may be kept in logs."""
    if session.console.is_terminal:
        session.say(f"Dagster:      {url}/login?token={token}")
    else:
        where = settings.token_file or (settings.home / TOKEN_FILE if not settings.token else "TOUCHLINE_TOKEN")
        session.say(f"Dagster:      {url} (log in with the token in {where})")


@contextmanager
def _code_socket(home: Path) -> Iterator[Path]:
    """The path of the code server's socket, in a folder that other users cannot enter.

    Whoever reaches this socket can execute code. If the path is too long for a socket, a temporary folder is used.
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
    """Ends hanging jobs of this machine while the block runs.

    It runs in a thread of this process, which neither a run nor a part of Dagster can block.
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
    """Restarts dead embedded servers while the block runs, in a thread, because a start may take a minute."""
    over = threading.Event()

    def revive() -> None:
        last = ""
        while not over.wait(REVIVE_S):
            try:
                for name in services.revive():
                    session.warn(f"the embedded {name} had ended; it is running again, and runs continue")
                last = ""
            except TouchlineError as error:
                # The next check tries again.
                if str(error) != last:
                    session.complain(str(error))
                last = str(error)

    thread = threading.Thread(target=revive, name="servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # It must not restart servers that are being stopped.
        thread.join()


def _watch(settings: Settings, endpoints: Endpoints, over: threading.Event) -> None:
    """Checks for hanging jobs until `over`. After an error, the next check tries again."""
    from dagster import DagsterInstance

    from detection_assets.jobs.watchdog import CHECK_S, Watchdog
    from resources.connection import connect

    watchdog: Watchdog | None = None
    with ExitStack() as stack:
        while not over.wait(CHECK_S):
            try:
                if watchdog is None:
                    instance = stack.enter_context(DagsterInstance.get())
                    watchdog = Watchdog(instance, connect(endpoints), settings.stall)
                for ended in watchdog.check():
                    session.complain(str(ended))
            except Exception as error:
                session.complain(f"jobs could not be checked for hangs: {in_words(error)}")


def _wait_for_code(code: Path, check: Callable[[], None]) -> None:
    from detection_assets.dagster_internals.webserver import code_server_answers

    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        check()
        if code_server_answers(code):
            return
        time.sleep(0.2)
    raise ServiceError(f"Dagster's code server did not answer within {START_S:.0f} s; its output is above")


def _wait_for_web(url: str, token: str, parts: Parts) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        parts.check()
        try:
            if version_of(url, headers, timeout_s=2):
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise ServiceError(f"the Dagster webserver did not answer at {url} within {START_S:.0f} s; its output is above")


def _reconcile_at_end(endpoints: Endpoints) -> None:
    """Updates the jobs of runs that were killed at the end."""
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
