"""How runs are shown: bars by the work that is done, an estimate of the end, plain lines where there is no terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from touchline.nodes import downstream
from touchline_cli import session
from touchline_cli.progress import Bars, Pace, ProgressDisplay


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> ProgressDisplay:
    """Progress where standard output is no terminal."""
    monkeypatch.setattr(session, "console", Console(file=io.StringIO(), force_terminal=False))
    return ProgressDisplay(False)


def said() -> str:
    assert isinstance(session.console.file, io.StringIO)
    return session.console.file.getvalue()


def test_a_bar_shows_the_stage_at_work_and_never_falls(shown: ProgressDisplay) -> None:
    bars = Bars(["match [1].mp4"], shown)
    task = bars.show(0)
    for stage, share in (("extract_frames", 1.0), ("run_ocr", 0.5), ("run_ocr", 0.25)):
        bars.move(0, stage, share)
    [found] = [one for one in shown.tasks if one.id == task]
    assert found.completed == pytest.approx(0.7)
    assert found.fields["stage"] == "run_ocr"
    bars.remove(0)
    assert not shown.tasks


def test_a_replay_counts_what_it_does_alone(shown: ProgressDisplay) -> None:
    bars = Bars(["match"], shown, downstream("match_brands"))
    bars.move(0, "match_brands", 0.0)
    assert shown.tasks[0].completed == 0.0


def test_without_a_terminal_a_plain_line_is_printed_now_and_then(
    shown: ProgressDisplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("touchline_cli.progress.time.monotonic", lambda: clock[0])
    bars = Bars(["match [1].mp4"], shown)
    for second in range(150):
        clock[0] = float(second)
        bars.move(0, "run_ocr", second / 300)
    lines = said().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("match [1].mp4: 54%, run_ocr, 1 min so far, about ")
    assert lines[0].endswith(" left")
    assert "\x1b" not in said()


def test_a_fault_is_told_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    for name in ("console", "errors"):
        monkeypatch.setattr(session, name, Console(file=screen, force_terminal=True, width=80))
    monkeypatch.delenv("TERM", raising=False)
    with ProgressDisplay(False) as bars:
        for name in ("one.mp4", "two.mp4"):
            bars.add_task(name, total=1.0, stage="run_ocr")
        bars.refresh()
        session.complain("one.mp4: a fault")
        session.warn("one.mp4: a warning")
    session.complain("at the end")
    told = screen.getvalue()
    for text in ("one.mp4: a fault", "one.mp4: a warning"):
        # The lines of the bars are cleared before it, so that they are not drawn over it.
        assert re.search(rf"\x1b\[1A\x1b\[2K(\x1b\[[0-9;]*m)?{text}(\x1b\[0m)?\n", told), repr(told)
    assert session.above is None
    assert told.rstrip().endswith("at the end\x1b[0m")


def test_a_fault_goes_to_standard_error_where_that_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, file = io.StringIO(), io.StringIO()
    monkeypatch.setattr(session, "console", Console(file=screen, force_terminal=True, width=80))
    monkeypatch.setattr(session, "errors", Console(file=file, force_terminal=False))
    with ProgressDisplay(False):
        session.complain("one.mp4: a fault")
    assert file.getvalue() == "one.mp4: a fault\n"
    assert "fault" not in screen.getvalue()


def test_a_machine_is_shown_nothing(shown: ProgressDisplay) -> None:
    assert not ProgressDisplay(True).lines


@pytest.mark.parametrize(
    ("pace", "left"),
    [
        (Pace(0.0, 0.0, 0.5, 60.0), 60.0),
        # Half was taken over from an earlier attempt.
        (Pace(0.0, 0.5, 0.75, 30.0), 30.0),
        (Pace(0.0, 0.5, 0.51, 30.0), None),
        (Pace(0.0, 0.0, 0.0, 0.0), None),
    ],
)
def test_the_end_is_estimated_from_the_work_done_here(pace: Pace, left: float | None) -> None:
    assert pace.left_s(pace.at) == (None if left is None else pytest.approx(left))
    if left is not None:
        assert pace.left_s(pace.at + 1000.0) == 0.0
