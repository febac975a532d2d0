"""Progress of runs: one bar per run at a terminal, otherwise a line from time to time.

Belongs here: the display. `detection_assets/jobs/heartbeat.py` reports the progress.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TaskProgressColumn
from rich.text import Text

from touchline.nodes import NODE_NAMES, REPORT
from touchline.progress import share_done
from touchline.watch import in_minutes
from touchline_cli import session

LONGEST_NAME: Final = 28
"""Most characters of a name, so that a line fits a narrow terminal."""
LINE_S: Final = 60.0
"""Least time between two lines of a source without a terminal [s]."""
FIRM: Final = 0.02
"""Share that must be done before the remaining time is estimated."""


@dataclass
class Pace:
    """The speed of one run, measured since its first report."""

    since: float
    """Time of the first report, by time.monotonic() [s]."""
    first: float
    """Share that was done at the first report; reused checkpoints take no time."""
    share: float
    """Share that is done."""
    at: float
    """Time of the last report, by time.monotonic() [s]."""

    def left_s(self, now: float) -> float | None:
        """Estimated seconds to the end; None while too little is done for an estimate."""
        if self.share - self.first < FIRM or self.at <= self.since:
            return None
        per_share = (self.at - self.since) / (self.share - self.first)
        return max(0.0, (1.0 - self.share) * per_share - (now - self.at))


class Bars:
    """One bar per run that has begun. `stages` are those that the runs execute; all, if empty."""

    def __init__(self, names: Sequence[str], progress: ProgressDisplay, stages: Collection[str] = ()) -> None:
        self._names, self._progress = [_short(name) for name in names], progress
        self._stages = stages or (*NODE_NAMES, REPORT)
        self._tasks: dict[int, TaskID] = {}
        self._paces: dict[int, Pace] = {}
        self._lines: dict[int, float] = {}

    def show(self, number: int) -> TaskID:
        """Adds the bar of a run, if it has none yet."""
        if number not in self._tasks:
            self._lines[number] = time.monotonic()
            self._tasks[number] = self._progress.add_task(self._names[number], total=1.0, stage="starting", pace=None)
        return self._tasks[number]

    def move(self, number: int, stage: str, share: float) -> None:
        """Shows the current stage of a run and its share done, 0..1."""
        task, now = self.show(number), time.monotonic()
        done = share_done(self._stages, stage, share) if stage in self._stages else 0.0
        pace = self._paces.setdefault(number, Pace(now, done, done, now))
        pace.share, pace.at = max(pace.share, done), now
        self._progress.update(task, completed=pace.share, stage=stage, pace=pace)
        if self._progress.lines and now - self._lines[number] >= LINE_S:
            self._lines[number] = now
            session.say(f"{self._names[number]}: {pace.share:.0%}, {stage}, {_times(now - pace.since, pace, now)}")

    def remove(self, number: int) -> None:
        """Removes the bar of a run that has ended."""
        if number in self._tasks:
            self._progress.remove_task(self._tasks.pop(number))
            self._paces.pop(number, None)


class ProgressDisplay(Progress):
    """Bars at a terminal; without one, `lines`. Nothing if `hidden`."""

    def __init__(self, hidden: bool) -> None:
        terminal = session.console.is_terminal
        self.lines = not hidden and not terminal
        columns = (_What(), BarColumn(bar_width=16), TaskProgressColumn(), _Times())
        off, both = hidden or not terminal, session.errors.is_terminal
        super().__init__(*columns, console=session.console, disable=off, transient=True, redirect_stderr=both)

    def start(self) -> None:
        """Shows the bars; errors are printed above them."""
        super().start()
        if not self.disable and session.errors.is_terminal:
            session.above = self.console

    def stop(self) -> None:
        """Removes the bars."""
        session.above = None
        super().stop()


class _What(ProgressColumn):
    """Name and stage, without markup."""

    def render(self, task: Task) -> Text:
        return Text.assemble(task.description, "  ", (str(task.fields.get("stage", "")), "dim"))


class _Times(ProgressColumn):
    """Elapsed time, and estimated time left."""

    def render(self, task: Task) -> Text:
        return Text(_times(task.elapsed or 0.0, task.fields.get("pace"), time.monotonic()), style="dim")


def _times(elapsed: float, pace: Pace | None, now: float) -> str:
    left = pace.left_s(now) if pace else None
    return f"{in_minutes(elapsed)} so far" + ("" if left is None else f", about {in_minutes(left)} left")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 11]}...{name[-8:]}"
