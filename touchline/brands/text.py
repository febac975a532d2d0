"""Text for the matcher: folded to letters and digits, with the boundaries of words.

Belongs here: folding, the look-alike classes of single letters, and what is noise on a broadcast (clock, score, shirt
numbers). The similarity of texts is in `likeness.py`, the brand that a text names in `matcher.py`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

JOINERS: Final = frozenset("'’‘`´ʼ")
"""Marks inside a word that do not end it: McDonald's is one word."""
MARKS: Final = frozenset("™℠©®")
"""Signs that are dropped. Compatibility folding would turn them into letters."""
STROKES: Final = {"|": "l", "!": "i", "$": "s", "@": "a"}
"""Signs that recognisers output for a letter. Between two letters they count as that letter."""
SPECIAL: Final = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"}
"""Replacements of Latin letters that Unicode does not decompose."""

LOOK_ALIKES: Final = str.maketrans("01l|852", "oiiibsz")
"""A table that maps letters and digits that look alike in many typefaces to one letter."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A text's letters and digits in lower case and without accents, with nothing between them.

    `offsets` gives for each folded letter its position in the original text. `hard` are the positions in `letters`
    at which a word begins or ends, both ends of the text included; `soft` adds to them those where the writing
    changes (QatarAirways, bet365, CASINOsport). Each Han character is a word.
    """

    letters: str
    offsets: tuple[int, ...]
    hard: tuple[int, ...]
    soft: tuple[int, ...]

    def words(self) -> list[str]:
        """The words between hard boundaries."""
        return [self.letters[a:b] for a, b in pairwise(self.hard)]

    def breaks_within(self, start: int, end: int) -> tuple[int, ...]:
        """The hard boundaries between two positions in `letters`, without these."""
        return self.hard[bisect_right(self.hard, start) : bisect_left(self.hard, end)]


def is_han(letter: str) -> bool:
    """Whether a single letter is a Han character. Words of these are written without spaces."""
    return "㐀" <= letter <= "䶿" or "一" <= letter <= "鿿"


@lru_cache(maxsize=4096)
def _fold_letter(letter: str) -> str:
    if letter in MARKS:
        return ""
    folded = "".join(c for c in unicodedata.normalize("NFKD", letter.casefold()) if unicodedata.category(c)[0] != "M")
    # NFKD decomposes Hangul syllables; NFC composes them again.
    return "".join(SPECIAL.get(c, c) for c in unicodedata.normalize("NFC", folded) if c.isalnum())


def fold(text: str) -> Folded:
    """Folds a text: NFKD, lower case, no accents, letters and digits of any script, and the word boundaries."""
    letters: list[str] = []
    offsets: list[int] = []
    hard, soft = {0}, {0}
    previous = ""
    for position, raw in enumerate(text):
        current = raw
        if raw in STROKES and 0 < position < len(text) - 1 and text[position - 1].isalpha():
            current = STROKES[raw] if text[position + 1].isalpha() else raw
        folded = _fold_letter(current)
        if not folded:
            if current not in JOINERS and unicodedata.category(current) not in {"Mn", "Mc", "Me", "Cf"}:
                hard.add(len(letters))
                previous = ""
            continue
        if is_han(folded) or (previous and is_han(previous)):
            hard.add(len(letters))
        elif previous and _changes(previous, current, text[position + 1 : position + 2]):
            soft.add(len(letters))
        letters += folded
        offsets += [position] * len(folded)
        previous = current
    hard.add(len(letters))
    joined = "".join(letters)
    bounds = tuple(sorted(hard))
    for start, end in pairwise(bounds):
        # Web addresses whose dots were not read: WWWSPORTIUM, UNIBETCOM.
        if end - start >= 8 and joined.startswith("www", start):
            soft.add(start + 3)
        if end - start >= 8 and joined.endswith("com", start, end):
            soft.add(end - 3)
    return Folded(joined, tuple(offsets), bounds, tuple(sorted(hard | soft)))


def _changes(previous: str, current: str, following: str) -> bool:
    """Whether a new word may begin at `current` by its case or because letters turn into digits."""
    if previous.isdigit() != current.isdigit():
        return True
    if previous.islower() and current.isupper():
        return True
    # QATARAirways has its boundary before the last capital; starcasinoSPORT is the case above.
    return previous.isupper() and current.isupper() and following.islower()


def skeleton(letters: str) -> str:
    """Folded letters with each look-alike (0/O, 1/I/l, 8/B, 5/S, 2/Z) replaced by its class; as long as before."""
    return letters.translate(LOOK_ALIKES)


_DIGIT_LIKE: Final = str.maketrans("OoDQIlS|B", "000011518")
"""A table that maps letters that a recogniser outputs for digits to those digits."""
_CODE: Final = r"[A-Z]{2,3}"
"""Pattern of a team's code."""
_GOALS: Final = r"\d{1,2}(?!\d)"
"""Pattern of a team's goals."""
_SCORE_LINE: Final = re.compile(
    rf"^{_CODE}\s*{_GOALS}(\s*[-–:. ]\s*{_GOALS})?(\s*{_CODE})?(\s*\d{{1,3}}[:.]\d\d)?$|^{_GOALS}\s*{_CODE}$"
)
_LONE_ZERO: Final = re.compile(r"(?<!\w)[OoQD](?!\w)")
_CLOCK: Final = re.compile(r"^\(?\d{1,3}\s*[:.]\s*\d\d\)?$|^\d{1,3}\s*(\+\s*\d{1,2})?\s*['’′]?$")


def is_noise(text: str) -> bool:
    """Whether a text cannot be a brand: it is never listed as unresolved.

    Noise are clocks (06:11, 54', 90+3), scores (0 - 0), shirt numbers, single letters, codes of up to three letters
    with or without a score (INT 0 - 0 NAP), and text without letters. A brand of three letters looks the same, so ask
    the matcher first.
    """
    folded = fold(text)
    letters = sum(c.isalpha() for c in folded.letters)
    if any(is_han(c) for c in folded.letters):
        return letters < 2
    if letters == 0 or len(folded.letters) <= 3:
        return True
    stripped = text.strip()
    if _SCORE_LINE.match(_LONE_ZERO.sub("0", stripped.replace("|", " ")).strip()):
        return True
    if sum(c.isdigit() for c in stripped) < 2:
        return False
    return bool(_CLOCK.match(stripped.translate(_DIGIT_LIKE)))
