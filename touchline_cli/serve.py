"""`touchline serve`: servers, Dagster webserver and daemon, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.request import urlopen

from touchline.errors import ServiceError, in_words
from touchline_cli import session
from touchline_cli.serving import Place, alone, check_port
from touchline_cli.webserver import address, announced

if TYPE_CHECKING:
    from resources.local_services import Endpoints
    from resources.settings import Settings


PATIENCE_S: Final = 20.0
"""For runs at work to tell their jobs that they were interrupted, as long as the servers are there [s]."""


class _StopError(Exception):
    """Somebody asked us to end."""


def serve(host: str, port: int) -> int:
    """Starts everything, prints the addresses, waits, ends everything in order. 1 if a part ended by itself.

    Raises BadInputError at once if the home is served already, or the port cannot be listened on.
    """
    from resources._processes import free_ports
    from resources.settings import Settings

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StopError

    settings = Settings.from_environment()
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with alone(settings.home) as place:
            port = port or free_ports(1)[0]
            check_port(host, port)
            return _serve(settings, place, host, port)
    except _StopError:
        return 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _serve(settings: Settings, place: Place, host: str, port: int) -> int:
    from dagster import DagsterInstance

    from detection_assets.books import CONFIGURATION, prepare
    from detection_assets.pools import set_limits
    from detection_assets.reconcile import reconcile
    from resources.connection import connect
    from resources.local_services import profile_of
    from resources.uploads import PREFIX

    children: list[subprocess.Popen[bytes]] = []
    url = address(host, port)
    place.url(url)
    with session.servers() as endpoints:
        try:
            connect(endpoints).database.ping()
            prepare(settings, endpoints)
            if settings.uploads == settings.home / "uploads":
                # One that was named may be a mount that is not there yet.
                settings.uploads.mkdir(exist_ok=True)
            with DagsterInstance.get() as instance:
                found = reconcile(instance, connect(endpoints))
                set_limits(instance)
            if found.runs or found.jobs:
                session.say(f"after the last time: {found}")
            workspace = str(CONFIGURATION.with_name("workspace.yaml"))
            for arguments in (
                ("dagster_webserver", "-h", host, "-p", str(port), "-w", workspace),
                ("dagster._daemon", "run", "-w", workspace),
            ):
                children.append(_start(*arguments))
                place.part(children[-1].pid)
            _wait(f"{url}/server_info", children)
            with announced(settings.home, host, port), _watching(settings, endpoints):
                session.say(f"Dagster:      {url}")
                session.say(f"object store: {endpoints.s3_endpoint}")
                if endpoints.s3_embedded:
                    session.say(f"S3 tools:     {profile_of(settings)}")
                session.say(f"uploads:      {settings.uploads}, s3://{endpoints.s3_bucket}/{PREFIX}")
                session.say("Ctrl-C ends everything that was started here.")
                while all(child.poll() is None for child in children):
                    time.sleep(0.5)
            session.errors.print("a part of Dagster ended by itself; its messages are above")
            return 1
        finally:
            _end(children)


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C at the terminal reaches us alone, and we end the parts in order. Nothing to read:
    # programs that runs start would take the user's typing, or set the terminal.
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)


@contextmanager
def _watching(settings: Settings, endpoints: Endpoints) -> Iterator[None]:
    """Ends jobs of this machine that hang, as long as the block runs.

    In a thread of this process, which no run and no part of Dagster can hold up.
    """
    from dagster import DagsterInstance

    from detection_assets.watchdog import LOOK_S, Watchdog
    from resources.connection import connect

    over = threading.Event()

    def watch() -> None:
        with DagsterInstance.get() as instance:
            watchdog = Watchdog(instance, connect(endpoints), settings.stall)
            while not over.wait(LOOK_S):
                try:
                    for ended in watchdog.look():
                        session.complain(str(ended))
                except Exception as error:
                    # A server that is away, mostly; it is looked at again in a moment.
                    session.complain(f"hung jobs could not be looked for: {in_words(error)}")

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


def _wait(url: str, children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(child.poll() is not None for child in children):
            raise ServiceError("the Dagster webserver or daemon ended while starting; its messages are above")
        try:
            with urlopen(url, timeout=2):  # noqa: S310 (our own webserver)
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise ServiceError(f"the Dagster webserver did not answer at {url} within two minutes")


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Asks each part to end, with everything it started, runs too; kills what has not once PATIENCE_S are over."""
    from resources._processes import end_groups

    end_groups([child.pid for child in children], PATIENCE_S)
    for child in children:
        child.wait()
