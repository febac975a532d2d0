"""The brands that readings are matched against: a list an analyst imports, or everything registered so far.

Belongs here: entries, the immutable collection of them, reading them from CSV, and the list that is shipped. The
database's table of brands is in `touchline/schema`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Final

from touchline.brands.text import fold
from touchline.errors import BadInputError

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://touchline/brand")
COLUMNS: Final = ("canonical_name", "aliases")


@dataclass(frozen=True, slots=True)
class BrandEntry:
    """A brand: its id (UUID text), display name, and the other spellings under which it is seen."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrandBook:
    """Brands in a fixed order. Two books of the same content have the same `version`."""

    entries: tuple[BrandEntry, ...]

    @classmethod
    def from_entries(cls, entries: Iterable[BrandEntry]) -> BrandBook:
        """A book of these entries, sorted by name."""
        return cls(tuple(sorted(entries, key=lambda e: (e.name.casefold(), e.id))))

    @cached_property
    def version(self) -> str:
        """SHA-256 over names and aliases, hex: part of the fingerprint of what was matched against this book."""
        content = [[e.id, e.name, sorted(e.aliases)] for e in self.entries]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def brand_id(name: str) -> str:
    """The id of a brand of that name, the same everywhere: UUID5 over its folded spelling."""
    return str(uuid.uuid5(NAMESPACE, fold(name) or name.casefold()))


def entry(name: str, aliases: Sequence[str] = ()) -> BrandEntry:
    """An entry with the id that its name gives it."""
    return BrandEntry(brand_id(name), name, tuple(aliases))


def read_csv(path: Path) -> list[BrandEntry]:
    """Brands from a CSV file with the columns canonical_name, aliases (`|` between aliases), UTF-8.

    Raises BadInputError, naming the line, for a missing file, another encoding, other columns, an empty or a
    repeated name, or a file without brands.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}); expected a CSV file of brands") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8 and try again") from error
    return _parse(text, str(path))


def shipped() -> list[BrandEntry]:
    """The sponsors of world football that Touchline comes with; `SOURCES.md` beside the list says where from."""
    return _parse((files("touchline.brands") / "sponsors.csv").read_text("utf-8"), "sponsors.csv")


def _parse(text: str, origin: str) -> list[BrandEntry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise BadInputError(f"{origin}, line {reader.line_num}: not valid CSV ({error})") from error
    if not rows or tuple(c.strip() for c in rows[0][1]) != COLUMNS:
        came = ",".join(rows[0][1]) if rows else "an empty file"
        raise BadInputError(f"{origin}, line 1: expected the header {','.join(COLUMNS)}, found {came}")
    entries: list[BrandEntry] = []
    first_line: dict[str, int] = {}
    for line, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(COLUMNS):
            raise BadInputError(
                f"{origin}, line {line}: expected 2 columns, found {len(row)}; put | between aliases, not a comma"
            )
        name = row[0].strip()
        if not name:
            raise BadInputError(f"{origin}, line {line}: canonical_name is empty; name the brand or remove the line")
        key = brand_id(name)
        if key in first_line:
            raise BadInputError(
                f"{origin}, line {line}: {name!r} is already on line {first_line[key]}; keep one of them"
            )
        first_line[key] = line
        aliases = row[1].split("|") if len(row) > 1 else []
        entries.append(BrandEntry(key, name, tuple(dict.fromkeys(a.strip() for a in aliases if a.strip()))))
    if not entries:
        raise BadInputError(f"{origin}: holds no brand; expected one a line under {','.join(COLUMNS)}")
    return entries
