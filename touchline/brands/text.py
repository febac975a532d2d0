"""Text as the matcher sees it: folded to letters and digits, with the places where words begin and end.

Belongs here: folding, the look-alike classes of single letters, and what is noise on a broadcast (clock, score, shirt
numbers). How like two texts are is in `likeness.py`, which brand a text names in `matcher.py`.
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
"""Signs that compatibility folding would turn into letters."""
STROKES: Final = {"|": "l", "!": "i", "$": "s", "@": "a"}
"""What recognisers write for a letter. Taken for one only between two letters."""
SPECIAL: Final = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"}
"""Latin letters that decomposition leaves as they are."""

LOOK_ALIKES: Final = str.maketrans("01l|852", "oiiibsz")
"""One letter for each class of letters and digits that many typefaces draw alike."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A text's letters and digits in lower case and without accents, with nothing between them.

    `offsets` gives for each folded letter its position in the original text. `hard` are the positions in `letters`
    at which a word begins or ends, both ends of the text included; `soft` adds to them those where the writing
    changes (QatarAirways, bet365, CASINOsport). Han characters stand each alone.
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
    """Whether a single letter is a Han character, of which no spaces are put between words."""
    return "㐀" <= letter <= "䶿" or "一" <= letter <= "鿿"


@lru_cache(maxsize=4096)
def _fold_letter(letter: str) -> str:
    if letter in MARKS:
        return ""
    folded = "".join(c for c in unicodedata.normalize("NFKD", letter.casefold()) if unicodedata.category(c)[0] != "M")
    # Hangul syllables come apart in NFKD and are put together again.
    return "".join(SPECIAL.get(c, c) for c in unicodedata.normalize("NFC", folded) if c.isalnum())


def fold(text: str) -> Folded:
    """Folds a text: NFKD, lower case, no accents, letters and digits of any script, word boundaries kept aside."""
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
_CODE: Final = r"[A-Z]{2,3}"
_GOALS: Final = r"\d{1,2}(?!\d)"
_SCORE_LINE: Final = re.compile(
    rf"^{_CODE}\s*{_GOALS}(\s*[-–:. ]\s*{_GOALS})?(\s*{_CODE})?(\s*\d{{1,3}}[:.]\d\d)?$|^{_GOALS}\s*{_CODE}$"
)
_LONE_ZERO: Final = re.compile(r"(?<!\w)[OoQD](?!\w)")
_CLOCK: Final = re.compile(r"^\(?\d{1,3}\s*[:.]\s*\d\d\)?$|^\d{1,3}\s*(\+\s*\d{1,2})?\s*['’′]?$")


def is_noise(text: str) -> bool:
    """Whether a text is not worth showing to anyone who looks for brands.

    Clocks (06:11, 54', 90+3), scores (0 - 0), shirt numbers, single letters, codes of up to three letters with or
    without a score (INT 0 - 0 NAP), and what holds no letter. A three-letter brand is one of these by its looks
    alone: ask the matcher first.
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
