"""The matcher: which known brands a reading names. A false brand is worse than a missed one.

The words of a reading, and runs of them joined, are compared with every spelling:

- exactly;
- with a recogniser's errors (`likeness.py`), of which a short spelling allows fewer;
- at the ends of a reading, as a spelling that the edge of the strip cuts off;
- as a spelling repeated without spaces, as on LED boards, and as the words of a spelling without spaces.

Belongs here: candidates, thresholds, the choice between overlapping candidates, scores. The vote over a track's
readings is in `touchline/stages/match_brands.py`.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Final

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from touchline.brands.graphics import in_a_phrase
from touchline.brands.likeness import align
from touchline.brands.registry import BrandBook, BrandEntry, same_to_the_matcher
from touchline.brands.spelling import FEW, Spelling
from touchline.brands.text import Folded, fold, skeleton
from touchline.brands.words import ADDRESS, GENERIC, ORDINARY

SHORT: Final = 4
"""Spellings of up to this length must be read exactly, as a whole word [letters]."""
SHORT_CONFIDENCE: Final = {3: 0.8, 4: 0.7}
"""Least confidence of a reading by letters of the spelling [0-1]. A spelling of 2 letters needs 0.9, and the reading
must consist of it, in the same case."""
MIN_LIKENESS: Final = {5: 0.94, 6: 0.91, 7: 0.92}
"""Least similarity by letters of the spelling [0-1]: one look-alike letter in up to 7. Above 7 `min_score` decides."""
BEHIND_MARK: Final = 0.9
"""Similarity of a spelling of 7 letters or more with one letter before it: a pictorial logo read as a letter [0-1]."""
COARSE: Final = 0.65
"""Unweighted similarity of look-alike classes below which no weighted one can reach `min_score` [0-1]."""
BROKEN_LIKENESS: Final = 0.92
"""Least similarity of words joined across spaces that the spelling does not have, up to 9 letters [0-1]."""
MIN_FRAGMENT: Final = 6
"""Least length of a cut-off reading [letters]."""
FRAGMENT_SHARE: Final = 0.7
"""Least share of a spelling, and of its distinctive letters, that a cut-off reading must have [0-1]."""
FRAGMENT_SHARE_WORDS: Final = 0.6
"""Least share of a spelling that a cut-off reading with all its distinctive letters must have: QATAR AIR [0-1]."""
FRAGMENT_OF: Final = 8
"""Length of the shortest spelling that is recognised by a piece [letters]. Pieces of shorter ones are other words."""
CONCATENATED: Final = 8
"""Length of the shortest spelling, of two words or more, that is found inside concatenated words [letters]."""
CONCATENATED_LIKENESS: Final = 0.93
"""Similarity of a spelling that is found inside concatenated words [0-1]."""
MIN_COPIES: Final = 1.4
"""Least number of copies of a spelling in a word that consists of them; two if the spelling has up to 5 letters."""
MAX_WINDOW_WORDS: Final = 24
"""Largest number of words, by soft boundaries, that are joined: a spelling written letter by letter."""
LONGEST_TEXT: Final = 1000
"""Number of characters of a reading that are matched. Lines have up to about 200. `match_brands` counts longer ones."""
AT_ONCE: Final = 1024
"""Pieces of a reading that are compared with all spellings in one table [rows]."""
CACHED: Final = 20_000
"""Largest number of readings whose matches are cached."""


@dataclass(frozen=True, slots=True)
class Match:
    """A brand named by a reading.

    `score` 0..1 is the similarity to the spelling `matched`, lowered for a cut-off spelling and for other words beside
    it. `start` and `end` delimit the letters in the folded reading (`fold(text).letters`). `graphic`: the spelling is
    also a word of broadcast graphics (VIVO, NEXT), so its place in the picture must show that the brand is meant.
    """

    entry: BrandEntry
    score: float
    matched: str
    start: int
    end: int
    graphic: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """A match, the spelling's length for thresholds, and whether its word is part of a phrase of broadcast graphics."""

    match: Match
    length: int
    phrase: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    spelling: Spelling
    start: int
    end: int
    likeness: float

    @property
    def weight(self) -> tuple[float, bool, int]:
        """Longest match first, then a canonical name before an alias, then the order of the book."""
        return (
            (self.end - self.start) * self.likeness**2,
            self.spelling.canonical,
            -self.spelling.entry_index,
        )


