"""How runs are shown: bars by the work that is done, an estimate of the end, plain lines where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from touchline.nodes import downstream
from touchline_cli import progress, session
from touchline_cli.progress import Bars, Pace, Shown


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Progress where standard output is no terminal."""
    monkeypatch.setattr(session, "console", Console(file=io.StringIO(), force_terminal=False))
    return Shown(False)


def said() -> str:
    assert isinstance(session.console.file, io.StringIO)
    return session.console.file.getvalue()


def test_a_bar_shows_the_stage_at_work_and_never_falls(shown: Shown) -> None:
    bars = Bars(["match [1].mp4"], shown)
    task = bars.show(0)
    for stage, share in (("extract_frames", 1.0), ("run_ocr", 0.5), ("run_ocr", 0.25)):
        bars.move(0, stage, share)
    [found] = [one for one in shown.tasks if one.id == task]
    assert found.completed == pytest.approx(0.7)
    assert found.fields["stage"] == "run_ocr"
    bars.remove(0)
    assert not shown.tasks


def test_a_replay_counts_what_it_does_alone(shown: Shown) -> None:
    bars = Bars(["match"], shown, downstream("match_brands"))
    bars.move(0, "match_brands", 0.0)
    assert shown.tasks[0].completed == 0.0


def test_without_a_terminal_a_plain_line_is_printed_now_and_then(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bars = Bars(["match [1].mp4"], shown)
    for second in range(150):
        clock[0] = float(second)
        bars.move(0, "run_ocr", second / 300)
    lines = said().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("match [1].mp4: 54%, run_ocr, 1 min so far, about ")
    assert lines[0].endswith(" left")
    assert "\x1b" not in said()


def test_a_machine_is_shown_nothing(shown: Shown) -> None:
    assert not Shown(True).lines


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
