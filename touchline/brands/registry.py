"""The known brands: what one is, how a list of them is read from CSV, and the list that Touchline ships.

Belongs here: entries, the book, CSV. Tables are in `touchline/schema.py`; matching is in `matcher.py`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final

from touchline.brands.text import fold
from touchline.errors import BadInputError

HEADER: Final = ("canonical_name", "aliases")
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://touchline/brand")
MAX_NAME: Final = 200
"""Longest name or alias in characters: what is longer is a file of another kind."""
REMEDY: Final = "Expected UTF-8 CSV with the header canonical_name,aliases and | between aliases."


@dataclass(frozen=True, slots=True)
class BrandEntry:
    """A brand: `id` is a UUID as text, `name` what reports show, `aliases` other spellings seen on boards."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Name and aliases, the name first."""
        return (self.name, *self.aliases)

    @classmethod
    def of(cls, name: str, aliases: Iterable[str] = ()) -> BrandEntry:
        """An entry whose id follows from its name."""
        return cls(brand_id(name), name, tuple(aliases))


class BrandBook:
    """An immutable collection of brands, in a given order, with a version that changes with its content."""

    def __init__(self, entries: Sequence[BrandEntry]) -> None:
        self.entries: Final[tuple[BrandEntry, ...]] = tuple(entries)

    @classmethod
    def from_entries(cls, entries: Iterable[BrandEntry]) -> BrandBook:
        """A book of these entries; of two with the same id the first is kept, with the aliases of both."""
        merged: dict[str, BrandEntry] = {}
        for entry in entries:
            known = merged.get(entry.id)
            if known is not None:
                more = (entry.name, *entry.aliases)
                entry = BrandEntry(known.id, known.name, tuple(dict.fromkeys((*known.aliases, *more))))
                entry = BrandEntry(entry.id, entry.name, tuple(a for a in entry.aliases if a != entry.name))
            merged[entry.id] = entry
        return cls(tuple(merged.values()))

    @cached_property
    def version(self) -> str:
        """SHA-256 (hex) over ids, names and aliases, whatever the order of the entries."""
        content = sorted([e.id, e.name, *sorted(e.aliases)] for e in self.entries)
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BrandBook) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[BrandEntry]:
        return iter(self.entries)


def brand_id(name: str) -> str:
    """The id of the brand of that name: UUID5 over the folded words, the same everywhere and for any writing of it."""
    return str(uuid.uuid5(NAMESPACE, " ".join(fold(name).words())))


def read_csv(path: str | Path) -> list[BrandEntry]:
    """Reads brands from a UTF-8 CSV file (canonical_name,aliases; | between aliases); a byte order mark is fine.

    Raises BadInputError naming file and line: no such file, not UTF-8, empty, other header, another number of
    columns, no name, a name without a letter or digit, a name twice, an unclosed quote.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"brands file {path} cannot be read: {error.strerror or error}. {REMEDY}") from error
    return _parse(raw, str(path))


def shipped() -> list[BrandEntry]:
    """The sponsors of world football that Touchline ships; see SOURCES.md beside the list."""
    return _parse(resources.files(__package__).joinpath("sponsors.csv").read_bytes(), "sponsors.csv")


def _parse(raw: bytes, source: str) -> list[BrandEntry]:
    def bad(line: int, what: str) -> BadInputError:
        return BadInputError(f"brands file {source}, line {line}: {what}. {REMEDY}")

    if not raw.strip():
        raise bad(1, "the file is empty")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise bad(line, f"byte 0x{raw[error.start]:02x} is not UTF-8") from error
    if "\0" in text:
        raise bad(text.count("\n", 0, text.index("\0")) + 1, "a NUL byte; this is no text file")
    lines = text.splitlines(keepends=True)
    rows = csv.reader(lines, strict=True)
    entries: list[BrandEntry] = []
    first_seen: dict[str, int] = {}
    ended, header_seen = 0, False
    while True:
        line = ended + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise bad(line, f"not CSV: {error}") from error
        if row is None:
            break
        ended = rows.line_num
        cells = [cell.strip() for cell in row]
        if not any(cells) and len(cells) <= 1:
            continue
        if not header_seen:
            if tuple(cell.casefold() for cell in cells) != HEADER:
                raise bad(line, f"expected the header {','.join(HEADER)}, got {','.join(cells)[:80]!r}")
            header_seen = True
            continue
        if len(cells) != len(HEADER):
            raise bad(line, f"expected {len(HEADER)} columns, got {len(cells)} (a comma inside a name needs quotes)")
        name, aliases = cells[0], tuple(dict.fromkeys(a.strip() for a in cells[1].split("|") if a.strip()))
        if not name:
            raise bad(line, "canonical_name is empty")
        for spelling in (name, *aliases):
            if not fold(spelling).letters:
                raise bad(line, f"{spelling[:40]!r} holds no letter or digit")
            if len(spelling) > MAX_NAME:
                raise bad(line, f"{spelling[:40]!r}... is longer than {MAX_NAME} characters")
        identity = brand_id(name)
        if identity in first_seen:
            raise bad(line, f"{name!r} is already on line {first_seen[identity]}")
        first_seen[identity] = line
        entries.append(BrandEntry(identity, name, tuple(a for a in aliases if a != name)))
    if not entries:
        raise bad(max(1, ended), "no brand in it")
    return entries
