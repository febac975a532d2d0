"""Ablations: one part of Touchline is switched off or changed, and accuracy and speed are measured again.

Belongs here: what can be switched off, and how. `__main__.py` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

from benchmarks.baseline import SHORTEST, names
from touchline.brands import BrandMatcher, Match
from touchline.ocr import rapid
from touchline.stages import run_ocr


@dataclass(frozen=True)
class Ablation:
    """Settings (`stage.field`) that switch a part off; `without`: a context that replaces a rule without a setting."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    without: Callable[[], AbstractContextManager[Any]] = nullcontext


@contextmanager
def _plain_matching() -> Iterator[None]:
    """Matches words as the baseline does: by the partial ratio of a spelling only."""

    def match(matcher: BrandMatcher, text: str, confidence: float = 1.0) -> list[Match]:
        word = text.casefold().strip()
        found = {
            spelling.entry_index: spelling
            for spelling in matcher._spellings
            if len(spelling.text) >= SHORTEST and names(word, spelling.text.casefold())
        }
        entries = matcher._book.entries
        return [Match(entries[i], 1.0, s.text, 0, len(s.letters)) for i, s in found.items()]

    with patch.object(BrandMatcher, "match", match):
        yield


@contextmanager
def _grass_searched() -> Iterator[None]:
    with patch.object(run_ocr, "rows_with_text", lambda image, _: (0, image.shape[0])):
        yield


@contextmanager
def _all_read_by_small() -> Iterator[None]:
    with patch.multiple(rapid, EASY=2.0, NO_TEXT=0.0):
        yield


ABLATIONS: Final[Mapping[str, Ablation]] = {
    "as shipped": Ablation(),
    "no board strips": Ablation({"run_ocr.strips": False}),
    "no tracking: text is not carried on or back": Ablation({"run_ocr.max_propagation": 0.0}),
    "no vote: each reading decides": Ablation({"match_brands.min_vote": 0.0, "match_brands.min_track_similarity": 1.0}),
    "no reuse: every frame is searched and read": Ablation(
        {"run_ocr.search_interval": 0.0, "run_ocr.strip_interval": 0.0, "run_ocr.max_propagation": 0.0}
    ),
    "pictures searched every 3 s, not 2": Ablation({"run_ocr.search_interval": 3.0}),
    "strips searched every 2 s, not 4": Ablation({"run_ocr.strip_interval": 2.0}),
    "all lines read by the larger network": Ablation(without=_all_read_by_small),
    "the grass is searched as well": Ablation(without=_grass_searched),
    "new board is not searched between": Ablation({"run_ocr.new_share": 1.0}),
    "overlays not told apart": Ablation({"detect_edges.overlays": False, "run_ocr.overlay_travel": 0.0}),
    "matcher less strict (0.7 for 0.85)": Ablation({"match_brands.min_score": 0.7}),
    "no matcher rules: partial likeness, as the baseline": Ablation(without=_plain_matching),
    "for how much is chance: Canny's lower threshold 46 for 50": Ablation({"detect_edges.canny_low": 46}),
}
