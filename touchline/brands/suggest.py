"""Suggestions: which known brand an unresolved text may mean.

Belongs here: suggestions, which change no number until somebody makes the text an alias. Matches are in `matcher.py`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from touchline.brands.graphics import is_graphic
from touchline.brands.likeness import WEAK, align
from touchline.brands.registry import BrandBook, BrandEntry
from touchline.brands.text import Folded, fold, is_han
from touchline.brands.words import ADDRESS, GENERIC, ORDINARY

SHORTEST: Final = 3
"""Length of the shortest spelling that is suggested [letters]."""
SHORT: Final = 4
"""Length of short spellings [letters]: they are suggested for one letter too many at an end or for a look-alike."""
LONG: Final = 9
"""Length from which a spelling is suggested for a text two edits away [letters]."""
FEW_WORDS: Final = 2
"""Largest number of words of a text for which a short spelling is suggested."""
WINDOW: Final = 3
"""Largest number of words that are joined and compared."""
CACHED: Final = 4096
"""Largest number of texts whose suggestion is cached."""


@lru_cache(maxsize=2)
def suggester_of(book: BrandBook) -> Suggester:
    """The suggester of a book, made once."""
    return Suggester(book)


class Suggester:
    """Suggests the brand that a text may mean. Safe to share between threads."""

    def __init__(self, book: BrandBook) -> None:
        self._letters: list[str] = []
        self._entries: list[BrandEntry] = []
        for entry in book:
            for spelling in entry.spellings:
                letters = fold(spelling).letters
                # A spelling of one Han character, or of a common word, occurs in too many texts.
                common = letters in ORDINARY or letters in GENERIC or letters in ADDRESS or is_graphic(spelling)
                if not common and (len(letters) >= SHORTEST or (len(letters) > 1 and is_han(letters[0]))):
                    self._letters.append(letters)
                    self._entries.append(entry)
        self._guess = lru_cache(maxsize=CACHED)(self._find)

    def perhaps(self, text: str) -> BrandEntry | None:
        """The brand of the nearest spelling that the text contains or is one edit away from (two in a long one).

        Of several the longest. None if there is none.
        """
        return self._guess(text)

    def _find(self, text: str) -> BrandEntry | None:
        folded = fold(text)
        best: tuple[float, int] | None = None
        found: BrandEntry | None = None
        for piece in _pieces(folded):
            if piece in GENERIC or piece in ORDINARY:
                continue
            for _, distance, index in process.extract(
                piece, self._letters, scorer=Levenshtein.distance, score_cutoff=2, limit=8
            ):
                spelling = self._letters[index]
                if len(spelling) <= SHORT and len(folded.words()) > FEW_WORDS:
                    continue
                if _near(piece, spelling, distance):
                    rank = (distance / len(spelling), -len(spelling))
                    if best is None or rank < best:
                        best, found = rank, self._entries[index]
        if found is None:
            held = [
                (len(spelling), -index)
                for index, spelling in enumerate(self._letters)
                if (len(spelling) > SHORT or is_han(spelling[0])) and spelling in folded.letters
            ]
            found = self._entries[-max(held)[1]] if held else None
        return found


def _near(piece: str, spelling: str, distance: int) -> bool:
    length = len(spelling)
    if is_han(spelling[0]):
        return distance == 0 or (distance == 1 and length > 2)
    if length <= SHORT:
        extra = piece[1:] == spelling or piece[:-1] == spelling
        return distance == 0 or extra or (len(piece) == length and align(piece, spelling).cost <= WEAK)
    return distance <= (2 if length >= LONG else 1)


def _pieces(folded: Folded) -> list[str]:
    """The whole text, its words, and runs of up to WINDOW words."""
    bounds = list(pairwise(folded.hard))
    spans = {(bounds[i][0], bounds[j][1]) for i in range(len(bounds)) for j in range(i, min(i + WINDOW, len(bounds)))}
    return list(dict.fromkeys([folded.letters, *(folded.letters[a:b] for a, b in sorted(spans))]))
