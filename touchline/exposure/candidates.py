"""Unresolved text of a whole source, for a person or a vision language model to identify.

Belongs here: the reasons why text is unresolved, and grouping of candidates by their text. `touchline/escalation.py`
decides what is sent to a model; `touchline/report/` shows the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rapidfuzz import fuzz, process

from touchline.brands.brand_csv import csv_line
from touchline.brands.text import fold
from touchline.geometry import line_height
from touchline.values import Quad, UnresolvedCandidate, Zone

CLEAR_HEIGHT: Final = 24.0
"""Height of letters from which clarity no longer grows [pixels of the stored frame]."""
UNKNOWN: Final = "no known brand has this spelling"
"""The usual reason why text is unresolved."""
GRAPHICS: Final = "a word of the broadcast's own graphics"
"""Beginning of the reason for text that is spelled like a brand but is a word of the broadcast's graphics."""
_SAME_TEXT: Final = 88.0
"""Least similarity of two keys that are readings of one text [rapidfuzz ratio, 0-100]."""
_SAME_LONG_TEXT: Final = 79.0
"""Least similarity of two long keys that are readings of one text [rapidfuzz ratio, 0-100]."""
_PIECE: Final = 82.0
"""Least similarity of a key to a part of a longer key for it to count as a piece of that [rapidfuzz partial ratio,
0-100]."""
_LONG_PIECE: Final = 79.0
"""Least similarity of a long key to a part of a longer key for it to count as a piece of that [rapidfuzz partial ratio,
0-100]."""
_LONG: Final = 10
"""Length from which a key is long [letters]."""
_PIECE_LETTERS: Final = 4
"""Length of the shortest key that joins another [letters]."""
_HEADS: Final = 500
"""Largest number of groups that other groups may join. It is the largest list of a report, and it bounds the time."""


def text_key(text: str) -> str:
    """The key of a text: its letters and digits, in any script, without case and accents.

    Text without letters and digits is its own key.

    >>> text_key("Starcasinò.SPORT")
    'starcasinosport'
    """
    return fold(text).letters or text.strip()


def clarity(confidence: float, quad: Quad) -> float:
    """Clarity of a line of text, 0..1: the confidence of its reading (0..1), reduced for small letters."""
    return confidence * min(1.0, line_height(quad) / CLEAR_HEIGHT)


def crop_quality(candidate: UnresolvedCandidate) -> float:
    """Quality of the candidate's best crop, 0..1."""
    return clarity(candidate.confidence, candidate.best_quad)


@dataclass(slots=True)
class CandidateGroup:
    """All candidates with one text key. `text`, `reason`, `zone` and best crop are those of the clearest candidate."""

    text: str = ""
    reason: str = ""
    perhaps: str = ""
    """The known brand that one of the texts may mean, or empty."""
    perhaps_text: str = ""
    """The text that may mean `perhaps`, or empty."""
    zone: Zone = "other"
    confidence: float = 0.0
    best_sequence: int = 0
    best_quad: Quad = ((0, 0), (0, 0), (0, 0), (0, 0))
    quality: float = -1.0
    tracks: int = 0
    frames: Counter[int] = field(default_factory=Counter)
    """Number of candidates by the kept frame's sequence."""

    def add(self, candidate: UnresolvedCandidate) -> None:
        """Adds a candidate with this text key."""
        self.tracks += 1
        self.frames.update(candidate.sequences)
        self.confidence = max(self.confidence, candidate.confidence)
        quality = crop_quality(candidate)
        if quality > self.quality:
            self.quality = quality
            self.text, self.reason, self.zone = candidate.text, candidate.reason, candidate.zone
            self.best_sequence, self.best_quad = candidate.best_sequence, candidate.best_quad
        if candidate.perhaps and (not self.perhaps or self.text == candidate.text):
            self.perhaps, self.perhaps_text = candidate.perhaps, candidate.text

    def absorb(self, other: CandidateGroup) -> None:
        """Adds a group whose text is another reading of this group's text, which stays the same."""
        self.tracks += other.tracks
        self.frames.update(other.frames)
        if not self.perhaps:
            self.perhaps, self.perhaps_text = other.perhaps, other.perhaps_text

    @property
    def csv_line(self) -> str:
        """The CSV line that adds the text to the known brands, as an alias of `perhaps` or as a new brand.

        Empty for words of the broadcast's graphics, which are not brands.
        """
        if self.reason.startswith(GRAPHICS):
            return ""
        return csv_line(self.perhaps, self.perhaps_text) if self.perhaps else csv_line(self.text)


def together(groups: Mapping[str, CandidateGroup], weight: Callable[[CandidateGroup], float]) -> list[CandidateGroup]:
    """The groups (by text key) by falling weight. Misreadings and pieces of a text join the heavier group."""
    heads: list[str] = []
    listed: list[CandidateGroup] = []
    for key, group in sorted(groups.items(), key=lambda item: (-weight(item[1]), -item[1].confidence, item[0])):
        index = _index_of(key, heads)
        if index is not None:
            listed[index].absorb(group)
            continue
        listed.append(group)
        if len(heads) < _HEADS:
            heads.append(key)
    return listed


def _index_of(key: str, heads: Sequence[str]) -> int | None:
    """Index of the listed key of which this key is another reading or a piece; None if there is none."""
    for scorer, short, long in ((fuzz.ratio, _SAME_TEXT, _SAME_LONG_TEXT), (fuzz.partial_ratio, _PIECE, _LONG_PIECE)):
        for head, score, index in process.extract(key, heads, scorer=scorer, score_cutoff=min(short, long), limit=3):
            letters = min(len(key), len(head))
            if letters >= _PIECE_LETTERS and score >= (long if letters >= _LONG else short):
                return int(index)
    return None
