"""Profiles of one's own: files in the home beside the shipped ones, and what is said when one is wrong or gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection_assets.local.runner import Runner
from resources.settings import Settings
from tests.support.commands import done
from touchline.errors import BadInputError
from touchline.profiles import load_profile, own_profiles, profile_names, profile_of, shipped_names
from touchline_cli.doctor import doctor


@pytest.fixture
def folder(settings: Settings) -> Iterator[Path]:
    """The folder of the home that the tests share, empty before and after."""
    folder = settings.home / "profiles"
    folder.mkdir(exist_ok=True)
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_a_file_in_the_home_is_a_profile(folder: Path, settings: Settings) -> None:
    assert own_profiles() == folder
    (folder / "basketball.yaml").write_text("description: arena\nextract_frames: {sample_fps: 4}\n", "utf-8")
    (folder / ".hidden.yaml").write_text("", "utf-8")
    (folder / "notes.txt").write_text("", "utf-8")
    assert profile_names() == ["basketball", *shipped_names()]
    profile = load_profile("basketball")
    assert (profile.name, profile.extract_frames.sample_fps) == ("basketball", 4.0)
    assert profile.run_ocr == load_profile().run_ocr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("extract_frames: {sample_fps: 400}", r"extract_frames\.sample_fps: .*less than or equal to 60"),
        ("extract_frame: {}", "it has a field that is not known; perhaps extract_frames is meant"),
        ("run_ocr: {xyz: 1}", "run_ocr: it has a field that is not known; expected one of .*min_confidence"),
        ("- a list", "expected stages with their fields"),
        ("a: b: c", "cannot be read as YAML"),
        ("name: other", "its field name says another; expected mine"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_path(folder: Path, content: str, told: str) -> None:
    (folder / "mine.yaml").write_text(content, "utf-8")
    with pytest.raises(BadInputError, match=told) as error:
        load_profile("mine")
    assert str(folder / "mine.yaml") in str(error.value)


def test_no_file_takes_the_place_of_a_shipped_profile(folder: Path) -> None:
    (folder / "soccer_broadcast.yaml").write_text("extract_frames: {sample_fps: 4}", "utf-8")
    with pytest.raises(BadInputError, match="is the name of a shipped profile; give yours another"):
        load_profile()


def test_a_profile_that_has_gone_is_told_with_its_source(folder: Path) -> None:
    with pytest.raises(BadInputError, match="profile 'gone' of source match-00000000 is not there; expected one of"):
        profile_of("match-00000000", "gone")
    assert profile_of("match-00000000", "gone", "soccer_broadcast").name == "soccer_broadcast"


def test_the_doctor_lists_profiles_and_what_is_wrong_with_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.yaml").write_text("{}", "utf-8")
    (folder / "wrong.yaml").write_text("run_ocr: 7", "utf-8")
    doctor(True)
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert found["soccer_broadcast"]["where"] == "shipped"
    assert (found["good"]["where"], found["good"]["error"]) == (str(folder / "good.yaml"), "")
    assert "run_ocr" in found["wrong"]["error"]


@pytest.mark.slow
def test_a_source_whose_profile_has_gone_is_replayed_with_another_or_refused_in_words(
    folder: Path, runner: Runner, own_video: Path
) -> None:
    (folder / "mine.yaml").write_text("extract_frames: {sample_fps: 1}", "utf-8")

    told = done("run", own_video, "--profile", "mine", "--until", "filter_scenes", "--json")
    key = json.loads(told.stdout)[0]["partition_key"]
    (folder / "mine.yaml").unlink()
    told = done("replay", key, "--from", "filter_scenes", code=2)
    assert f"profile 'mine' of source {key} is not there" in told.stderr
    assert "Error" not in told.stderr
    told = done("backfill", "--from", "filter_scenes", "--only", key, code=2)
    assert f"profile 'mine' of source {key} is not there" in told.stderr
    # Frames were taken once a second: with the shipped profile they would be others.
    told = done("replay", key, "--from", "filter_scenes", "--profile", "soccer_broadcast", code=2)
    assert "--from extract_frames" in told.stderr
    done("replay", key, "--from", "extract_frames", "--profile", "soccer_broadcast", "--json")
