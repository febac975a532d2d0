"""How far a report is from the truth: half-second grid and seconds of exposure.

Belongs here: scores of one brand in one clip, and their sums. The truth's format is that of
`touchline/synthetic/truth.py`; whose reports are scored, and in which tables, is in `score_reports.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

STEP_S: Final = 0.5
"""Distance of the grid points [s]."""
SHORTEST_S: Final = 1.0
"""Brands that can be read for less than this in a clip are left out of the error of seconds."""
NEAR: Final = 0.1
"""Seconds with at most this error count as right."""
NOWHERE: Final = "in no picture"
"""The zone of a brand that is reported and not in the truth."""

Spans = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Seconds of one brand in one clip: that it can be read, that are missed of them, that are reported too much."""

    legible_s: float
    missed_s: float
    extra_s: float

    @property
    def error(self) -> float:
        """What is missed or too much, as a share of the legible seconds."""
        return max(self.missed_s, self.extra_s) / self.legible_s


@dataclass(frozen=True)
class Score:
    """Counts of grid points and brands, of one brand in one clip or of many; `exposures` of clips, not of stills."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    brands: int = 0
    brands_found: int = 0
    brands_false: int = 0
    exposures: tuple[Exposure, ...] = ()

    @property
    def precision(self) -> float:
        """Share of what was reported that is there; 1 if nothing was reported."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of what can be read that was reported; 1 if nothing can be read."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    def error_quantile(self, share: float) -> float:
        """The quantile (0..1) of the errors of seconds; 0 without any."""
        return float(np.quantile([e.error for e in self.exposures], share)) if self.exposures else 0.0

    @property
    def right_seconds(self) -> float:
        """Share of brands whose seconds are right within `NEAR`; 1 without any."""
        return _ratio(sum(e.error <= NEAR for e in self.exposures), len(self.exposures))

    @property
    def missed_share(self) -> float:
        """Seconds that were missed, as a share of all legible seconds."""
        return sum(e.missed_s for e in self.exposures) / max(1e-9, sum(e.legible_s for e in self.exposures))

    @property
    def extra_share(self) -> float:
        """Seconds that were reported too much, as a share of all legible seconds."""
        return sum(e.extra_s for e in self.exposures) / max(1e-9, sum(e.legible_s for e in self.exposures))

    def as_row(self) -> dict[str, Any]:
        """All figures by name, rounded to three decimals, for JSON."""
        return {
            "precision": round(self.precision, 3),
            "recall": round(self.recall, 3),
            "f1": round(self.f1, 3),
            "hits": self.hits,
            "false_alarms": self.false_alarms,
            "misses": self.misses,
            "brands": self.brands,
            "brands_found": self.brands_found,
            "brands_false": self.brands_false,
            "seconds_of": len(self.exposures),
            "seconds_error_median": round(self.error_quantile(0.5), 3),
            "seconds_error_p90": round(self.error_quantile(0.9), 3),
            "seconds_right": round(self.right_seconds, 3),
            "seconds_missed": round(self.missed_share, 3),
            "seconds_extra": round(self.extra_share, 3),
        }

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class BrandScore:
    """The score of one brand in one clip. `where` is the truth's zone, or `NOWHERE`.

    `text_px` is the height of its line of text in the truth [px]; nothing where it tells none.
    """

    name: str
    where: str
    text_px: float | None
    score: Score


def score(
    truth: Mapping[str, Any],
    found: Mapping[str, Spans],
    duration_s: float,
    seconds: Mapping[str, float] | None = None,
) -> Score:
    """The sum of `brand_scores`."""
    return total(brand.score for brand in brand_scores(truth, found, duration_s, seconds))


