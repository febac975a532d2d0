"""Text that is no known brand, over the whole source: what a person, or a vision language model, reads next.

Belongs here: why text is unresolved, and gathering the candidates of many tracks under one text. What is then asked of
a model is in `touchline/escalation.py`; how the list is shown, in `touchline/report/`.
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
"""Letters of so many pixels are as clear as can be; a crop does not get better above [px]."""
UNKNOWN: Final = "no known brand has this spelling"
"""Why text is unresolved, if there is nothing else to say of it."""
GRAPHICS: Final = "a word of the broadcast's own graphics"
"""How the reason begins where text is written as a brand is, and does not mean it."""
_SAME_TEXT: Final = 88.0
"""Two keys this alike (rapidfuzz ratio, 0-100) are readings of one text..."""
_SAME_LONG_TEXT: Final = 79.0
"""...and this alike if they are long."""
_PIECE: Final = 82.0
"""A key this like a stretch of a longer one (rapidfuzz partial ratio, 0-100) is a piece of that text..."""
_LONG_PIECE: Final = 79.0
"""...and this like if it is long."""
_LONG: Final = 10
"""Letters of a long text."""
_PIECE_LETTERS: Final = 4
"""Letters of the shortest piece."""
_HEADS: Final = 500
"""Texts that others may join: as many as a report lists at most. Time grows with them."""


def text_key(text: str) -> str:
    """What two texts have in common that say the same: letters and digits alone, without case and accents.

    Any script is kept. Text without letters or digits is its own key.

    >>> text_key("Starcasinò.SPORT")
    'starcasinosport'
    """
    return fold(text).letters or text.strip()


def crop_quality(candidate: UnresolvedCandidate) -> float:
    """How well the candidate's best crop can be read, 0..1: its confidence, less where letters are small."""
    return candidate.confidence * min(1.0, line_height(candidate.best_quad) / CLEAR_HEIGHT)


@dataclass(slots=True)
class CandidateGroup:
    """All candidates with one text key. `text`, `best_sequence`, `best_quad`, `zone`, `reason`: the clearest one's."""

    text: str = ""
    reason: str = ""
    perhaps: str = ""
    """The known brand that one of the texts may be meant to say, or empty..."""
    perhaps_text: str = ""
    """...and that text."""
    zone: Zone = "other"
    confidence: float = 0.0
    best_sequence: int = 0
    best_quad: Quad = ((0, 0), (0, 0), (0, 0), (0, 0))
    quality: float = -1.0
    tracks: int = 0
    frames: Counter[int] = field(default_factory=Counter)
    """Kept frames by sequence, and how many candidates stand in each."""

    def add(self, candidate: UnresolvedCandidate) -> None:
        """Take in one more candidate with this text."""
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
        """Take in a group whose text is another spelling of this one's, which stays."""
        self.tracks += other.tracks
        self.frames.update(other.frames)
        if not self.perhaps:
            self.perhaps, self.perhaps_text = other.perhaps, other.perhaps_text

    @property
    def csv_line(self) -> str:
        """The line of a list of brands that makes the text count: as an alias of the brand that it may be, or else as
        a brand of its own. Empty for words of graphics, which no list should hold.
        """
        if self.reason.startswith(GRAPHICS):
            return ""
        return csv_line(self.perhaps, self.perhaps_text) if self.perhaps else csv_line(self.text)


def together(groups: Mapping[str, CandidateGroup], weight: Callable[[CandidateGroup], float]) -> list[CandidateGroup]:
    """The groups (by text key), the weightiest first; misreadings and pieces of a text have joined the weightier."""
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
    """Which of the texts listed before the key is another reading, or a piece, of."""
    for scorer, short, long in ((fuzz.ratio, _SAME_TEXT, _SAME_LONG_TEXT), (fuzz.partial_ratio, _PIECE, _LONG_PIECE)):
        for head, likeness, place in process.extract(key, heads, scorer=scorer, score_cutoff=min(short, long), limit=3):
            letters = min(len(key), len(head))
            if letters >= _PIECE_LETTERS and likeness >= (long if letters >= _LONG else short):
                return int(place)
    return None
