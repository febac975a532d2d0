"""The known brands: an entry, the book that readings are matched against, and how a list of brands is read.

Belongs here: entries, the book, which brand a spelling belongs to, and the shipped list. How CSV is read is in
`brand_csv.py`, tables are in `touchline/library/tables.py`; matching is in `matcher.py`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final

from touchline.brands.brand_csv import REMEDY, Refuse, Row, read_rows, refusal
from touchline.brands.text import fold
from touchline.errors import BadInputError

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://touchline/brand")
"""Namespace of the UUID5 that a brand's name gives."""
MAX_NAME: Final = 200
"""Length of the longest name or alias: a file with a longer one is of another kind [characters]."""
LARGEST: Final = 16 * 1024**2
"""Size of the largest list of brands, enough for a hundred thousand with their aliases [bytes]."""
CASE_COUNTS: Final = 4
"""In spellings of up to this length the spelling as written counts, not its letters alone [letters]."""


@dataclass(frozen=True, slots=True)
class BrandEntry:
    """A brand: `id` is a UUID as text, `name` what reports show, `aliases` other spellings seen on boards.

    `line` is where it stands in the list that it was read from, 0 if in none.
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)

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
        """A book of these entries. Of two with the same id the first is kept, with the aliases of both."""
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
        """SHA-256 (hex) over ids, names and aliases, independent of the order of the entries."""
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
    """The id of the brand of that name: UUID5 over the folded words, so case, accents and spaces do not change it."""
    return str(uuid.uuid5(NAMESPACE, " ".join(fold(name).words())))


def unfindable(spelling: str) -> bool:
    """Whether a spelling is too short to be found: a single letter, digit or character never names a brand."""
    return len(fold(spelling).letters) < 2


def same_to_the_matcher(spelling: str) -> str:
    """A key that two spellings share if they match the same readings: letters and digits without case and accents.

    In spellings of two letters case counts (`LG`, not `lg`), in those of up to four accents count (`Uber`, not `über`).
    The key of these is the spelling as written.

    >>> same_to_the_matcher("Caffè"), same_to_the_matcher("LG")
    ('caffe', 'LG')
    """
    letters = fold(spelling).letters
    if len(letters) == 2:
        return spelling.strip()
    return letters if len(letters) > CASE_COUNTS else spelling.strip().casefold()


def read_csv(path: str | Path, tell: Callable[[str], None] | None = None) -> list[BrandEntry]:
    """Reads brands from a CSV file: the columns canonical_name and aliases, with | between aliases (see `read_rows`).

    An alias that is another brand's name in the same file is left out: names decide. `tell` is called with a sentence
    for each spelling that is left out or can never be found.

    Raises BadInputError naming file and line, and nothing that stands there: no such file, a file that is no such CSV,
    no brand in it, no name, a name without a letter or digit, a brand that could never be found, a name twice, an alias
    of two brands. Nothing is taken from a file with a fault.
    """
    return parse(content_of(Path(path)), str(path), tell)


def content_of(path: Path) -> bytes:
    """The bytes of a list of brands, a file of this machine.

    Raises BadInputError for a file that cannot be read and for one of more than LARGEST bytes.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise BadInputError(f"brands file {path} cannot be read: {error.strerror or error}. {REMEDY}") from error
    if len(raw) > LARGEST:
        raise BadInputError(
            f"brands file {path} has more than {LARGEST / 1024**2:.0f} MiB; no list of brands is so long"
        )
    return raw


def parse(raw: bytes, source: str, tell: Callable[[str], None] | None = None) -> list[BrandEntry]:
    """As `read_csv`, of the content of a file; `source` is what messages call it."""
    told = tell or (lambda _: None)
    return _read(raw, refusal(source), lambda text: told(f"brands file {source}, {text}"))


def shipped() -> list[BrandEntry]:
    """The sponsors of world football that Touchline ships; see SOURCES.md beside the list."""
    raw = resources.files(__package__).joinpath("sponsors.csv").read_bytes()
    return _read(raw, refusal("sponsors.csv"), lambda _: None)


def _read(raw: bytes, bad: Refuse, tell: Callable[[str], None]) -> list[BrandEntry]:
    named: dict[str, BrandEntry] = {}
    for row in read_rows(raw, bad):
        entry = _entry(row, bad)
        letters = fold(entry.name).letters
        if letters in named:
            raise bad(row.line, f"this canonical_name is already on line {named[letters].line}")
        named[letters] = entry
    if not named:
        raise bad(1, "no brand in it")
    return list(_with_own_aliases(named, bad, tell))


def _entry(row: Row, bad: Refuse) -> BrandEntry:
    if not row.name:
        raise bad(row.line, "canonical_name is empty")
    aliases = tuple(alias for alias in dict.fromkeys(row.aliases) if alias != row.name)
    entry = BrandEntry(brand_id(row.name), row.name, aliases, row.line)
    for number, spelling in enumerate(entry.spellings):
        which = f"alias {number}" if number else "canonical_name"
        if not fold(spelling).letters:
            raise bad(row.line, f"{which} holds no letter or digit")
        if len(spelling) > MAX_NAME:
            raise bad(row.line, f"{which} is longer than {MAX_NAME} characters")
        if any(unicodedata.category(c) == "Cc" for c in spelling):
            raise bad(row.line, f"{which} holds a control character")
    if all(unfindable(spelling) for spelling in entry.spellings):
        raise bad(row.line, "the brand is a single character, which is never taken for one; add a longer alias")
    return entry


def _with_own_aliases(named: dict[str, BrandEntry], bad: Refuse, tell: Callable[[str], None]) -> Iterator[BrandEntry]:
    """The entries (by the letters of their names) without the aliases that are other brands' names.

    One alias of two brands is refused.
    """
    owners: dict[str, BrandEntry] = {}
    for entry in named.values():
        own = []
        for alias in entry.aliases:
            letters = fold(alias).letters
            other = named.get(letters, entry)
            if other is not entry:
                tell(
                    f"line {entry.line}: {alias!r} is left out of {entry.name!r}: it is the name of a brand, on "
                    f"line {other.line}. If both are one brand, write them on one line"
                )
                continue
            other = owners.setdefault(letters, entry)
            if other is not entry:
                raise bad(
                    entry.line,
                    f"an alias (number {entry.aliases.index(alias) + 1}) is one of the brand on line {other.line} too; "
                    "what is read can name one of them alone. Leave it to one, or write both brands on one line",
                )
            own.append(alias)
        for spelling in (entry.name, *own):
            if unfindable(spelling):
                tell(f"line {entry.line}: {spelling!r} of {entry.name!r} is never found: it is a single character")
        yield replace(entry, aliases=tuple(own))
