"""`touchline brands import` and `--brands`: what is refused, what is told, and that nothing is taken in half."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from resources.local_services import Endpoints
from resources.settings import Settings
from touchline_cli.app import app

HEADER = "canonical_name,aliases\n"


@pytest.fixture
def home(settings: Settings, services: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home whose servers the test run shares."""
    monkeypatch.setenv("TOUCHLINE_HOME", str(settings.home))
    return settings.home


def imported(folder: Path, content: str | bytes) -> Result:
    path = folder / "new.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CliRunner().invoke(app, ["brands", "import", str(path)], env={"COLUMNS": "400"})


def names() -> set[str]:
    listed = CliRunner().invoke(app, ["brands", "list", "--json"])
    return {brand["canonical_name"] for brand in json.loads(listed.stdout)}


def test_an_alias_that_is_another_brands_name_ends_the_import_and_nothing_is_taken(home: Path, tmp_path: Path) -> None:
    done = imported(tmp_path, f"{HEADER}Quendle Water,\nQuendle Foods,Nike\n")
    assert done.exit_code != 0
    said = done.output + str(done.exception or "")
    assert all(words in said for words in ("line 3", "'Nike'", "'Quendle Foods'"))
    assert names().isdisjoint({"Quendle Water", "Quendle Foods"})


def test_a_list_from_a_european_spreadsheet_is_taken_and_what_can_never_be_found_is_told(
    home: Path, tmp_path: Path
) -> None:
    content = "sep=;\r\ncanonical_name;aliases;\r\nQuendle Gás;Квендл|Q;\r\n;;\r\n"
    done = imported(tmp_path, content.encode("utf-16"))
    assert done.exit_code == 0, done.output
    assert "1 brands added" in done.output
    assert "the recogniser reads no Cyrillic (Quendle Gás)" in done.output
    assert "'Q'" in done.output
    assert "Quendle Gás" in names()
