"""The registry of brands: CSV in, entries, ids, versions, and the list that is shipped."""

from __future__ import annotations

import uuid
from collections import defaultdict
from pathlib import Path

import pytest

from touchline.brands import BrandBook, BrandEntry, brand_id, fold, read_csv, shipped
from touchline.errors import BadInputError


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "brands.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_names_and_aliases_are_read_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, 'canonical_name,aliases\nWanda,万达| Wanda Group |\nTIM,\n\n"Smith, Jones",s&j|s&j\n')
    assert [(e.name, e.aliases) for e in read_csv(path)] == [
        ("Wanda", ("万达", "Wanda Group")),
        ("TIM", ()),
        ("Smith, Jones", ("s&j",)),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path, newline: str) -> None:
    text = newline.join(["canonical_name,aliases", "Citroën,Citroen", ""])
    assert [e.name for e in read_csv(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))] == ["Citroën"]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "empty"),
        ("  \n \n", 1, "empty"),
        ("name,aliases\nNike,\n", 1, "header"),
        ("canonical_name\nNike\n", 1, "header"),
        ("canonical_name,aliases\n", 1, "no brand"),
        ("canonical_name,aliases\nNike,\n,swoosh\n", 3, "canonical_name is empty"),
        ("canonical_name,aliases\nNike,\nPuma,\nNIKE,\n", 4, "already on line 2"),
        ("canonical_name,aliases\nNike,\nPuma\n", 3, "expected 2 columns, got 1"),
        ("canonical_name,aliases\nNike,a,b\n", 2, "expected 2 columns, got 3"),
        ("canonical_name,aliases\nNike,\n---,\n", 3, "no letter or digit"),
        ('canonical_name,aliases\nNike,\n"Puma,\n', 3, "not CSV"),
        (b"canonical_name,aliases\nNike,\nCitro\xebn,\n", 3, "not UTF-8"),
        (b"canonical_name,aliases\nNi\x00ke,\n", 2, "NUL"),
        ("canonical_name,aliases\nNike," + "x" * 201 + "\n", 2, "longer than"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line_named(
    tmp_path: Path, content: str | bytes, line: int, says: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BadInputError) as refused:
        read_csv(path)
    message = str(refused.value)
    assert f"{path}, line {line}:" in message
    assert says in message
    assert "canonical_name,aliases" in message
    assert refused.value.exit_code == 2


def test_the_line_is_right_after_a_cell_of_several_lines(tmp_path: Path) -> None:
    path = write(tmp_path, 'canonical_name,aliases\n"Coca\nCola",\n,x\n')
    with pytest.raises(BadInputError, match="line 4"):
        read_csv(path)


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path, missing: bool) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        read_csv(tmp_path / "none.csv" if missing else tmp_path)


def test_an_id_follows_from_the_name_however_it_is_written() -> None:
    assert brand_id("Coca-Cola") == brand_id("COCA COLA") != brand_id("Cola")
    assert brand_id("Citroën") == brand_id("CITROEN")
    assert brand_id("Nike") == str(uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "https://touchline/brand"), "nike"))


def test_a_book_has_a_version_of_its_content_alone() -> None:
    nike, puma = BrandEntry.of("Nike"), BrandEntry.of("Puma", ["PUMA", "Puma SE"])
    book = BrandBook.from_entries([nike, puma])
    assert book.version == BrandBook.from_entries([puma, nike]).version
    assert book.version != BrandBook.from_entries([nike]).version
    assert book.version != BrandBook.from_entries([nike, BrandEntry.of("Puma", ["PUMA"])]).version
    assert len(book) == 2


def test_a_book_joins_the_aliases_of_one_brand() -> None:
    book = BrandBook.from_entries([BrandEntry.of("Nike", ["a"]), BrandEntry.of("NIKE", ["b", "a"])])
    assert [(e.name, e.aliases) for e in book] == [("Nike", ("a", "NIKE", "b"))]


def test_the_shipped_list_is_long_and_each_spelling_belongs_to_one_brand() -> None:
    entries = shipped()
    assert len(entries) >= 250
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        for spelling in entry.spellings:
            owners[fold(spelling).letters].add(entry.name)
    assert {letters: names for letters, names in owners.items() if len(names) > 1} == {}
    names = [fold(entry.name).letters for entry in entries]
    assert names == sorted(names), "the list is kept in order, so that a change shows as one line"


@pytest.mark.parametrize(
    "name", ["FIFA", "UEFA", "Inter", "Bundesliga", "Serie A", "LaLiga", "Bayern", "CONMEBOL", "Real Madrid", "unicef"]
)
def test_competitions_clubs_and_charities_are_not_shipped_as_sponsors(name: str) -> None:
    spellings = {fold(s).letters for entry in shipped() for s in entry.spellings}
    assert fold(name).letters not in spellings
