"""Lists of brands as spreadsheets write them, whose a spelling is, and spellings that can never be found."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from resources.database import Database
from touchline.brands import BrandBook, BrandEntry, BrandMatcher, csv_line, fold, read_csv, shipped
from touchline.brands.scripts import never_found, script_of, scripts_of, spellings_by_script
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import KnownBrand
from touchline.ocr.engine import KnowsCharacters
from touchline.ocr.registry import load_engine

HEADER = "canonical_name,aliases\n"


@pytest.fixture
def registry(empty_database: Database) -> Database:
    """A database of its own with tables and no brand."""
    empty_database.migrate()
    return empty_database


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "ours.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes) -> list[tuple[str, tuple[str, ...]]]:
    return [(entry.name, entry.aliases) for entry in read_csv(write(folder, content))]


TWO = [("Caffè Rosso", ("Rosso & Co", "caffe.it")), ("Ours, Yours", ())]
COMMA = 'canonical_name,aliases\r\nCaffè Rosso,Rosso & Co|caffe.it\r\n"Ours, Yours",\r\n'
SEMICOLON = "canonical_name;aliases\r\nCaffè Rosso;Rosso & Co|caffe.it\r\nOurs, Yours;\r\n"
TAB = SEMICOLON.replace(";", "\t")


@pytest.mark.parametrize(
    "content",
    [
        COMMA,
        SEMICOLON,
        TAB,
        COMMA.replace("\r\n", "\r"),
        "sep=,\r\n" + COMMA,
        "sep=;\r\n" + SEMICOLON,
        '"sep=;"\r\n' + SEMICOLON,
        "\ufeff" + SEMICOLON,
        "\ufeffsep=;\r\n" + SEMICOLON,
        SEMICOLON.encode("utf-16"),
        TAB.encode("utf-16"),
        COMMA.encode("utf-16-le"),
        TAB.encode("utf-16-be"),
        ("\ufeff" + TAB).encode("utf-16-be"),
        COMMA.encode("utf-32"),
        # formatted cells without content, below and beside
        COMMA.replace("\r\n", ",,\r\n") + ",\r\n,,,\r\n",
        SEMICOLON.replace("\r\n", ";\r\n") + ";;\r\n",
        "\r\n,\r\n" + COMMA,
        # white space of many kinds
        COMMA.replace("Caffè Rosso", '"Caffè\nRosso"'),
        COMMA.replace("Caffè Rosso", '"Caffè\r\n Rosso "'),
        COMMA.replace("Caffè Rosso", "Caffè\u00a0 Rosso"),
        COMMA.replace("Caffè Rosso", "Caffè\u2028Rosso"),
        COMMA.replace("Caffè Rosso", "\tCaffè\u000bRosso\u200b"),
        COMMA.replace("Rosso & Co|", " Rosso\u2003& Co | "),
        COMMA.replace('"Ours, Yours",', '"Ours, Yours", ""'),
    ],
)
def test_what_a_spreadsheet_makes_of_a_list_is_the_same_list(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == TWO


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (COMMA.encode("cp1252"), 2, "not UTF-8"),
        (b"PK\x03\x04" + bytes(40), 1, "workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(40), 1, "workbook"),
        (b"\xff\xfe" + COMMA.encode("utf-16-le") + b"x", 1, "UTF-16"),
    ],
)
def test_a_file_that_could_be_read_in_several_ways_says_how_to_save_it(
    tmp_path: Path, content: bytes, line: int, says: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        read_csv(write(tmp_path, content))
    assert f"line {line}:" in str(refused.value) or says == "UTF-16"
    assert says in str(refused.value)
    assert "CSV UTF-8" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (HEADER + "A1,,note\n", 2),
        (HEADER + "One,\n\u2028,x2\n", 3),
        ("sep=;\n" + SEMICOLON + "Nike;a1;b2\n", 5),
        (HEADER + '"Two\nLines",x1\nOne;two\n', 4),
        ("canonical_name,aliases,notes\nNike,,\n", 1),
        (HEADER + "Be\x07ll,\n", 2),
    ],
)
def test_a_fault_below_such_lines_is_told_with_its_own_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(BadInputError, match=f"line {line}:"):
        read_csv(write(tmp_path, content))


@pytest.mark.parametrize("name", ["X", "3", "Ø", "ж", "A+", "万"])
def test_a_brand_of_one_character_is_refused_and_an_alias_of_one_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="line 2: .* single character"):
        read_csv(write(tmp_path, f"{HEADER}{name},\n"))
    told: list[str] = []
    entries = read_csv(write(tmp_path, f"{HEADER}{name},x.com\n"), told.append)
    assert [match.entry.name for match in BrandMatcher(BrandBook.from_entries(entries)).match("X.COM")] == [name]
    assert len(told) == 1 and "line 2" in told[0] and repr(name) in told[0]


def test_an_alias_of_two_brands_in_one_list_is_refused_and_both_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"line 3: an alias \(number 1\) .* line 2 too"):
        read_csv(write(tmp_path, f"{HEADER}Alpha Beer,Zedco\nBeta Wine,zedco\n"))


def test_an_alias_that_is_another_brands_name_is_left_out_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    entries = read_csv(write(tmp_path, f"{HEADER}Alpha Beer,Zedco|Alpha\nZEDCO,\n"), told.append)
    assert [(entry.name, entry.aliases) for entry in entries] == [("Alpha Beer", ("Alpha",)), ("ZEDCO", ())]
    assert len(told) == 1 and str(tmp_path) in told[0]
    assert all(words in told[0] for words in ("line 2", "'Zedco'", "'Alpha Beer'", "line 3"))


@pytest.mark.parametrize(
    ("line", "text"),
    [("O2,o2", "o2"), ("LG,lg", "lg"), ("Uber,Über", "ÜBER"), ("3M,3m", "3m"), ("Kia,KÌA", "KÌA")],
)
def test_an_alias_that_differs_in_case_or_accents_alone_counts_where_these_decide(
    tmp_path: Path, line: str, text: str
) -> None:
    name = line.partition(",")[0]
    with_alias = BrandMatcher(BrandBook.from_entries(read_csv(write(tmp_path, f"{HEADER}{line}\n"))))
    without = BrandMatcher(BrandBook.from_entries(read_csv(write(tmp_path, f"{HEADER}{name},\n"))))
    assert [match.entry.name for match in with_alias.match(text)] == [name]
    assert [match.entry.name for match in with_alias.match(name)] == [name]
    assert without.match(text) == []


def test_a_list_is_taken_in_whole_or_not_at_all(registry: Database) -> None:
    with registry.session() as session:
        repository.load_shipped_brands(session)
    with pytest.raises(BadInputError) as refused, registry.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("Aaa Foods"), BrandEntry.of("Foo", ["NIKE"])])
    assert all(words in str(refused.value) for words in ("'NIKE'", "'Foo'", "'Nike'"))
    with registry.session() as session:
        assert {"Aaa Foods", "Foo"}.isdisjoint(brand.canonical_name for brand in repository.list_brands(session))


def test_an_alias_goes_to_the_list_that_comes_last_and_can_be_taken_back(registry: Database) -> None:
    def aliases(name: str) -> list[str]:
        return next(b.aliases for b in repository.list_brands(session) if b.canonical_name == name)

    told: list[str] = []
    with registry.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("Zedco", ["Fly Zedco", "zed.co"])])
        repository.upsert_brands(session, [BrandEntry.of("Ours Air", ["FLY ZEDCO"])], tell=told.append)
        assert (aliases("Zedco"), aliases("Ours Air")) == (["zed.co"], ["FLY ZEDCO"])
        assert len(told) == 1 and all(name in told[0] for name in ("'FLY ZEDCO'", "'Zedco'", "'Ours Air'"))
        repository.upsert_brands(session, [BrandEntry.of("Zedco", ["Fly Zedco"])], tell=told.append)
        assert (aliases("Zedco"), aliases("Ours Air")) == (["zed.co", "Fly Zedco"], [])
        assert repository.upsert_brands(session, [BrandEntry.of("Zedco", ["Fly Zedco"])], tell=told.append) == (0, 0)
    assert len(told) == 2


def test_shipped_brands_that_come_later_leave_a_persons_aliases_alone(registry: Database) -> None:
    entry = next(e for e in shipped() if e.aliases)
    with registry.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("Ours", [entry.aliases[0]])])
        repository.load_shipped_brands(session)
        owners = [
            brand.canonical_name
            for brand in session.query(KnownBrand)
            if fold(entry.aliases[0]).letters in {fold(s).letters for s in (brand.canonical_name, *brand.aliases)}
        ]
    assert owners == ["Ours"]


def test_an_import_keeps_an_alias_that_differs_by_case_where_case_decides(registry: Database) -> None:
    with registry.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("O2")])
        assert repository.upsert_brands(session, [BrandEntry.of("O2", ["o2"])]) == (0, 1)
        assert BrandMatcher(repository.brand_book(session)).match("o2")


@pytest.mark.parametrize(
    ("letter", "script"),
    [
        ("é", "Latin"),
        ("Ж", "Cyrillic"),
        ("ض", "Arabic"),
        ("한", "Hangul"),
        ("ש", "Hebrew"),
        ("ไ", "Thai"),
        ("万", "Han"),
    ],
)
def test_a_letters_script_is_known(letter: str, script: str) -> None:
    assert script_of(letter) == script


def test_the_default_recogniser_tells_what_it_reads() -> None:
    engine = load_engine("rapidocr")
    assert isinstance(engine, KnowsCharacters)
    assert {"Latin", "Han", "Katakana", "Hiragana", "Greek"} == set(scripts_of(engine.characters))


def test_every_shipped_spelling_can_be_read() -> None:
    engine = load_engine("rapidocr")
    assert isinstance(engine, KnowsCharacters)
    known = {letter for character in engine.characters for letter in fold(character).letters}
    assert [(e.name, s) for e in shipped() for s in e.spellings if not set(fold(s).letters) <= known] == []


def test_spellings_in_a_script_that_is_not_read_are_counted_and_named() -> None:
    entries = [
        BrandEntry.of("Газпром"),
        BrandEntry.of("Samsung", ["삼성", "三星"]),
        BrandEntry.of("Тинькофф", ["Тинькофф Банк"]),
    ]
    said = never_found(spellings_by_script(entries), ["Han", "Latin"])
    assert "4 spellings" in said and "Cyrillic or Hangul" in said and "Газпром" in said and "Samsung" in said
    assert never_found(spellings_by_script(entries[1:2]), ["Han", "Hangul", "Latin"]) == ""
    assert never_found(spellings_by_script([BrandEntry.of("Nike")]), ["Latin"]) == ""


@pytest.mark.parametrize("text", ["ETIM", 'the "best", yes', "a|b", "  x  y ", "=1+1"])
def test_a_line_for_a_list_is_read_back_as_the_same_alias(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, HEADER + csv_line("TIM", text) + "\n" + csv_line(text + " co") + "\n")
    spelled = unicodedata.normalize("NFC", " ".join(text.replace("|", " ").split()))
    assert found == [("TIM", (spelled,)), (" ".join((text + " co").split()), ())]
