"""What cannot be carried out is refused before any work: a message that helps, exit code 2, and nothing made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import cv2
import numpy as np
import pytest

from touchline_cli.app import main
from touchline_cli.run import _probe_all


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet: it is made when servers are started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("TOUCHLINE_POSTGRES_URL", "TOUCHLINE_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((90, 160, 3), np.uint8))
    return tmp_path / "home"


def refused(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message with which the command line refuses; asserts that nothing was begun."""
    before = sorted(home.parent.rglob("*"))
    monkeypatch.setattr("sys.argv", ["touchline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert sorted(home.parent.rglob("*")) == before
    return " ".join(err.split())


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def nothing(path: Path) -> None:
    assert not path.exists()


def no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def cut_off(path: Path) -> None:
    path.write_bytes(b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41")


KINDS = [
    (nothing, "no such file"),
    (empty, "empty"),
    (text, "expected a video"),
    (Path.mkdir, "directory"),
    (no_frames, "match.mp4"),
    (cut_off, "match.mp4"),
]


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["", "json"])
@pytest.mark.parametrize(("make", "says"), KINDS)
def test_what_is_no_video_is_refused_by_name(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    says: str,
    json: tuple[str, ...],
) -> None:
    make(home.parent / "match.mp4")
    message = refused(home, monkeypatch, capsys, "run", "match.mp4", *json)
    assert "match.mp4" in message
    assert says in message


@pytest.mark.parametrize(
    "fault", [UnicodeDecodeError("utf-8", b"b\xe9", 1, 2, "invalid"), ValueError("odd"), MemoryError()], ids=str
)
def test_whatever_goes_wrong_while_one_input_is_looked_into_is_its_refusal_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    import touchline.video.opening

    (home.parent / "odd.png").write_bytes((home.parent / "good.png").read_bytes())
    (home.parent / "none.mp4").touch()
    whole = touchline.video.opening.probe

    def look(path: Path) -> Any:
        if path.name == "odd.png":
            raise fault
        return whole(path)

    monkeypatch.setattr(touchline.video.opening, "probe", look)
    paths = [Path(name) for name in ("odd.png", "none.mp4", "good.png")]
    lengths, why = _probe_all(paths, {"--report": None})
    assert lengths == {2: 0.0}
    assert set(why) == {0, 1}
    assert "odd.png: it cannot be probed" in why[0]
    assert "none.mp4" in why[1]


def test_a_place_for_reports_that_is_none_is_refused_before_any_work(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("run", "good.png"), ("replay", "any", "--from", "run_ocr"), ("resume", str(UUID(int=0)))):
        message = refused(home, monkeypatch, capsys, *command, "--report", "good.png")
        assert "--report good.png: no folder can be made there" in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "rugby"), ("'rugby'", "soccer_broadcast")),
        (("--set", "read_text.engine=doctr"), ("'read_text'", "run_ocr")),
        (("--set", "run_ocr.min_certainty=0.5"), ("'min_certainty'", "min_confidence")),
        (("--set", "run_ocr.min_confidence=1.5"), ("run_ocr.min_confidence=1.5", "less than or equal to 1")),
        (("--set", "run_ocr.min_confidence=high"), ("run_ocr.min_confidence=high", "number")),
        (("--set", "run_ocr.min_confidence={"), ("run_ocr.min_confidence={",)),
        (("--set", "run_ocr.engine=tesseract"), ("run_ocr.engine=tesseract", "rapidocr")),
        (("--set", "extract_frames.sample_fps=0"), ("extract_frames.sample_fps=0", "greater than 0")),
        (("--set", "run_ocr.min_confidence"), ("STAGE.FIELD=VALUE",)),
        (("--set", "run_ocr=0.5"), ("STAGE.FIELD=VALUE",)),
        (("--set", "name.x=1"), ("'name'",)),
        (("--until", "read_text"), ("read_text", "run_ocr")),
        (("--debug-pictures", "good.png"), ("--debug-pictures good.png", "no folder")),
        (("--unknown",), ("--unknown",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_settings_that_do_not_exist_or_do_not_fit_are_refused_and_the_right_ones_named(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: tuple[str, ...],
) -> None:
    message = refused(home, monkeypatch, capsys, "run", "good.png", *arguments)
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("canonical_name,aliases\nFirst,one\n,two\n", "line 3"),
        ("canonical_name,aliases\nFirst,one\nSecond,two,three\n", "line 3"),
        ("brand,aliases\nFirst,one\n", "line 1"),
        ("", "line 1"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [("run", "good.png", "--brands"), ("replay", "any", "--from", "match_brands", "--brands"), ("brands", "import")],
)
def test_a_faulty_list_of_brands_is_refused_with_the_number_of_its_line(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    content: str,
    line: str,
) -> None:
    (home.parent / "brands.csv").write_text(content, "utf-8")
    message = refused(home, monkeypatch, capsys, *command, "brands.csv")
    assert "brands.csv" in message
    assert line in message


def test_a_list_of_brands_that_is_not_there_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "missing.csv" in refused(home, monkeypatch, capsys, "run", "good.png", "--brands", "missing.csv")


def test_two_inputs_that_would_write_one_report_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = home.parent / "other"
    other.mkdir()
    (other / "good.jpg").write_bytes((home.parent / "good.png").read_bytes())
    message = refused(home, monkeypatch, capsys, "run", "good.png", "other/good.jpg", "--report", "reports")
    assert "'good'" in message


@pytest.mark.parametrize(
    "arguments",
    [("run",), ("replay", "any"), ("report", "any"), ("jobs", "--limit", "0"), ("paint",)],
    ids=" ".join,
)
def test_a_command_that_lacks_something_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    refused(home, monkeypatch, capsys, *arguments)


def test_a_stage_that_is_none_is_refused_by_replay(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(home, monkeypatch, capsys, "replay", "any", "--from", "read_text")
    assert "--from read_text" in message
    assert "run_ocr" in message
