"""Which known brands a reading names, if any. A brand that is not there is worse than a brand missed.

A reading is compared by whole words and runs of words, joined, against every spelling: exactly; then with a
recogniser's errors (`likeness.py`), the fewer allowed the shorter the spelling; then, at the ends of a reading, as a
spelling cut off by the edge of the strip; and as a spelling written over and over without a space, as LED boards do.

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
"""Spellings of up to so many letters must be read exactly, as a whole word."""
SHORT_CONFIDENCE: Final = {3: 0.8, 4: 0.7}
"""Recogniser's confidence [0-1] asked for spellings of so many letters; 2 letters need 0.9 and the reading to
themselves, in the same case."""
MIN_LIKENESS: Final = {5: 0.94, 6: 0.91, 7: 0.92}
"""Likeness [0-1] by letters of the spelling: one look-alike up to 7 letters; above, `min_score` alone."""
BEHIND_MARK: Final = 0.9
"""Likeness of a spelling of 7 letters or more behind one letter too many: a pictorial mark that was read as one."""
COARSE: Final = 0.65
"""Unweighted likeness of look-alike classes below which no weighted likeness can reach `min_score`."""
BROKEN_LIKENESS: Final = 0.92
"""Likeness asked of words joined across spaces where the spelling has none, up to 9 letters."""
MIN_FRAGMENT: Final = 6
"""Letters that a cut-off reading must keep."""
FRAGMENT_SHARE: Final = 0.7
"""Share of a spelling, and of its distinctive letters, that a cut-off reading must keep."""
FRAGMENT_SHARE_WORDS: Final = 0.6
"""Share it must keep where all distinctive letters are there: QATAR AIR."""
FRAGMENT_OF: Final = 8
"""Only spellings of so many letters are recognised by a piece: pieces of shorter ones are words of their own."""
GLUED: Final = 8
"""A spelling of two words or more and so many letters is found inside a run of letters without spaces."""
GLUED_LIKENESS: Final = 0.93
MIN_COPIES: Final = 1.4
"""Copies of a spelling in a word that is nothing else; of spellings up to 5 letters two."""
MAX_WINDOW_WORDS: Final = 24
"""Words (by soft boundaries) joined at most: a spelling written letter by letter."""
LONGEST_TEXT: Final = 1000
"""Characters of a reading that are looked at; lines of pictures have some 200. `match_brands` counts longer ones."""
AT_ONCE: Final = 1024
"""Pieces of a reading compared with all spellings at once: a table of so many rows."""
CACHED: Final = 20_000
"""Readings whose outcome is remembered."""


@dataclass(frozen=True, slots=True)
class Match:
    """A brand named by a reading.

    `score` 0..1 is the likeness with the spelling `matched`, less for a cut-off spelling and for words beside it that
    it does not explain. `start` and `end` delimit the letters in the folded reading (`fold(text).letters`).
    `graphic`: the spelling is also a word of broadcast graphics (VIVO, NEXT), so that its place has to speak for it.
    """

    entry: BrandEntry
    score: float
    matched: str
    start: int
    end: int
    graphic: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """A match, the length of spelling by which strictness goes, and whether its word is one of a graphic's phrase."""

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
        """Longest explanation first, then a canonical name before an alias, then the book's order."""
        return (
            (self.end - self.start) * self.likeness**2,
            self.spelling.canonical,
            -self.spelling.entry_index,
        )


