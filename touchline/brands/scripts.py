"""The scripts of spellings, and which of them a recogniser can read.

Belongs here: scripts of letters, by their names in Unicode. The characters that an engine reads are in
`touchline/ocr/engine.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from touchline.brands.registry import BrandBook, BrandEntry
from touchline.brands.text import fold

KNOWN_BY: Final = 20
"""Least number of letters of a script that its recogniser has. Fewer are mathematical signs [letters]."""
_SAME: Final = {
    "cjk": "Han",
    "ideographic": "Han",
    "halfwidth": "Katakana",
    "katakana-hiragana": "Katakana",
    "fullwidth": "Latin",
}
"""Scripts by the first word of a letter's name in Unicode, where they differ from it."""
EXAMPLES: Final = 4
"""Largest number of brands that are named as examples."""


@lru_cache(maxsize=32_768)
def script_of(letter: str) -> str:
    """The script of a single letter: Latin, Cyrillic, Arabic, Hangul... Empty if it is not a letter.

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
    """For each script except Latin: the number of `spellings` that need it, and a few of their `brands`."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for spelling in entry.spellings:
            for script in _scripts(spelling) - {"Latin"}:
                of_script = found.setdefault(script, {"spellings": 0, "brands": []})
                of_script["spellings"] += 1
                if entry.name not in of_script["brands"] and len(of_script["brands"]) < EXAMPLES:
                    of_script["brands"].append(entry.name)
    return dict(sorted(found.items()))


def brands_by_script(entries: BrandBook | Iterable[BrandEntry]) -> dict[str, dict[str, Any]]:
    """The brands without a Latin spelling, by the scripts that they need: their `number`, and a few of the `brands`.

    In a key, | separates scripts of which one is enough ("Arabic|Han"); + joins those of one spelling ("Han+Hangul").
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        needed = {"+".join(sorted(_scripts(spelling) - {"Latin"})) for spelling in entry.spellings}
        if needed and "" not in needed:
            of_scripts = found.setdefault("|".join(sorted(needed)), {"number": 0, "brands": []})
            of_scripts["number"] += 1
            if len(of_scripts["brands"]) < EXAMPLES:
                of_scripts["brands"].append(entry.name)
    return dict(sorted(found.items()))


def brands_never_found(needed: Mapping[str, Mapping[str, Any]], read: Iterable[str]) -> str:
    """A sentence on the brands of `brands_by_script` that a recogniser of the scripts `read` cannot find.

    Empty if there are none.

    >>> brands_never_found({"Cyrillic": {"number": 2, "brands": ["Газпром", "Тинькофф"]}}, ["Latin"])
    '2 brands can never be found, the recogniser reads no Cyrillic (Газпром, Тинькофф): import Latin spellings'
    """
    known = set(read)
    lost = {
        scripts: of_scripts
        for scripts, of_scripts in needed.items()
        if not any(set(one.split("+")) <= known for one in scripts.split("|"))
    }
    if not lost:
        return ""
    number = sum(int(of_scripts["number"]) for of_scripts in lost.values())
    unread = {script for scripts in lost for one in scripts.split("|") for script in one.split("+")} - known
    names = [str(name) for of_scripts in lost.values() for name in of_scripts["brands"]]
    return (
        f"{number} {'brand' if number == 1 else 'brands'} can never be found, the recogniser reads no "
        f"{_either(sorted(unread))} ({_some(names, number)}): import Latin spellings"
    )


def _scripts(spelling: str) -> set[str]:
    return {script_of(letter) for letter in fold(spelling).letters} - {""}


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _some(names: Sequence[str], number: int) -> str:
    """The first of `names`, and an ellipsis if `number` is larger."""
    return ", ".join(names[:EXAMPLES]) + (", ..." if number > len(names[:EXAMPLES]) else "")


def never_found(needed: Mapping[str, Mapping[str, Any]], read: Iterable[str]) -> str:
    """A sentence on the spellings of `spellings_by_script` that a recogniser of the scripts `read` cannot find.

    Empty if there are none.

    >>> never_found({"Cyrillic": {"spellings": 2, "brands": ["Gazprom"]}}, ["Latin"])
    '2 spellings can never be found, the recogniser reads no Cyrillic (Gazprom, ...): import a Latin spelling as well'
    """
    lost = {script: of_script for script, of_script in needed.items() if script not in set(read)}
    if not lost:
        return ""
    number = sum(int(of_script["spellings"]) for of_script in lost.values())
    names = list(dict.fromkeys(str(name) for of_script in lost.values() for name in of_script["brands"]))
    return (
        f"{number} {'spelling' if number == 1 else 'spellings'} can never be found, the recogniser reads no "
        f"{_either(list(lost))} ({_some(names, number)}): import a Latin spelling as well"
    )
