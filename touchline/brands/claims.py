"""Which brand a spelling belongs to when a list is imported: a reading can name only one brand.

Belongs here: the rule and its messages. The rows that it changes are in
`touchline/library/repository/known_brands.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from touchline.brands.registry import BrandEntry
from touchline.brands.text import fold
from touchline.errors import BadInputError

LISTED: Final = 5
"""Largest number of lines that one refusal names."""


@dataclass(frozen=True, slots=True)
class Known:
    """A brand that is known already."""

    id: str
    name: str
    aliases: tuple[str, ...]


def given_up(
    entries: Sequence[BrandEntry], known: Iterable[Known], tell: Callable[[str], None]
) -> dict[str, frozenset[str]]:
    """The aliases that known brands lose to listed ones, by id of the known brand and as they are spelled there.

    An alias belongs to the brand of the list that was imported last; `tell` is called with a sentence for each alias
    that changes its brand. A canonical name stays with its brand: raises BadInputError if listed brands claim one, with
    the lines, the brands and what to do.
    """
    book = {one.id: one for one in known}
    owners: dict[str, list[Known]] = defaultdict(list)
    for one in book.values():
        for spelling in (one.name, *one.aliases):
            owners[fold(spelling).letters].append(one)
    lost: dict[str, set[str]] = defaultdict(set)
    refused: list[str] = []
    told: list[str] = []
    for entry in entries:
        for spelling in entry.spellings:
            letters = fold(spelling).letters
            for owner in owners[letters]:
                if owner.id == entry.id:
                    continue
                if letters == fold(owner.name).letters:
                    refused.append(
                        f"line {entry.line}: {spelling!r} of {entry.name!r} is the name of the known brand "
                        f"{owner.name!r}. If both are one brand, list it under that name; if not, leave it out here"
                    )
                    continue
                lost[owner.id].update(alias for alias in owner.aliases if fold(alias).letters == letters)
                told.append(
                    f"line {entry.line}: {spelling!r} was a spelling of {owner.name!r} and names {entry.name!r} from "
                    f"now on; to take it back, import a line that gives it to {owner.name!r}"
                )
    if refused:
        more = f"; and {len(refused) - LISTED} more" if len(refused) > LISTED else ""
        raise BadInputError("nothing is imported: " + "; ".join(refused[:LISTED]) + more)
    for sentence in told:
        tell(sentence)
    return {identity: frozenset(aliases) for identity, aliases in lost.items()}
