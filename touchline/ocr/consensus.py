"""What a track says: many readings of one text, each a little wrong, vote letter by letter.

Belongs here: the vote. Which brand the text names is decided in `touchline/brands/`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

Votes = defaultdict[str, float]

MAX_VOTERS: Final = 40
"""The most confident readings of a long track vote; more change nothing and cost time squared."""


def vote(readings: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """The text that readings (text, confidence 0..1) agree on, and how much they agree with it, 0..1.

    The reading most like all others (the set median, weighted by confidence) is the frame onto which the others are
    aligned by Levenshtein's edits; each position is then voted on, insertions included. The method is ROVER's
    (Fiscus 1997, A post-processing system to yield reduced word error rates) on letters in place of words.
    Empty readings give ("", 0.0).
    """
    voters = sorted(((text, weight) for text, weight in readings if text), key=lambda r: -r[1])[:MAX_VOTERS]
    if not voters:
        return "", 0.0
    total = sum(weight for _, weight in voters)
    scores = [sum(w * fuzz.ratio(text.casefold(), other.casefold()) for other, w in voters) for text, _ in voters]
    best = max(range(len(voters)), key=lambda i: (scores[i], voters[i][1]))
    frame = voters[best][0]
    places: list[Votes] = [defaultdict(float) for _ in frame]
    gaps: list[list[Votes]] = [[] for _ in range(len(frame) + 1)]
    for text, weight in voters:
        _align(frame, text, weight, places, gaps)
    voted = []
    for position in range(len(frame) + 1):
        for inserted in gaps[position]:
            inserted[""] += total - sum(inserted.values())
            voted.append(_winner(inserted))
        if position < len(frame):
            voted.append(_winner(places[position]))
    agreed = "".join(voted)
    likeness = sum(weight * fuzz.ratio(agreed.casefold(), text.casefold()) for text, weight in voters)
    return agreed, likeness / (100 * total) if total > 0 else 0.0


def _align(frame: str, text: str, weight: float, places: list[Votes], gaps: list[list[Votes]]) -> None:
    """Adds one reading's votes: for each letter of the frame, and for the first, second... letter put in before it."""
    for code in Levenshtein.opcodes(_lower(frame), _lower(text)):
        put_in = text[code.dest_start : code.dest_end]
        kept = code.src_end - code.src_start
        for offset in range(kept):
            places[code.src_start + offset][put_in[offset : offset + 1]] += weight
        for place, letter in enumerate(put_in[kept:]):
            gap = gaps[code.src_end]
            if place == len(gap):
                gap.append(defaultdict(float))
            gap[place][letter] += weight


def _winner(votes: Votes) -> str:
    """The letter with most votes, upper and lower case together, as most wrote it; nothing may win as well."""
    together: Votes = defaultdict(float)
    for letter, weight in votes.items():
        together[_lower(letter)] += weight
    best = max(together, key=lambda letter: together[letter])
    return max((letter for letter in votes if _lower(letter) == best), key=lambda letter: votes[letter])


def _lower(text: str) -> str:
    """Lower case, letter by letter: as long as the text itself, so that positions carry over ("İ" stays as it is)."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
