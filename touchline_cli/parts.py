"""The parts of `touchline serve`: processes that are started, watched, started again if they die, and ended in order.

Belongs here: what is the same for every part. Which parts there are, and with which options, is in `serve.py`.

Each part leads a process group of its own. What a dead part had started lives on in its group (runs at work do), and
is ended with everything else at the end.
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
from touchline_cli.serving import PATIENCE_S, Place, leader
from webapp.token import without_token

RESTARTS: Final = 5
WINDOW_S: Final = 600.0
"""So many times within so many seconds a part is started again; then `touchline serve` ends."""
PAUSES_S: Final = (0.0, 2.0, 5.0, 15.0, 30.0)
"""Waits before the first, second... restart of a window: what a part needs may take a while to come back [s]."""
UMASK: Final = 0o077
"""What parts write is for their own user, sockets too."""


@dataclass
class Part:
    """One process: its name in words, its arguments after `python -m`, and what it needs.

    `descriptors`: inherited by it. `token`: whether it may know the token. `before`: done before each start.
    """

    name: str
    arguments: Sequence[str]
    descriptors: Sequence[int] = ()
    token: bool = False
    before: Callable[[], None] = lambda: None
    process: subprocess.Popen[bytes] | None = None
    due: float | None = None
    """When it is started again, by time.monotonic() [s]."""
    deaths: deque[float] = field(default_factory=deque)


class Parts:
    """All parts of one `touchline serve`. `tell` says one sentence to whoever watches."""

    def __init__(self, place: Place, tell: Callable[[str], None]) -> None:
        self._place, self._tell = place, tell
        self._parts: list[Part] = []
        self._groups: list[dict[str, Any]] = []

    def start(self, part: Part) -> None:
        """Starts a part, which is watched from now on."""
        self._parts.append(part)
        self._start(part)

    def look(self) -> None:
        """Starts dead parts again. Raises ServiceError for one that has died too often."""
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
            raise ServiceError(f"the {part.name} {_how(status)} while starting; what it said is above")

    def end(self) -> None:
        """Asks each part to end, with everything it started, runs too; kills what has not once PATIENCE_S are over."""
        self._prune()
        end_groups([noted["pid"] for noted in self._groups], PATIENCE_S)
        for part in self._parts:
            if part.process is not None:
                part.process.wait()
        self._groups = []
        self._place.parts([])

    def _start(self, part: Part) -> None:
        part.before()
        part.process, part.due = start(part.arguments, part.descriptors, token=part.token), None
        self._prune()
        self._groups.append(leader(part.process.pid))
        self._place.parts(self._groups)

    def _died(self, part: Part, status: int, now: float) -> None:
        while part.deaths and now - part.deaths[0] > WINDOW_S:
            part.deaths.popleft()
        before = len(part.deaths)
        part.deaths.append(now)
        if before >= RESTARTS:
            raise ServiceError(
                f"the {part.name} {_how(status)}, for the {before + 1}th time within {WINDOW_S / 60:.0f} minutes, so "
                "everything is ended; what it said is above. `touchline doctor` shows whether servers and models are "
                "there; then start `touchline serve` again"
            )
        part.due = now + PAUSES_S[before]
        self._tell(f"the {part.name} {_how(status)}; it is started again, and runs continue")

    def _prune(self) -> None:
        """Forgets groups that are empty: their numbers may be given to other programs."""
        self._groups = [noted for noted in self._groups if group(noted["pid"])]


class Guardian:
    """A process beside us that ends the parts if we are killed, as long as the block lasts.

    It has the environment that we have at the beginning, before the servers' addresses are put into it.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._environment = place, without_token()

    def __enter__(self) -> Guardian:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input is all that it waits for.
        self._process.communicate()

    def look(self) -> None:
        """Starts it again if it died."""
        if self._process.poll() is not None:
            self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "touchline_cli.guardian"]
        self._process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.PIPE, env=self._environment, umask=UMASK
        )
        self._place.guardian(self._process.pid)


def start(arguments: Sequence[str], descriptors: Sequence[int] = (), *, token: bool = False) -> subprocess.Popen[bytes]:
    """A part's process, `python -m ARGUMENTS`, in a session of its own and with nothing to read.

    Ctrl-C at the terminal reaches us alone, and we end the parts in order. Programs that runs start would take the
    user's typing, or set the terminal.
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