@lru_cache(maxsize=4)
def matcher_of(book: BrandBook, min_score: float = 0.85) -> BrandMatcher:
    """The matcher of a book, made once: it takes as long as matching the readings of a whole game."""
    return BrandMatcher(book, min_score=min_score)


class BrandMatcher:
    """Matches readings against the brands of a book. Safe to share between threads for reading texts."""

    def __init__(self, book: BrandBook, *, min_score: float = 0.85) -> None:
        self._book = book
        self._min_score = min_score
        self._spellings = [
            spelling
            for index, entry in enumerate(book.entries)
            for spelling in _unique(Spelling.of(index, text, rank == 0) for rank, text in enumerate(entry.spellings))
        ]
        self._exact: dict[str, list[Spelling]] = defaultdict(list)
        self._cut: dict[str, list[tuple[Spelling, int, int]]] = defaultdict(list)
        for spelling in self._spellings:
            self._exact[spelling.letters].append(spelling)
            self._index_pieces(spelling)
        self._by_skeleton: dict[str, list[Spelling]] = defaultdict(list)
        self._concatenated: dict[str, list[Spelling]] = defaultdict(list)
        for spelling in self._spellings:
            self._by_skeleton[spelling.skeleton].append(spelling)
            if spelling.words > 1 and len(spelling.letters) >= CONCATENATED:
                self._concatenated[spelling.skeleton].append(spelling)
        self._concatenated_lengths = sorted({len(letters) for letters in self._concatenated})
        self._long = [s for s in self._spellings if len(s.letters) > SHORT]
        self._skeletons = [s.skeleton for s in self._long]
        self._longest = max((len(s.letters) for s in self._spellings), default=0)
        self._periods = sorted({len(s.letters) for s in self._spellings if len(s.letters) >= 3})
        self._remembered: dict[str, tuple[_Found, ...]] = {}

    def _index_pieces(self, spelling: Spelling) -> None:
        length = len(spelling.letters)
        if length < FRAGMENT_OF:
            return
        inner = spelling.breaks - {0, length}
        for kept in range(max(MIN_FRAGMENT, math.ceil(FRAGMENT_SHARE_WORDS * length)), length):
            for start, end in ((0, kept), (length - kept, length)):
                cut = end if start == 0 else start
                piece = spelling.letters[start:end]
                # One more letter does not identify the next word: SELECTS is not Select Sport.
                if not inner.isdisjoint((cut - 1, cut, cut + 1)) or piece in GENERIC or piece in ORDINARY:
                    continue
                share = spelling.distinctive_share(start, end)
                whole = share == 1 and not all(spelling.distinctive)
                if share >= FRAGMENT_SHARE and (whole or kept >= FRAGMENT_SHARE * length):
                    self._cut[skeleton(piece)].append((spelling, start, end))

    def match(self, text: str, confidence: float = 1.0) -> list[Match]:
        """The brands that a reading names, each once, at different places of it, the longest match first.

        `confidence` 0..1 is the recogniser's. Short spellings need a high one; it is not part of the score. A word of
        broadcast graphics in a phrase of such words (ESPN VIVO, NEXT MATCH) names no brand.
        """
        return [
            found.match
            for found in self._found(text)
            if not found.phrase and confidence >= _needed_confidence(found.length)
        ]

    def graphics(self, text: str) -> list[BrandEntry]:
        """The brands whose name is a word of a phrase of broadcast graphics in a reading."""
        return [found.match.entry for found in self._found(text) if found.phrase]

    def _found(self, text: str) -> tuple[_Found, ...]:
        found = self._remembered.get(text)
        if found is None:
            examined = text[:LONGEST_TEXT]
            found = tuple(self._match(fold(examined), examined))
            if len(self._remembered) >= CACHED:
                self._remembered.clear()
            self._remembered[text] = found
        return found

    def _match(self, folded: Folded, text: str) -> Iterator[_Found]:
        candidates = sorted(self._candidates(folded, text), key=lambda c: c.weight, reverse=True)
        chosen: list[_Candidate] = []
        taken = bytearray(len(folded.letters))
        for candidate in candidates:
            if taken.find(1, candidate.start, candidate.end) < 0:
                chosen.append(candidate)
                taken[candidate.start : candidate.end] = b"\1" * (candidate.end - candidate.start)
        share = _explained(folded, chosen, taken)
        seen: set[int] = set()
        for c in chosen:
            if c.spelling.entry_index in seen:
                continue
            seen.add(c.spelling.entry_index)
            score = round(c.likeness * (1 - _context_weight(c.spelling) * (1 - share)), 4)
            entry = self._book.entries[c.spelling.entry_index]
            match = Match(entry, score, c.spelling.text, c.start, c.end, c.spelling.graphic)
            phrase = c.spelling.graphic and in_a_phrase(folded, c.start, c.end)
            yield _Found(match, c.spelling.asked_length, phrase)

    def _candidates(self, folded: Folded, text: str) -> Iterator[_Candidate]:
        letters, hard = folded.letters, set(folded.hard)
        if not letters:
            return
        windows = []
        for start, end in self._windows(folded):
            exact = [s for s in self._exact.get(letters[start:end], ()) if _fits(s, start, end, folded, hard, text)]
            yield from (_Candidate(s, start, end, 1.0) for s in exact)
            if not exact and end - start > SHORT:
                windows.append((start, end))
        yield from self._misread(folded, windows)
        yield from self._cut_off(folded)
        yield from self._concatenated_words(folded)

    def _windows(self, folded: Folded) -> Iterator[tuple[int, int]]:
        limit = self._longest + 3
        for index, start in enumerate(folded.soft):
            for end in folded.soft[index + 1 : index + 1 + MAX_WINDOW_WORDS]:
                if end - start > limit:
                    break
                yield start, end

    def _misread(self, folded: Folded, windows: list[tuple[int, int]]) -> Iterator[_Candidate]:
        """Whole words that differ from a spelling by a recogniser's errors."""
        windows = [(a, b) for a, b in windows if not _all_ordinary(folded, a, b)]
        if not windows or not self._long:
            return
        alike = partial(process.cdist, scorer=Levenshtein.normalized_similarity, score_cutoff=COARSE, dtype=np.float32)
        for first in range(0, len(windows), AT_ONCE):
            some = windows[first : first + AT_ONCE]
            scores = alike([skeleton(folded.letters[a:b]) for a, b in some], self._skeletons)
            for row, column in np.argwhere(scores > 0):
                (start, end), spelling = some[row], self._long[column]
                likeness = self._likeness(folded, start, end, spelling)
                if likeness is not None:
                    yield _Candidate(spelling, start, end, likeness)

    def _likeness(self, folded: Folded, start: int, end: int, spelling: Spelling) -> float | None:
        length = len(spelling.letters)
        reading = folded.letters[start:end]
        if length >= 7 and skeleton(reading[1:]) == spelling.skeleton and start + 1 not in folded.hard:
            return BEHIND_MARK if self._min_score <= BEHIND_MARK else None
        alignment = align(reading, spelling.letters)
        likeness = 1 - alignment.cost / max(length, end - start)
        if likeness < max(self._min_score, MIN_LIKENESS.get(length, 0.0)):
            return None
        if not spelling.plausible(alignment.by_letter):
            return None
        strange = _strange_breaks(spelling, start, end, folded)
        if strange and (length <= 5 or (length <= 9 and likeness < BROKEN_LIKENESS)):
            return None
        return likeness

    def _cut_off(self, folded: Folded) -> Iterator[_Candidate]:
        """Spellings that the beginning or the end of the reading cuts off. Half of a letter may remain at the cut."""
        last = len(folded.letters)
        edges = [(0, b) for b in folded.soft[1:]] + [(a, last) for a in folded.soft[1:-1]]
        for start, end in edges:
            # A piece is shorter than its spelling, and half of a letter may remain beside it.
            if end - start > self._longest:
                continue
            if _all_ordinary(folded, start, end):
                continue
            for half in (0, 1):
                if start == 0:
                    yield from self._pieces(folded, half, end, (start, end), at_start=True)
                if end == last:
                    yield from self._pieces(folded, start, end - half, (start, end), at_start=False)

    def _pieces(
        self, folded: Folded, start: int, end: int, window: tuple[int, int], *, at_start: bool
    ) -> Iterator[_Candidate]:
        if end - start < MIN_FRAGMENT:
            return
        for spelling, first, stop in self._cut.get(skeleton(folded.letters[start:end]), ()):
            if at_start is (first == 0):
                continue
            inner = (b - start + first for b in folded.breaks_within(start, end))
            if all(b in spelling.breaks for b in inner):
                share = (stop - first) / len(spelling.letters)
                whole = spelling.distinctive_share(first, stop) == 1 and sum(spelling.distinctive) >= FEW
                yield _Candidate(spelling, *window, (0.6 if whole else 0.55) + 0.3 * share)

    def _concatenated_words(self, folded: Folded) -> Iterator[_Candidate]:
        """Spellings inside concatenated words: a spelling repeated without spaces, or one of several words."""
        for start, end in pairwise(folded.hard):
            word = folded.letters[start:end]
            if len(word) < MIN_FRAGMENT:
                continue
            looks = skeleton(word)
            yield from (_Candidate(s, start, end, 1.0) for s in self._repeated(word, looks))
            for length in self._concatenated_lengths:
                for at in range(len(word) - length + 1):
                    for s in self._concatenated.get(looks[at : at + length], ()):
                        yield _Candidate(s, start + at, start + at + length, CONCATENATED_LIKENESS)

    def _repeated(self, word: str, looks: str) -> Iterator[Spelling]:
        """Spellings of which a word consists, repeated, the first and the last copy perhaps cut off; each once."""
        for period in self._periods:
            if period > len(word) / MIN_COPIES:
                return
            if looks[period:] != looks[:-period]:
                continue
            found: dict[Spelling, None] = {}
            for at in range(len(word) - period + 1):
                exactly, nearly = word[at : at + period], looks[at : at + period]
                found.update((s, None) for s in self._exact.get(exactly, ()) if period > 5 or len(word) >= 2 * period)
                if period > 5:
                    found.update(dict.fromkeys(self._by_skeleton.get(nearly, ())))
            yield from found


