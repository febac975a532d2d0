"""One spelling of a brand, prepared for matching.

Belongs here: which of its letters distinguish it from other brands. Comparing it with a reading is in `matcher.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from touchline.brands.graphics import is_graphic
from touchline.brands.likeness import STRONG
from touchline.brands.text import fold, is_han, skeleton
from touchline.brands.words import ADDRESS, GENERIC

DISTINCTIVE_LIKENESS: Final = 0.75
"""Least similarity of the distinctive letters alone, such as 'qatar' of Qatar Airways [0-1]."""
FEW: Final = 5
"""Number of distinctive letters up to which FEW_LIKENESS applies [letters]."""
FEW_LIKENESS: Final = 0.85
"""Least similarity of few distinctive letters: no whole edit in 'yabo' of Yabo Sports [0-1]."""
SHORT_SPELLING: Final = 7
"""Length of spellings whose first letter distinguishes them from common words (Orange, grange) [letters]. An error
there may cost STRONG at most."""
WORD_LIKENESS: Final = 0.65
"""Least similarity of each single word, except parts of a web address [0-1]."""
MIN_EMBEDDED: Final = 5
"""Length of the shortest generic word that is found at the beginning or the end of a longer word (e-football)
[letters]."""

_EMBEDDED: Final = tuple(g for g in GENERIC if len(g) >= MIN_EMBEDDED)


@dataclass(frozen=True, slots=True)
class Spelling:
    """A spelling as written (`text`), its folded letters, their look-alike classes and its word boundaries.

    `distinctive` says for each letter whether it belongs to the part that distinguishes this brand from others,
    `numeric` whether it belongs to a number. `words` counts words by soft boundaries. `graphic`: it is also a word of
    broadcast graphics.
    """

    entry_index: int
    text: str
    canonical: bool
    letters: str
    skeleton: str
    breaks: frozenset[int]
    words: int
    distinctive: tuple[bool, ...]
    numeric: tuple[bool, ...]
    han: bool
    graphic: bool

    @classmethod
    def of(cls, entry_index: int, text: str, canonical: bool) -> Spelling:
        """Prepares a spelling of the brand at `entry_index` of the book."""
        folded = fold(text)
        bounds = list(pairwise(folded.soft))
        distinctive = [True] * len(folded.letters)
        for start, end in bounds:
            for a, b in _generic(folded.letters[start:end]):
                distinctive[start + a : start + b] = [False] * (b - a)
        for start, end in pairwise(folded.hard):
            for a, b in _generic(folded.letters[start:end]):
                distinctive[start + a : start + b] = [False] * (b - a)
        if not any(distinctive):
            distinctive = [True] * len(folded.letters)
        numeric = [False] * len(folded.letters)
        for start, end in bounds:
            if folded.letters[start:end].isdigit():
                numeric[start:end] = [True] * (end - start)
        return cls(
            entry_index=entry_index,
            text=text,
            canonical=canonical,
            letters=folded.letters,
            skeleton=skeleton(folded.letters),
            breaks=frozenset(folded.soft),
            words=len(bounds),
            distinctive=tuple(distinctive),
            numeric=tuple(numeric),
            han=bool(folded.letters) and all(is_han(c) for c in folded.letters),
            graphic=is_graphic(text),
        )

    @property
    def asked_length(self) -> int:
        """The length for thresholds [letters]. A Han character counts as three letters, another syllable as two."""
        return len(self.letters) * (3 if self.han else 2 if self.letters >= "\u3000" else 1)

    def distinctive_share(self, start: int, end: int) -> float:
        """The share of the distinctive letters that lie in [start, end)."""
        return sum(self.distinctive[start:end]) / sum(self.distinctive)

    def plausible(self, costs: Sequence[float]) -> bool:
        """Whether a reading with these costs on each letter can still be this spelling.

        The distinctive letters need DISTINCTIVE_LIKENESS (if few FEW_LIKENESS), each word WORD_LIKENESS, and a number
        must be nearly exact: Deutsche Bahn is not Deutsche Bank, FA Sports is not EA Sports.
        """
        spent = sum(cost for cost, counts in zip(costs, self.distinctive, strict=True) if counts)
        in_numbers = sum(cost for cost, counts in zip(costs, self.numeric, strict=True) if counts)
        own = sum(self.distinctive)
        needed = DISTINCTIVE_LIKENESS if own > FEW else FEW_LIKENESS
        if 1 - spent / own < needed or in_numbers > STRONG:
            return False
        if len(self.letters) <= SHORT_SPELLING and costs[0] > STRONG:
            return False
        bounds = sorted(self.breaks)
        return all(
            self.letters[a:b] in ADDRESS or 1 - sum(costs[a:b]) / (b - a) >= WORD_LIKENESS for a, b in pairwise(bounds)
        )


def _generic(word: str) -> list[tuple[int, int]]:
    """The generic part of a word, as [start, end): the word itself, or a longer generic word at one of its ends."""
    if word in GENERIC or word in ADDRESS:
        return [(0, len(word))]
    ends = [(len(word) - len(g), len(word)) for g in _EMBEDDED if word.endswith(g)] if word.endswith(_EMBEDDED) else []
    starts = [(0, len(g)) for g in _EMBEDDED if word.startswith(g)] if word.startswith(_EMBEDDED) else []
    return sorted(ends or starts, key=lambda span: span[0] - span[1])[:1]
