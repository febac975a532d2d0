"""Node 5, `match_brands`: which brands the readings name. The readings of one track vote.

Every reading of a track is matched against the known brands, and so is the text that all its readings agree on. A
brand is accepted for a track on the strength of its votes, then stands in every frame of the track whose reading is a
reading of it, or like those that are. Real text that is no brand becomes an unresolved candidate.

Belongs here: settings, documents and the vote. Comparing a text with a brand's spellings is in `touchline/brands/`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field
from rapidfuzz import fuzz

from touchline.brands import BrandBook, BrandEntry, is_noise, matcher_of
from touchline.config import StageConfig
from touchline.geometry import flat, line_height, quad_from
from touchline.ocr.consensus import vote
from touchline.values import BrandDetection, Chunk, MatchDocument, Reading, UnresolvedCandidate

VERSION: Final = "3"
CLEAR_HEIGHT: Final = 24.0
"""Letters of so many pixels are as clear as can be; clarity grows with height up to there."""


class MatchBrandsConfig(StageConfig):
    """Settings of `match_brands`."""

    min_score: float = Field(
        0.85,
        ge=0.5,
        le=1,
        description="Likeness a reading must have with a brand's spelling [0-1]; short names need more",
    )
    min_vote: float = Field(
        0.78, ge=0, le=1, description="A single reading decides alone from this likeness times confidence [0-1]"
    )
    min_votes: float = Field(
        1.1, ge=0, description="Weaker readings of one track decide together from this sum of likeness times confidence"
    )
    like_voted: float = Field(
        0.55, ge=0, le=1, description="Readings of a track this like one that names its brand show it too [0-1]"
    )
    unresolved_min_confidence: float = Field(
        0.8, ge=0, le=1, description="Text less sure is not worth a question [0-1]"
    )
    unresolved_min_letters: int = Field(4, ge=1, description="Text shorter than this is not worth a question [letters]")


@dataclass
class _Verdict:
    entry: BrandEntry
    score: float
    texts: list[str]


class MatchBrands:
    """Runs the node on one chunk's readings at a time; a track that crosses into the next chunk votes there anew."""

    def __init__(self, config: MatchBrandsConfig, brands: BrandBook, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._brands = brands
        self._matcher = matcher_of(brands, config.min_score)
        self._counts: dict[str, float] = defaultdict(float, (state or {}).get("counts", {}))

    def run_chunk(self, chunk: Chunk) -> Iterable[MatchDocument]:
        """Detections and candidates of the chunk, rising by (first) sequence."""
        began = time.perf_counter()
        tracks: dict[int, list[Reading]] = defaultdict(list)
        for reading in chunk.of("run_ocr", Reading):
            tracks[reading.track].append(reading)
        documents: list[MatchDocument] = []
        for readings in tracks.values():
            detections = self._detections(readings)
            documents += detections
            if not detections:
                documents += self._unresolved(readings)
        self._counts["tracks"] += len(tracks)
        self._counts["readings"] += sum(map(len, tracks.values()))
        self._counts["detections"] += sum(isinstance(d, BrandDetection) for d in documents)
        self._counts["unresolved"] += sum(isinstance(d, UnresolvedCandidate) for d in documents)
        self._counts["compute_s"] += time.perf_counter() - began
        return sorted(documents, key=lambda d: d.sequence if isinstance(d, BrandDetection) else d.sequences[0])

    def _detections(self, readings: Sequence[Reading]) -> list[BrandDetection]:
        found: dict[tuple[int, str], BrandDetection] = {}
        for verdict in self._verdicts(readings):
            for reading in readings:
                own = next(
                    (
                        m
                        for m in self._matcher.match(reading.text, reading.confidence)
                        if m.entry.id == verdict.entry.id
                    ),
                    None,
                )
                likeness = max((fuzz.ratio(reading.text.casefold(), t) / 100 for t in verdict.texts), default=0.0)
                if own is None and likeness < self._config.like_voted:
                    continue
                confidence = reading.confidence * (own.score if own else likeness * verdict.score)
                key = (reading.sequence, verdict.entry.id)
                if key in found and found[key].confidence >= confidence:
                    continue
                found[key] = BrandDetection(
                    sequence=reading.sequence,
                    timestamp=reading.timestamp,
                    shot=reading.shot,
                    track=reading.track,
                    brand_id=verdict.entry.id,
                    brand_name=verdict.entry.name,
                    source="ocr",
                    text=reading.text,
                    confidence=confidence,
                    quad=reading.quad,
                    zone=reading.zone,
                    unoccluded=reading.unoccluded,
                    clarity=reading.confidence * min(1.0, line_height(reading.quad) / CLEAR_HEIGHT),
                )
        return list(found.values())

    def _verdicts(self, readings: Sequence[Reading]) -> list[_Verdict]:
        """The brands that this track shows, each with the readings (casefolded) that name it."""
        readings = _voters(readings)
        votes: dict[str, list[tuple[float, str]]] = defaultdict(list)
        entries: dict[str, BrandEntry] = {}
        agreed, agreement = vote([(r.text, r.confidence) for r in readings])
        candidates = [(r.text, r.confidence) for r in readings]
        agreed_on: set[str] = set()
        if len(readings) > 1:
            candidates.append((agreed, agreement))
            agreed_on = {match.entry.id for match in self._matcher.match(agreed, agreement)}
        for text, confidence in candidates:
            # A short name may be read less surely where the track agrees on it.
            sure = {match.entry.id for match in self._matcher.match(text, confidence)} | agreed_on
            for match in self._matcher.match(text):
                if match.entry.id not in sure:
                    continue
                entries[match.entry.id] = match.entry
                votes[match.entry.id].append((match.score * confidence, text.casefold()))
        verdicts = []
        for brand, cast_votes in votes.items():
            weights = [weight for weight, _ in cast_votes]
            if max(weights) >= self._config.min_vote or sum(weights) >= self._config.min_votes:
                verdicts.append(_Verdict(entries[brand], max(weights), [text for _, text in cast_votes]))
        return verdicts

    def _unresolved(self, readings: Sequence[Reading]) -> list[UnresolvedCandidate]:
        text, agreement = vote([(r.text, r.confidence) for r in _voters(readings)])
        best = max(readings, key=lambda r: r.confidence * min(r.height_px, CLEAR_HEIGHT))
        letters = sum(c.isalpha() for c in text)
        if (
            is_noise(text)
            or letters < self._config.unresolved_min_letters
            or best.confidence < self._config.unresolved_min_confidence
        ):
            return []
        by_frame = {r.sequence: r for r in sorted(readings, key=lambda r: r.confidence)}
        frames = [by_frame[sequence] for sequence in sorted(by_frame)]
        return [
            UnresolvedCandidate(
                track=best.track,
                shot=best.shot,
                text=text,
                confidence=best.confidence * agreement,
                zone=best.zone,
                sequences=tuple(r.sequence for r in frames),
                timestamps=tuple(r.timestamp for r in frames),
                quads=tuple(r.quad for r in frames),
                best_sequence=best.sequence,
                best_quad=best.quad,
                reason="no known brand has this spelling",
            )
        ]

    def state(self) -> dict[str, Any]:
        """Counters."""
        return {"counts": dict(self._counts)}

    def stats(self) -> dict[str, Any]:
        """Tracks, readings, detections and candidates; the number and the version of the brands matched against."""
        counts = {key: (round(value, 3) if key.endswith("_s") else int(value)) for key, value in self._counts.items()}
        return {**counts, "known_brands": len(self._brands.entries), "brands_version": self._brands.version}


def _voters(readings: Sequence[Reading]) -> Sequence[Reading]:
    """The readings of a track that an engine made; what was carried on from them has no vote of its own."""
    return [r for r in readings if r.origin != "carried"] or readings[:1]


def serialize(document: MatchDocument) -> dict[str, Any]:
    """A detection or a candidate as a BSON-able document; `kind` tells which."""
    if isinstance(document, BrandDetection):
        return {
            "kind": "brand",
            **{name: getattr(document, name) for name in BrandDetection.__slots__ if name != "quad"},
            "quad": flat(document.quad),
        }
    return {
        "kind": "unresolved",
        **{n: getattr(document, n) for n in UnresolvedCandidate.__slots__ if n not in {"quads", "best_quad"}},
        "sequences": list(document.sequences),
        "timestamps": list(document.timestamps),
        "quads": [flat(quad) for quad in document.quads],
        "best_quad": flat(document.best_quad),
    }


def deserialize(document: dict[str, Any]) -> MatchDocument:
    """What `serialize` wrote."""
    values = {key: value for key, value in document.items() if key != "kind"}
    if document["kind"] == "brand":
        return BrandDetection(**{**values, "quad": quad_from(values["quad"])})
    return UnresolvedCandidate(
        **{
            **values,
            "sequences": tuple(values["sequences"]),
            "timestamps": tuple(values["timestamps"]),
            "quads": tuple(quad_from(quad) for quad in values["quads"]),
            "best_quad": quad_from(values["best_quad"]),
        }
    )