def _unique(spellings: Iterable[Spelling]) -> list[Spelling]:
    """The spellings that match different readings, in order."""
    return list({same_to_the_matcher(s.text): s for s in reversed(list(spellings))}.values())[::-1]


def _needed_confidence(length: int) -> float:
    return 0.9 if length <= 2 else SHORT_CONFIDENCE.get(length, 0.0)


def _context_weight(spelling: Spelling) -> float:
    """Weight of the other words of a reading in the score [0-1]: a short name is often part of another text."""
    length = spelling.asked_length
    return 0.25 if length <= SHORT else 0.15 if length <= 6 else 0.1


def _fits(s: Spelling, start: int, end: int, folded: Folded, hard: set[int], text: str) -> bool:
    """Whether a spelling that was read exactly also fits by word boundaries, case and accents."""
    length = len(s.letters)
    if length < 2:
        return False
    if s.han:
        return True
    if length == 2 and s.letters.isascii():
        return len(folded.letters) == 2 and text.strip() == s.text
    if length <= SHORT and not (start in hard and end in hard and _accents_fit(s, start, end, folded, text)):
        return False
    strange = _strange_breaks(s, start, end, folded)
    if not strange:
        return True
    return length > 5 or strange == length - 1


def _accents_fit(s: Spelling, start: int, end: int, folded: Folded, text: str) -> bool:
    """Whether a short word has no accent that the spelling lacks: über is not Uber."""
    written = unicodedata.normalize("NFD", text[folded.offsets[start] : folded.offsets[end - 1] + 1])
    spelled = unicodedata.normalize("NFD", s.text)
    return all(c in spelled for c in written if unicodedata.category(c) == "Mn")


