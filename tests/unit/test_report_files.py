"""Reports are written whole or not at all, where they were asked for, and never over those of another source."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from touchline.errors import BadInputError
from touchline.report.files import check_folder, folder_of, owner, write_files

KEY, OTHER = "match-0123abcd", "match-89abcdef"


def report_of(folder: Path, source: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"schema": 1, "source": source}), "utf-8")
    return folder


def test_a_folder_that_is_new_or_holds_the_same_source_is_taken(tmp_path: Path) -> None:
    assert folder_of(tmp_path, "match", KEY) == tmp_path / "match"
    report_of(tmp_path / "match", KEY)
    assert folder_of(tmp_path, "match", KEY) == tmp_path / "match"


def test_beside_the_report_of_another_source_the_key_tells_the_folders_apart(tmp_path: Path) -> None:
    report_of(tmp_path / "match", OTHER)
    assert folder_of(tmp_path, "match", KEY) == tmp_path / "match-0123abcd"
    report_of(tmp_path / "match-0123abcd", KEY)
    assert folder_of(tmp_path, "match", KEY) == tmp_path / "match-0123abcd"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 5}'])
def test_a_report_that_is_none_of_ours_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "match").mkdir()
    (tmp_path / "match" / "report.json").write_text(text, "utf-8")
    assert owner(tmp_path / "match") not in (None, KEY)
    assert folder_of(tmp_path, "match", KEY) == tmp_path / "match-0123abcd"


def test_where_both_are_taken_the_person_decides(tmp_path: Path) -> None:
    for name in ("match", "match-0123abcd"):
        report_of(tmp_path / name, OTHER)
    with pytest.raises(BadInputError, match="name another folder"):
        folder_of(tmp_path, "match", KEY)


def test_where_there_is_no_room_the_old_files_stay_and_no_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": b"old", "b": b"old"})
    synced: list[int] = []

    def full(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old", "b": b"old"}


def file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("make", [file, lambda path: file(path) / "below"], ids=["a file", "below a file"])
def test_what_can_be_no_folder_is_refused_by_the_option_s_name(tmp_path: Path, make: Any) -> None:
    with pytest.raises(BadInputError, match=r"--report .*no folder can be made there"):
        check_folder("--report", make(tmp_path / "x"))


def test_a_folder_that_can_be_written_is_left_empty(tmp_path: Path) -> None:
    check_folder("--report", tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
