"""The open benchmark's data: the list and the truth agree, nothing private is in them, and its media is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.broadcast81 import BRANDS, DATA, GIT, PARTS, items, part_of, truths
from benchmarks.clips import brand_list, footage
from benchmarks.score_reports import REPEAT
from touchline.brands import read_csv
from touchline.errors import BadInputError

MEDIA = {".mp4", ".avi", ".gif", ".png", ".jpg", ".jpeg", ".webm", ".mkv"}


def test_every_item_has_its_truth_and_an_address() -> None:
    listed = items()
    assert {item.file for item in listed} == {truth["file"] for truth in truths().values()}
    assert len({item.stem for item in listed}) == len(listed) == 81
    for item in listed:
        assert re.fullmatch(r"[0-9a-f]{64}", item.sha256), item
        if item.origin == GIT:
            assert re.fullmatch(r"[0-9a-f]{40}", item.commit), item
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", item.repo) and item.path, item


def test_truth_is_consistent() -> None:
    listed = {brand.name for brand in read_csv(BRANDS)}
    for stem, truth in truths().items():
        still = truth["kind"] == "still"
        for brand in truth["brands"]:
            where = f"{stem}: {brand['name']}"
            assert brand["where"] in {"board", "jersey", "scorebug", "other"}, where
            assert brand["name"] in listed, where
            assert brand["legible"] == ("text_px" in brand), where
            if still:
                continue
            assert brand["legible"] == bool(brand["legible_s"]), where
            for span in brand["legible_s"]:
                inside = any(v[0] <= span[0] and span[1] <= v[1] for v in brand["visible_s"])
                assert span[0] < span[1] and inside, f"{where}: {span} can be read and not be seen"
            # The container's length may be a tenth of a second longer than the pictures.
            assert all(0 <= a < b <= truth["duration_s"] + 0.1 for a, b in brand["visible_s"]), where


def test_parts_are_whole_repositories_and_about_half_each() -> None:
    seconds = dict.fromkeys(PARTS, 0.0)
    known = truths()
    for item in items():
        assert item.part == part_of(item.repo), item.file
        truth = known[item.stem]
        spans = [[0, 0.5] for b in truth["brands"] if b["legible"]] if truth["kind"] == "still" else []
        spans += [span for brand in truth["brands"] for span in brand.get("legible_s", ())]
        seconds[item.part] += sum(end - start for start, end in spans)
    assert 0.4 < seconds["tune"] / sum(seconds.values()) < 0.6, seconds


def test_no_media_is_in_the_data_and_no_path_of_a_machine() -> None:
    for path in DATA.rglob("*"):
        assert path.suffix not in MEDIA, path
        if path.suffix in {".json", ".tsv", ".csv"}:
            found = re.search(r"/(home|work|tmp|root|Users)/|@\w+\.\w|annotator|\bsession", path.read_text("utf-8"))
            assert not found, f"{path}: {found}"


def test_a_folder_of_fetched_media_is_footage_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="benchmarks fetch"):
        footage(tmp_path)
    (tmp_path / "neg").mkdir()
    for file in ("dfl.mp4", "neg/black.mp4"):
        (tmp_path / file).touch()
    material = footage(tmp_path)
    assert [clip.path.name for clip in material.clips] == ["black.mp4", "dfl.mp4"]
    assert material.brands_csv == BRANDS
    assert len(material.left_out) == 79
    assert "lorenzo_match.mp4" in material.left_out
    assert brand_list(tmp_path) == BRANDS


def test_a_folder_with_truth_of_its_own_must_be_whole(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "mine.json").write_text('{"file": "mine.mp4", "kind": "clip", "brands": []}', "utf-8")
    with pytest.raises(BadInputError, match=r"brands\.csv"):
        footage(tmp_path)
    (tmp_path / "brands.csv").write_text("canonical_name,aliases\nNike,\n", "utf-8")
    with pytest.raises(BadInputError, match=r"mine\.mp4"):
        footage(tmp_path)
    (tmp_path / "mine.mp4").touch()
    material = footage(tmp_path)
    assert [clip.truth["file"] for clip in material.clips] == ["mine.mp4"]
    assert material.brands_csv == tmp_path / "brands.csv"
    assert not material.left_out


def test_the_page_says_how_to_repeat_it() -> None:
    page = (DATA.parents[1] / "docs" / "benchmarks.md").read_text("utf-8")
    assert f"\n\n{REPEAT}\n\n" in page
