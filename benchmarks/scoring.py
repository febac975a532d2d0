"""Scores of a report against ground truth, on a half-second grid and by seconds of exposure.

Belongs here: scores of one clip and of several. The ground truth has the format of `touchline/synthetic/truth.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

STEP_S: Final = 0.5
"""Distance of the grid points [s]."""

Spans = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Score:
    """Counts of grid points of one or several clips; `seconds_errors` has one entry per legible brand and clip."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    brands: int = 0
    brands_found: int = 0
    brands_false: int = 0
    seconds_errors: tuple[float, ...] = ()

    @property
    def precision(self) -> float:
        """Share of reported grid points that are correct; 1 if none was reported."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of legible grid points that were reported; 1 if none is legible."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    def error_quantile(self, share: float) -> float:
        """The quantile (0..1) of |reported - legible seconds| / legible seconds; 0 without any."""
        return float(np.quantile(self.seconds_errors, share)) if self.seconds_errors else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def score(truth: Mapping[str, Any], found: Mapping[str, Spans], duration_s: float) -> Score:
    """Compares intervals by brand with the truth of one clip.

    A grid point is a hit or a miss where a brand can be read, a false alarm where it is reported and cannot even be
    seen; points near a boundary of the truth, and brands that it calls ambiguous, do not count. A still has one point.
    """
    still = truth.get("kind") == "still"
    tolerance = 0.0 if still else float(truth.get("boundary_tolerance_s", 0.5))
    known = {_folded(brand["name"]): brand for brand in truth["brands"]}
    doubtful = {_folded(b if isinstance(b, str) else b["name"]) for b in truth.get("ambiguous", ())}
    reported = {_folded(name): spans for name, spans in found.items()}
    end = 0.0 if still else float(truth.get("duration_s") or duration_s)
    hits = false_alarms = misses = 0
    errors = []
    for name in (known.keys() | reported.keys()) - doubtful:
        visible, legible = _truth_spans(known.get(name), still)
        said_spans = reported.get(name, ())
        for step in range(int(end / STEP_S) + 1):
            at = step * STEP_S
            if not still and any(abs(at - edge) <= tolerance for span in (*visible, *legible) for edge in span):
                continue
            said = bool(said_spans) if still else _covers(said_spans, at)
            if _covers(legible, at):
                hits, misses = hits + said, misses + (not said)
            elif said and not _covers(visible, at):
                false_alarms += 1
        length = sum(b - a for a, b in legible)
        if length > 0:
            errors.append(abs(sum(b - a for a, b in said_spans) - length) / length)
    legible_names = {name for name, brand in known.items() if brand.get("legible")} - doubtful
    return Score(
        hits,
        false_alarms,
        misses,
        len(legible_names),
        len(legible_names & reported.keys()),
        len(reported.keys() - known.keys() - doubtful),
        tuple(errors),
    )


def total(scores: Iterable[Score]) -> Score:
    """The sum over clips."""
    return sum(scores, Score())


def _truth_spans(brand: Mapping[str, Any] | None, still: bool) -> tuple[Spans, Spans]:
    if brand is None:
        return (), ()
    if still:
        return ((0.0, 0.0),), ((0.0, 0.0),) if brand.get("legible") else ()
    return brand.get("visible_s", ()), brand.get("legible_s", ())


def _covers(spans: Spans, at: float) -> bool:
    return any(start <= at <= end for start, end in spans)


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
