"""The parts of `touchline serve`: processes that are started, watched, restarted if they die, and ended in order.

Belongs here: what all parts share. `serve.py` defines the parts and their options.

Each part leads a process group of its own. Children of a dead part, such as run workers, stay in its group. They are
ended together with everything else.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from resources.embedded.processes import end_groups, group
from touchline.errors import ServiceError
from touchline_cli.serving import GRACE_S, HomeLock, leader
from webapp.token import without_token

RESTARTS: Final = 5
"""Most restarts of a part within WINDOW_S; after that `touchline serve` ends."""
WINDOW_S: Final = 600.0
"""Time within which restarts of a part are counted [s]."""
PAUSES_S: Final = (0.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses before the first, second... restart within WINDOW_S [s]."""
UMASK: Final = 0o077
"""File mode mask of the parts: their files and sockets are accessible to their own user only."""


@dataclass
class Part:
    """One process: its name for messages, and its arguments after `python -m`.

    `descriptors`: file descriptors that it inherits. `token`: whether it gets the token. `before`: called before each
    start.
    """

    name: str
    arguments: Sequence[str]
    descriptors: Sequence[int] = ()
    token: bool = False
    before: Callable[[], None] = lambda: None
    process: subprocess.Popen[bytes] | None = None
    due: float | None = None
    """When it is restarted, by time.monotonic() [s]."""
    deaths: deque[float] = field(default_factory=deque)


class Parts:
    """All parts of one `touchline serve`. `tell` prints a sentence."""

    def __init__(self, lock: HomeLock, tell: Callable[[str], None]) -> None:
        self._lock, self._tell = lock, tell
        self._parts: list[Part] = []
        self._groups: list[dict[str, Any]] = []

    def start(self, part: Part) -> None:
        """Starts a part, which `check` watches from then on."""
        self._parts.append(part)
        self._start(part)

    def check(self) -> None:
        """Restarts dead parts. Raises ServiceError for one that has died too often."""
        now = time.monotonic()
        for part in self._parts:
            if part.due is not None:
                if now >= part.due:
                    self._start(part)
            elif part.process is not None and (status := part.process.poll()) is not None:
                self._died(part, status, now)

    def starting(self, part: Part) -> None:
        """Raises ServiceError if a part died while it was starting."""
        if part.process is None or (status := part.process.poll()) is not None:
            raise ServiceError(f"the {part.name} {_how(status)} while starting; its output is above")

    def end(self) -> None:
        """Terminates the parts and their children, run workers included; kills those left after GRACE_S."""
        self._prune()
        end_groups([noted["pid"] for noted in self._groups], GRACE_S)
        for part in self._parts:
            if part.process is not None:
                part.process.wait()
        self._groups = []
        self._lock.parts([])

    def _start(self, part: Part) -> None:
        part.before()
        part.process, part.due = start(part.arguments, part.descriptors, token=part.token), None
        self._prune()
        self._groups.append(leader(part.process.pid))
        self._lock.parts(self._groups)

    def _died(self, part: Part, status: int, now: float) -> None:
        while part.deaths and now - part.deaths[0] > WINDOW_S:
            part.deaths.popleft()
        before = len(part.deaths)
        part.deaths.append(now)
        if before >= RESTARTS:
            raise ServiceError(
                f"the {part.name} {_how(status)}, for the {before + 1}th time within {WINDOW_S / 60:.0f} minutes, so "
                "everything is ended; its output is above. Check servers and models with `touchline doctor`, then "
                "start `touchline serve` again"
            )
        part.due = now + PAUSES_S[before]
        self._tell(f"the {part.name} {_how(status)}; it is started again, and runs continue")

    def _prune(self) -> None:
        """Drops empty process groups: their ids can be reused by other programs."""
        self._groups = [noted for noted in self._groups if group(noted["pid"])]


class Guardian:
    """A context manager for the process that ends the parts if this process is killed.

    It gets the environment from before the servers' addresses are set.
    """

    def __init__(self, lock: HomeLock) -> None:
        self._lock, self._environment = lock, without_token()

    def __enter__(self) -> Guardian:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closes its input, which ends it.
        self._process.communicate()

    def check(self) -> None:
        """Restarts the process if it died."""
        if self._process.poll() is not None:
            self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "touchline_cli.guardian"]
        self._process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.PIPE, env=self._environment, umask=UMASK
        )
        self._lock.guardian(self._process.pid)


def start(arguments: Sequence[str], descriptors: Sequence[int] = (), *, token: bool = False) -> subprocess.Popen[bytes]:
    """Starts `python -m ARGUMENTS` in a session of its own, with empty standard input.

    Ctrl-C at the terminal thus reaches only `touchline serve`, which ends the parts in order. Programs that runs start
    can neither read the user's input nor configure the terminal.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env=None if token else without_token(),
        umask=UMASK,
    )


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended by itself with status {status}"