@lru_cache(maxsize=4)
def matcher_of(book: BrandBook, min_score: float = 0.85) -> BrandMatcher:
    """The matcher of a book, made once: preparing a thousand brands takes as long as matching a whole match."""
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
        self._glued: dict[str, list[Spelling]] = defaultdict(list)
        for spelling in self._spellings:
            self._by_skeleton[spelling.skeleton].append(spelling)
            if spelling.words > 1 and len(spelling.letters) >= GLUED:
                self._glued[spelling.skeleton].append(spelling)
        self._glued_lengths = sorted({len(letters) for letters in self._glued})
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
                # One letter of a word more is not enough to tell that word: SELECTS of Select Sport.
                if not inner.isdisjoint((cut - 1, cut, cut + 1)) or piece in GENERIC or piece in ORDINARY:
                    continue
                share = spelling.distinctive_share(start, end)
                whole = share == 1 and not all(spelling.distinctive)
                if share >= FRAGMENT_SHARE and (whole or kept >= FRAGMENT_SHARE * length):
                    self._cut[skeleton(piece)].append((spelling, start, end))

    def match(self, text: str, confidence: float = 1.0) -> list[Match]:
        """The brands that a reading names, each once, in different places of it, the best explanation first.

        `confidence` 0..1 is the recogniser's: short spellings ask for a good one. It does not enter the score.
        A word of broadcast graphics in a phrase of these (ESPN VIVO, NEXT MATCH) names no brand.
        """
        return [
            found.match
            for found in self._found(text)
            if not found.phrase and confidence >= _needed_confidence(found.length)
        ]

    def graphics(self, text: str) -> list[BrandEntry]:
        """The brands whose name a reading holds as a word of a broadcast graphic's phrase."""
        return [found.match.entry for found in self._found(text) if found.phrase]

    def _found(self, text: str) -> tuple[_Found, ...]:
        found = self._remembered.get(text)
        if found is None:
            looked_at = text[:LONGEST_TEXT]
            found = tuple(self._match(fold(looked_at), looked_at))
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
        yield from self._run_together(folded)

    def _windows(self, folded: Folded) -> Iterator[tuple[int, int]]:
        limit = self._longest + 3
        for index, start in enumerate(folded.soft):
            for end in folded.soft[index + 1 : index + 1 + MAX_WINDOW_WORDS]:
                if end - start > limit:
                    break
                yield start, end

    def _misread(self, folded: Folded, windows: list[tuple[int, int]]) -> Iterator[_Candidate]:
        """Whole words that are a spelling but for a recogniser's errors."""
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
        """Spellings that the beginning or the end of the reading cuts off; half of a letter may be left at the cut."""
        last = len(folded.letters)
        edges = [(0, b) for b in folded.soft[1:]] + [(a, last) for a in folded.soft[1:-1]]
        for start, end in edges:
            # A piece is shorter than its spelling, and half of a letter may stand beside it.
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

    def _run_together(self, folded: Folded) -> Iterator[_Candidate]:
        """Spellings inside a run of letters without spaces: written over and over, or of several words."""
        for start, end in pairwise(folded.hard):
            word = folded.letters[start:end]
            if len(word) < MIN_FRAGMENT:
                continue
            looks = skeleton(word)
            yield from (_Candidate(s, start, end, 1.0) for s in self._repeated(word, looks))
            for length in self._glued_lengths:
                for at in range(len(word) - length + 1):
                    for s in self._glued.get(looks[at : at + length], ()):
                        yield _Candidate(s, start + at, start + at + length, GLUED_LIKENESS)

    def _repeated(self, word: str, looks: str) -> Iterator[Spelling]:
        """Spellings that make up the whole word, again and again, the first and the last copy perhaps cut off.

        Each once: the places of a copy are as many as the letters of the word.
        """
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
    """Those that find different readings, in order."""
    return list({same_to_the_matcher(s.text): s for s in reversed(list(spellings))}.values())[::-1]


def _needed_confidence(length: int) -> float:
    return 0.9 if length <= 2 else SHORT_CONFIDENCE.get(length, 0.0)


def _context_weight(spelling: Spelling) -> float:
    """How much of the score hangs on the words beside: short names are parts of much else."""
    length = spelling.asked_length
    return 0.25 if length <= SHORT else 0.15 if length <= 6 else 0.1


def _fits(s: Spelling, start: int, end: int, folded: Folded, hard: set[int], text: str) -> bool:
    """Whether a spelling read letter by letter also stands there as words do."""
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
    """Whether a short word bears no accent that the spelling lacks: über is not Uber."""
    written = unicodedata.normalize("NFD", text[folded.offsets[start] : folded.offsets[end - 1] + 1])
    spelled = unicodedata.normalize("NFD", s.text)
    return all(c in spelled for c in written if unicodedata.category(c) == "Mn")


def _strange_breaks(s: Spelling, start: int, end: int, folded: Folded) -> int:
    """Spaces inside the window at places where the spelling has none, give or take a letter where lengths differ."""
    slack = 0 if end - start == len(s.letters) else 1
    inside = [b - start for b in folded.breaks_within(start, end)]
    return sum(1 for b in inside if not any(abs(b - own) <= slack for own in s.breaks))


def _all_ordinary(folded: Folded, start: int, end: int) -> bool:
    bounds = [start, *folded.breaks_within(start, end), end]
    words = (folded.letters[a:b] for a, b in pairwise(bounds))
    return all(w in ORDINARY or w in GENERIC or w.isdigit() for w in words)


def _explained(folded: Folded, chosen: list[_Candidate], taken: bytearray) -> float:
    """The share of the reading's letters that its brands explain; pieces of them and web suffixes count as such.

    `taken` holds a 1 for each letter that lies in one of the `chosen`, which do not overlap.
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
