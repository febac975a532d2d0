"""Text that is no known brand, over the whole source: what a person, or a vision language model, reads next.

Belongs here: gathering the candidates of many tracks under one text. What is then asked of a model is in
`touchline/escalation.py`; how the list is shown, in `touchline/report/`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from touchline.brands.text import fold
from touchline.geometry import line_height
from touchline.values import Quad, UnresolvedCandidate, Zone

CLEAR_HEIGHT: Final = 24.0
"""Letters of so many pixels are as clear as can be; a crop does not get better above [px]."""


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

    def absorb(self, other: CandidateGroup) -> None:
        """Take in a group whose text is another spelling of this one's, which stays."""
        self.tracks += other.tracks
        self.frames.update(other.frames)