def _strange_breaks(s: Spelling, start: int, end: int, folded: Folded) -> int:
    """Number of spaces inside the window where the spelling has none; one letter off if the lengths differ."""
    slack = 0 if end - start == len(s.letters) else 1
    inside = [b - start for b in folded.breaks_within(start, end)]
    return sum(1 for b in inside if not any(abs(b - own) <= slack for own in s.breaks))


def _all_ordinary(folded: Folded, start: int, end: int) -> bool:
    bounds = [start, *folded.breaks_within(start, end), end]
    words = (folded.letters[a:b] for a, b in pairwise(bounds))
    return all(w in ORDINARY or w in GENERIC or w.isdigit() for w in words)


def _explained(folded: Folded, chosen: list[_Candidate], taken: bytearray) -> float:
    """Share of the reading's letters that belong to its brands, to cut-off copies of them or to web addresses [0-1].

    `taken` holds a 1 for each letter of one of the `chosen`, which do not overlap.
    """
    explained = total = 0
    spellings = {c.spelling.letters for c in chosen}
    ends = {part for s in spellings for cut in range(len(s) + 1) for part in (s[:cut], s[cut:])}
    for start, end in pairwise(folded.hard):
        inside = taken.count(1, start, end)
        word = folded.letters[start:end]
        if not inside and word in ADDRESS:
            continue
        if not inside and word in ends:
            inside = end - start
        explained += min(inside, end - start)
        total += end - start
    return explained / total if total else 1.0
