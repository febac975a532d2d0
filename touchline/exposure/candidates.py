"""Unresolved text of a whole source, for a person or a vision language model to identify.

Belongs here: the reasons why text is unresolved, and the grouping of the candidates of many tracks by their text. What
is sent to a model is decided in `touchline/escalation.py`; the list is shown by `touchline/report/`.
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
"""Height of letters from which clarity no longer grows [px]."""
UNKNOWN: Final = "no known brand has this spelling"
"""The usual reason why text is unresolved."""
GRAPHICS: Final = "a word of the broadcast's own graphics"
"""Beginning of the reason if the text is spelled like a brand but does not mean it."""
_SAME_TEXT: Final = 88.0
"""Least similarity of two keys that are readings of one text [rapidfuzz ratio, 0-100]."""
_SAME_LONG_TEXT: Final = 79.0
"""Least similarity of two long keys that are readings of one text [rapidfuzz ratio, 0-100]."""
_PIECE: Final = 82.0
"""Least similarity of a key to a part of a longer one of which it is a piece [rapidfuzz partial ratio, 0-100]."""
_LONG_PIECE: Final = 79.0
"""Least similarity of a long key to a part of a longer one of which it is a piece [rapidfuzz partial ratio, 0-100]."""
_LONG: Final = 10
"""Length from which a key is long [letters]."""
_PIECE_LETTERS: Final = 4
"""Length of the shortest piece [letters]."""
_HEADS: Final = 500
"""Largest number of texts that others may join, which is the most that a report lists. Time grows with it."""


def text_key(text: str) -> str:
    """The key that texts with the same letters and digits share, whatever their case and accents.

    Letters of any script are kept. Text without letters and digits is its own key.

    >>> text_key("Starcasinò.SPORT")
    'starcasinosport'
    """
    return fold(text).letters or text.strip()


def clarity(confidence: float, quad: Quad) -> float:
    """Clarity of a line of text, 0..1: the confidence of its reading, lowered if letters are small."""
    return confidence * min(1.0, line_height(quad) / CLEAR_HEIGHT)


def crop_quality(candidate: UnresolvedCandidate) -> float:
    """Quality of the candidate's best crop, 0..1."""
    return clarity(candidate.confidence, candidate.best_quad)


@dataclass(slots=True)
class CandidateGroup:
    """All candidates with one text key. `text`, `reason`, `zone` and the best crop are those of the clearest one."""

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
    """Number of candidates by sequence of the kept frame."""

    def add(self, candidate: UnresolvedCandidate) -> None:
        """Adds a candidate with this text."""
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
        """Adds a group whose text is another reading of this one's. The text stays."""
        self.tracks += other.tracks
        self.frames.update(other.frames)
        if not self.perhaps:
            self.perhaps, self.perhaps_text = other.perhaps, other.perhaps_text

    @property
    def csv_line(self) -> str:
        """The CSV line that adds the text to the known brands: as an alias of `perhaps`, or else as a new brand.

        Empty for words of graphics, which no list should contain.
        """
        if self.reason.startswith(GRAPHICS):
            return ""
        return csv_line(self.perhaps, self.perhaps_text) if self.perhaps else csv_line(self.text)


def together(groups: Mapping[str, CandidateGroup], weight: Callable[[CandidateGroup], float]) -> list[CandidateGroup]:
    """The groups (by text key) by falling weight. Misreadings and pieces of a text join the heavier group."""
    heads: list[str] = []
    listed: list[CandidateGroup] = []
    for key, group in sorted(groups.items(), key=lambda item: (-weight(item[1]), -item[1].confidence, item[0])):
        place = _place_of(key, heads)
        if place is not None:
            listed[place].absorb(group)
            continue
        listed.append(group)
        if len(heads) < _HEADS:
            heads.append(key)
    return listed


def _place_of(key: str, heads: Sequence[str]) -> int | None:
    """Index of the listed text of which the key is another reading or a piece; none if there is none."""
    for scorer, short, long in ((fuzz.ratio, _SAME_TEXT, _SAME_LONG_TEXT), (fuzz.partial_ratio, _PIECE, _LONG_PIECE)):
        for head, likeness, place in process.extract(key, heads, scorer=scorer, score_cutoff=min(short, long), limit=3):
            letters = min(len(key), len(head))
            if letters >= _PIECE_LETTERS and likeness >= (long if letters >= _LONG else short):
                return int(place)
    return None
