"""Partition keys and ids of sources: safe characters, the same everywhere, another for another path."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
import uuid
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchline.errors import BadInputError
from touchline.library import naming
from touchline.library.naming import (
    MAX_SLUG,
    checksum,
    library_path,
    partition_key,
    slug,
    source_asset_id,
)

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(paths)
def test_keys_hold_letters_digits_and_hyphens_only(path: str) -> None:
    key = partition_key(path)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{8}", key)
    assert len(key) <= MAX_SLUG + 9


@given(paths, paths)
def test_two_paths_are_one_source_only_if_they_are_the_same_to_the_byte(one: str, other: str) -> None:
    for first, second in ((one, other), [unicodedata.normalize(form, one) for form in ("NFC", "NFD")]):
        assert (first == second) == (source_asset_id(first) == source_asset_id(second))


def test_the_key_is_the_readable_stem_and_the_head_of_the_paths_hash() -> None:
    path = "serie-a/Inter – Napoli.mp4"
    assert partition_key(path) == "inter-napoli-" + hashlib.sha256(path.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Inter – Napoli", "inter-napoli"),
        ("Brøndby vs Łódź, 2. half...", "brondby-vs-lodz-2-half"),
        ("StarCasinò|x", "starcasino-x"),
        ("浦和レッズ", "source"),
        ("---", "source"),
        ("x" * 80, "x" * 60),
        ("a" * 59 + " b", "a" * 59),
    ],
)
def test_slugs_are_readable(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_the_same_name_in_two_folders_is_two_sources() -> None:
    assert partition_key("a/match.mp4") != partition_key("b/match.mp4")
    assert source_asset_id("a/match.mp4") != source_asset_id("b/match.mp4")
    assert source_asset_id("a/match.mp4").version == 5


@pytest.mark.parametrize("path", ["", "a\0b.mp4", "bad\udcff.mp4"])
def test_paths_that_cannot_be_stored_are_refused(path: str) -> None:
    with pytest.raises(BadInputError):
        partition_key(path)
    with pytest.raises(BadInputError):
        source_asset_id(path)


def test_a_library_path_is_absolute_with_links_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "match.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("match.mp4")
    monkeypatch.chdir(tmp_path)
    assert library_path("link.mp4") == str((tmp_path / "match.mp4").resolve())


def test_a_name_that_is_not_utf8_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="rename the file"):
        library_path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / f"{uuid.uuid4()}.mp4"
    file.write_bytes(b"content")
    assert checksum(file) == hashlib.sha256(b"content").hexdigest()
    with pytest.raises(BadInputError, match="cannot be read"):
        checksum(tmp_path / "missing.mp4")


def test_large_files_are_hashed_in_blocks_that_tell_content_from_time(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)
    empty = checksum(path)
    path.touch()
    assert checksum(path) == empty
    seen = {empty}
    for offset in (0, 3 * 1024**3 - 1):
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"1")
        seen.add(checksum(path))
    with path.open("r+b") as file:
        file.truncate(3 * 1024**3 - 1)
    seen.add(checksum(path))
    assert len(seen) == 4
    assert all(text.startswith(naming.SAMPLED) for text in seen)


@given(st.binary(max_size=64), st.integers(0, 64), st.integers(0, 64))
def test_the_form_of_a_checksum_depends_on_size_alone_and_what_is_registered_in_the_other_form_keeps_it(
    content: bytes, whole: int, earlier: int
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.multiple(naming, WHOLE=whole, BLOCK=2, SAMPLES=5) as _,
    ):
        path = Path(folder, "video")
        path.write_bytes(content)
        found = checksum(path)
        assert found.startswith(naming.SAMPLED) is (len(content) > whole)
        with patch.object(naming, "WHOLE", earlier):
            registered = checksum(path)
        assert checksum(path, registered) == registered
        path.write_bytes(content + b"!")
        assert checksum(path, registered) == checksum(path) != registered


@pytest.mark.parametrize("known", ["", "etag:abc", "sampled:abc", "ab" * 32, "anything"])
def test_a_checksum_of_other_content_or_of_no_known_form_is_no_reason_to_keep_it(tmp_path: Path, known: str) -> None:
    path = tmp_path / "video"
    path.write_bytes(b"video")
    assert checksum(path, known) == hashlib.sha256(b"video").hexdigest()
