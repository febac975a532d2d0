"""Which scripts spellings are written in, and which of them a recogniser can read.

Belongs here: scripts of letters, by their names in Unicode. What an engine knows is its own affair
(`touchline/ocr/engine.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from touchline.brands.registry import BrandBook, BrandEntry
from touchline.brands.text import fold

KNOWN_BY: Final = 20
"""Letters of a script that a recogniser knows at least if it reads it: single ones serve as signs of mathematics."""
_SAME: Final = {
    "cjk": "Han",
    "ideographic": "Han",
    "halfwidth": "Katakana",
    "katakana-hiragana": "Katakana",
    "fullwidth": "Latin",
}
EXAMPLES: Final = 4
"""Brands named as examples."""


@lru_cache(maxsize=32_768)
def script_of(letter: str) -> str:
    """The script of a single letter: Latin, Cyrillic, Arabic, Hangul... Empty for what is no letter.

    >>> script_of("a"), script_of("Ж"), script_of("万"), script_of("7")
    ('Latin', 'Cyrillic', 'Han', '')
    """
    if not letter.isalpha():
        return ""
    first = unicodedata.name(letter, "").partition(" ")[0].casefold()
    return _SAME.get(first, first.capitalize())


def scripts_of(characters: Iterable[str]) -> list[str]:
    """The scripts that a recogniser of these characters reads, sorted."""
    letters: dict[str, set[str]] = {}
    for character in characters:
        for letter in fold(character).letters:
            letters.setdefault(script_of(letter), set()).add(letter)
    return sorted(script for script, known in letters.items() if script and len(known) >= KNOWN_BY)


def spellings_by_script(entries: BrandBook | Iterable[BrandEntry]) -> dict[str, dict[str, Any]]:
    """For each script but Latin: how many `spellings` need it, and the names of a few `brands` that they belong to."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for spelling in entry.spellings:
            for script in {script_of(letter) for letter in fold(spelling).letters} - {"", "Latin"}:
                of_script = found.setdefault(script, {"spellings": 0, "brands": []})
                of_script["spellings"] += 1
                if entry.name not in of_script["brands"] and len(of_script["brands"]) < EXAMPLES:
                    of_script["brands"].append(entry.name)
    return dict(sorted(found.items()))


def never_found(needed: Mapping[str, Mapping[str, Any]], read: Iterable[str]) -> str:
    """A sentence on the spellings of `spellings_by_script` that a recogniser of the scripts `read` never finds.

    Empty if there are none.

    >>> never_found({"Cyrillic": {"spellings": 2, "brands": ["Gazprom"]}}, ["Latin"])
    '2 spellings can never be found, the recogniser reads no Cyrillic (Gazprom, ...): import a Latin spelling as well'
    """
    lost = {script: of_script for script, of_script in needed.items() if script not in set(read)}
    if not lost:
        return ""
    number = sum(int(of_script["spellings"]) for of_script in lost.values())
    names = list(dict.fromkeys(str(name) for of_script in lost.values() for name in of_script["brands"]))
    scripts = " or ".join(filter(None, (", ".join(list(lost)[:-1]), list(lost)[-1])))
    more = ", ..." if number > len(names[:EXAMPLES]) else ""
    return (
        f"{number} {'spelling' if number == 1 else 'spellings'} can never be found, the recogniser reads no {scripts} "
        f"({', '.join(names[:EXAMPLES])}{more}): import a Latin spelling as well"
    )
