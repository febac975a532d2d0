"""Whose a spelling is when a list of brands comes to those that are known: what is read can name one brand alone.

Belongs here: the rule and its words. The rows that it is put into effect on are in
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

TOLD: Final = 5
"""Lines named in one refusal."""


@dataclass(frozen=True, slots=True)
class Known:
    """A brand that is known already."""

    id: str
    name: str
    aliases: tuple[str, ...]


def given_up(
    entries: Sequence[BrandEntry], known: Iterable[Known], tell: Callable[[str], None]
) -> dict[str, frozenset[str]]:
    """The aliases that known brands give up to the listed ones: by id of the known brand, as they are spelled there.

    Of an alias the list that comes last decides; `tell` is called with a sentence for each that changes hands. A name
    stays with its brand: a listed brand that claims it raises BadInputError, which says of all such lines what they
    claim, of which brand, and how to decide.
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
        more = f"; and {len(refused) - TOLD} more" if len(refused) > TOLD else ""
        raise BadInputError("nothing is imported: " + "; ".join(refused[:TOLD]) + more)
    for sentence in told:
        tell(sentence)
    return {identity: frozenset(aliases) for identity, aliases in lost.items()}