def brand_scores(
    truth: Mapping[str, Any],
    found: Mapping[str, Spans],
    duration_s: float,
    seconds: Mapping[str, float] | None = None,
) -> list[BrandScore]:
    """Compares intervals by brand with the truth of one clip, brand by brand in the order of their names.

    A grid point is a hit or a miss where a brand can be read, a false alarm where it is reported and cannot even be
    seen; points near a boundary of the truth, and brands that it calls ambiguous, do not count. A still has one point.
    Seconds are right anywhere between those in which the brand can be read and those in which it can be seen.

    Args:
        truth: one clip's.
        found: intervals [start_s, end_s] by reported brand; a brand without intervals is not reported.
        duration_s: of the clip, where the truth does not tell.
        seconds: reported seconds by brand; by default what the intervals cover.

    """
    still = truth.get("kind") == "still"
    known = {folded(brand["name"]): brand for brand in truth["brands"]}
    doubtful = {folded(b if isinstance(b, str) else b.get("name", "")) for b in truth.get("ambiguous", ())}
    reported: dict[str, list[Sequence[float]]] = {}
    told: dict[str, float] = {}
    for name, spans in found.items():
        if spans:
            reported.setdefault(folded(name), []).extend(spans)
            told[folded(name)] = told.get(folded(name), 0.0) + (seconds or {}).get(name, covered_s(spans))
    end = 0.0 if still else float(truth.get("duration_s") or max([duration_s, *truth.get("sampled_at_s", ())]))
    scores = []
    for name in sorted((known.keys() | reported.keys()) - doubtful):
        brand = known.get(name)
        visible, legible = _truth_spans(brand, still)
        tolerance = 0.0 if still else float(truth.get("boundary_tolerance_s", 0.5))
        hits, false_alarms, misses = _points(
            visible, legible, reported.get(name, ()), end, None if still else tolerance
        )
        readable = bool(brand and brand.get("legible"))
        scores.append(
            BrandScore(
                brand["name"] if brand else next(n for n in found if folded(n) == name),
                brand.get("where", "other") if brand else NOWHERE,
                brand.get("text_px") if brand else None,
                Score(
                    hits,
                    false_alarms,
                    misses,
                    int(readable),
                    int(readable and name in reported),
                    int(brand is None),
                    () if still or not readable else _exposures(visible, legible, told.get(name, 0.0)),
                ),
            )
        )
    return scores


def total(scores: Iterable[Score]) -> Score:
    """The sum over brands and clips."""
    return sum(scores, Score())


def covered_s(spans: Spans) -> float:
    """Length of the union of intervals [s]."""
    length, reached = 0.0, float("-inf")
    for start, end in sorted((s[0], s[1]) for s in spans):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length


def folded(name: str) -> str:
    """A name as it is compared: letters and digits alone, without accents, in one case, of whatever script."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", name).casefold() if letter.isalnum())


def _points(visible: Spans, legible: Spans, said: Spans, end: float, tolerance: float | None) -> tuple[int, int, int]:
    """Grid points that are hits, false alarms and misses; `tolerance` is None for a still."""
    hits = false_alarms = misses = 0
    edges = [edge for span in (*visible, *legible) for edge in span]
    for step in range(int(end / STEP_S) + 1):
        at = step * STEP_S
        if tolerance is not None and any(abs(at - edge) <= tolerance for edge in edges):
            continue
        reported = bool(said) if tolerance is None else _covers(said, at)
        if _covers(legible, at):
            hits, misses = hits + reported, misses + (not reported)
        elif reported and not _covers(visible, at):
            false_alarms += 1
    return hits, false_alarms, misses


def _exposures(visible: Spans, legible: Spans, told_s: float) -> tuple[Exposure, ...]:
    readable = sum(end - start for start, end in legible)
    if readable < SHORTEST_S:
        return ()
    most = max(readable, sum(end - start for start, end in visible))
    return (Exposure(readable, max(0.0, readable - told_s), max(0.0, told_s - most)),)


def _truth_spans(brand: Mapping[str, Any] | None, still: bool) -> tuple[Spans, Spans]:
    if brand is None:
        return (), ()
    if still:
        return ((0.0, 0.0),), ((0.0, 0.0),) if brand.get("legible") else ()
    return brand.get("visible_s", ()), brand.get("legible_s", ())


def _covers(spans: Spans, at: float) -> bool:
    return any(start <= at <= end for start, end in spans)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
