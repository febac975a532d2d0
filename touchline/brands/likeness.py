"""Similarity of a reading to a spelling, weighted by the errors that a recogniser makes.

Belongs here: the weighted edit distance and its costs. Thresholds and word boundaries are in `matcher.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STRONG: Final = 0.25
"""Cost of letters that cannot be told apart without knowing the word (0/O, 1/I/l, rn/m) [edits]."""
WEAK: Final = 0.5
"""Cost of letters that look alike in small or blurred print (c/e, u/n), and of a double letter read as one or one as
two [edits]."""
THIN_GAP: Final = 0.6
"""Cost of a thin letter lost or gained inside a word [edits]."""
INNER_GAP: Final = 0.8
"""Cost of any other letter lost or gained inside a word [edits]. At the ends of a word it is a whole edit: a longer
name is usually another name."""

_STRONG_CLASSES: Final = ("0oq", "1il|", "8b", "5s", "2z", "uv", "9g")
"""Classes of letters at the cost STRONG."""
_WEAK_CLASSES: Final = ("cegoaq0", "unv", "nhb", "tfl1ij", "vyw", "rt", "pf", "mn", "kx", "zs", "6bg", "4a", "7ti")
"""Classes of letters at the cost WEAK."""
_WEAK_PAIRS: Final = ("3b", "3e", "db", "dc", "do", "d0", "bp", "mw")
"""Pairs of letters at the cost WEAK."""
_DOUBLES: Final = frozenset(
    [("rn", "m"), ("vv", "w"), ("nn", "m"), ("cl", "d"), ("ii", "u"), ("lo", "b"), ("iv", "w"), ("vi", "w")]
)
"""Two letters and the one that they look like, at the cost STRONG."""
_THIN: Final = frozenset("il1|jtf")
"""Thin letters, which are lost at the cost THIN_GAP."""


def _substitutions() -> dict[tuple[str, str], float]:
    costs: dict[tuple[str, str], float] = {}
    for group in (*_WEAK_CLASSES, *_WEAK_PAIRS):
        costs.update({(a, b): WEAK for a in group for b in group if a != b})
    for group in _STRONG_CLASSES:
        costs.update({(a, b): STRONG for a in group for b in group if a != b})
    return costs


_SUBSTITUTIONS: Final = _substitutions()


@dataclass(frozen=True, slots=True)
class Alignment:
    """Cost of turning a reading into a spelling: the sum, and the share of each letter of the spelling [edits]."""

    cost: float
    by_letter: tuple[float, ...]


def substitution_cost(a: str, b: str) -> float:
    """Cost 0..1 of reading the folded letter `a` as `b`, the same both ways."""
    return 0.0 if a == b else _SUBSTITUTIONS.get((a, b), 1.0)


def _gap_cost(text: str, index: int) -> float:
    """Cost of a letter without a counterpart [edits]."""
    if index in (0, len(text) - 1):
        return 1.0
    if text[index] == text[index - 1]:
        return WEAK
    return THIN_GAP if text[index] in _THIN else INNER_GAP


def align(reading: str, spelling: str) -> Alignment:
    """The cheapest way to turn a folded reading into a folded spelling (Wagner and Fischer's table, with costs)."""
    n, m = len(reading), len(spelling)
    lost = [_gap_cost(spelling, j) for j in range(m)]
    gained = [_gap_cost(reading, i) for i in range(n)]
    table = [[0.0] * (m + 1) for _ in range(n + 1)]
    steps = [[(0, 1)] * (m + 1) for _ in range(n + 1)]
    for j in range(1, m + 1):
        table[0][j] = table[0][j - 1] + lost[j - 1]
    for i in range(1, n + 1):
        row, above = table[i], table[i - 1]
        row[0], steps[i][0] = above[0] + gained[i - 1], (1, 0)
        letter = reading[i - 1]
        for j in range(1, m + 1):
            best, step = above[j - 1] + substitution_cost(letter, spelling[j - 1]), (1, 1)
            cost = above[j] + gained[i - 1]
            if cost < best:
                best, step = cost, (1, 0)
            cost = row[j - 1] + lost[j - 1]
            if cost < best:
                best, step = cost, (0, 1)
            if i > 1 and (reading[i - 2 : i], spelling[j - 1]) in _DOUBLES:
                cost = table[i - 2][j - 1] + STRONG
                if cost < best:
                    best, step = cost, (2, 1)
            if j > 1 and (spelling[j - 2 : j], letter) in _DOUBLES:
                cost = above[j - 2] + STRONG
                if cost < best:
                    best, step = cost, (1, 2)
            row[j], steps[i][j] = best, step
    by_letter = [0.0] * m
    i, j = n, m
    while i or j:
        di, dj = steps[i][j]
        spent = table[i][j] - table[i - di][j - dj]
        if m:
            by_letter[min(max(j - 1, 0), m - 1)] += spent
        i, j = i - di, j - dj
    return Alignment(table[n][m], tuple(by_letter))
