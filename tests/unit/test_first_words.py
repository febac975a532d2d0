"""The first things that people type: nothing at all, --version, an address, a wrong name."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from touchline.errors import BadInputError, JobStoppedError, in_words, without_class
from touchline_cli.app import app


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, BadInputError), done.output
    return str(done.exception)


def test_alone_it_tells_its_commands_and_nothing_is_wrong() -> None:
    assert said() == said("--help")
    assert "doctor" in said() and "sources" in said()
    assert "import" in said("brands")


def test_it_tells_its_version() -> None:
    assert said("--version") == f"touchline {version('touchline')}\n"


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/match.mp4",
        "http://example.com/a%20b.mp4?x=1",
        "HTTPS://example.com/match.mp4",
        "rtmp://live.example/1",
        "rtsp://camera.example:554/1",
        "ftp://example.com//match.mp4",
        "gs://bucket/match.mp4",
    ],
)
def test_an_address_is_not_fetched_and_said_whole(address: str) -> None:
    scheme, _, rest = address.partition(":")
    expected = f"{scheme.lower()}:{rest}: addresses are not fetched; download the video first"
    assert refused("run", "here.png", address).startswith(expected)


def test_an_object_and_a_file_by_address_are_told_what_would_be_right() -> None:
    message = refused("run", "s3://touchline/uploads/match.mp4")
    assert "`touchline serve`" in message
    assert "`touchline replay s3://touchline/uploads/match.mp4 --from extract_frames`" in message
    assert refused("run", "file:///videos/a%20b.mp4").endswith("give the path, /videos/a b.mp4")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "x.png", "--report", "s3://bucket/out"),
        ("run", "x.png", "--debug-pictures", "s3://bucket/out"),
        ("run", "x.png", "--brands", "https://example.com/brands.csv"),
        ("report", "x", "--out", "s3://bucket/out"),
        ("replay", "x", "--from", "run_ocr", "--report", "s3://bucket/out"),
        ("backfill", "--from", "match_brands", "--brands", "https://example.com/b.csv"),
        ("brands", "import", "https://example.com/b.csv"),
    ],
    ids=" ".join,
)
def test_no_folder_named_as_an_address_is_made(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "://" in (message := refused(*words)) and "expected a path of this machine" in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_name_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup:").mkdir()
    (tmp_path / "cup:/final.mp4").write_bytes(b"no video")
    assert "addresses" not in refused("run", "cup:/final.mp4")


def test_messages_carry_no_class_of_ours() -> None:
    assert in_words(JobStoppedError("job 1 was paused")) == "job 1 was paused"
    assert in_words(ZeroDivisionError("a fault")) == "ZeroDivisionError: a fault"
    assert without_class("touchline.errors.JobStoppedError: job 1 was paused\n") == "job 1 was paused"
    assert without_class("ValueError: touchline.errors.X: y") == "ValueError: touchline.errors.X: y"
