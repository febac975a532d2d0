"""Node 5, `match_brands`: identifies the brands on each track by a vote of its readings.

Every reading of a track is matched against the known brands, and so is the consensus text of all its readings. A brand
is accepted for a track if its votes are strong enough. It is then detected in every frame of the track whose reading
matches it or is similar to one that does. Rejected are words of the broadcast's own graphics (VIVO in a channel logo)
and pieces of a longer name beside them. Other text becomes an unresolved candidate.

Belongs here: settings, documents, the vote, and the statistics. The comparison of a text with a brand's spellings, and
its surroundings, are in `touchline/brands/`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field
from rapidfuzz import fuzz

from touchline.brands import BrandBook, BrandEntry, Match, is_noise, matcher_of
from touchline.brands.graphics import belongs_to_graphics
from touchline.brands.matcher import LONGEST_TEXT
from touchline.brands.scripts import brands_by_script
from touchline.brands.suggest import suggester_of
from touchline.brands.surroundings import (
    GraphicPlaces,
    WholeNames,
    beside_graphics,
    by_place,
    in_a_corner,
    in_overlays,
    is_static,
    pinned,
)
from touchline.config import FORMERLY, StageConfig
from touchline.exposure.candidates import CLEAR_HEIGHT, GRAPHICS, UNKNOWN, clarity
from touchline.geometry import flat, quad_from
from touchline.ocr.consensus import vote
from touchline.values import BrandDetection, Chunk, MatchDocument, Reading, UnresolvedCandidate

VERSION: Final = "4"


class MatchBrandsConfig(StageConfig):
    """Settings of `match_brands`."""

    min_score: float = Field(
        0.85,
        ge=0.5,
        le=1,
        description="Least similarity of a reading to a brand's spelling [0-1]; short names need more",
    )
    min_vote: float = Field(
        0.78,
        ge=0,
        le=1,
        description="Similarity times confidence from which a single reading identifies the brand of its track [0-1]",
    )
    min_vote_sum: float = Field(
        1.1,
        ge=0,
        description="Sum of similarity times confidence from which weaker readings of one track identify its brand "
        "together [votes of 0-1, added up]",
        json_schema_extra={FORMERLY: "min_votes"},
    )
    min_track_similarity: float = Field(
        0.55,
        ge=0,
        le=1,
        description="A reading that matches no brand still counts for its track's brand if it is at least this similar "
        "to a reading of the track that does [0-1]",
        json_schema_extra={FORMERLY: "like_voted"},
    )
    unresolved_min_confidence: float = Field(
        0.8, ge=0, le=1, description="Text read with lower confidence is not listed as unresolved [0-1]"
    )
    unresolved_min_letters: int = Field(4, ge=1, description="Shorter text is not listed as unresolved [letters]")


@dataclass
class _TrackBrand:
    """A brand of a track, with the readings (casefolded) that match it, and the spellings that they match.

    `graphic`: all of these spellings are words of broadcast graphics as well.
    """

    entry: BrandEntry
    score: float
    texts: list[str]
    spellings: set[str]
    graphic: bool


class MatchBrands:
    """The worker. A track that continues in the next chunk votes again there. Its state holds counters and places."""

    def __init__(self, config: MatchBrandsConfig, brands: BrandBook, state: dict[str, Any] | None = None) -> None:
        self._config = config
        self._brands = brands
        self._matcher = matcher_of(brands, config.min_score)
        self._suggester = suggester_of(brands)
        state = state or {}
        self._counts: dict[str, float] = defaultdict(float, state.get("counts", {}))
        self._marks = GraphicPlaces(state.get("marks"))

    def run_chunk(self, chunk: Chunk) -> Iterable[MatchDocument]:
        """Detections and candidates of the chunk, rising by (first) sequence."""
        began = time.perf_counter()
        tracks: dict[int, list[Reading]] = defaultdict(list)
        frames: dict[int, list[Reading]] = defaultdict(list)
        for reading in chunk.of("run_ocr", Reading):
            tracks[reading.track].append(reading)
            frames[reading.sequence].append(reading)
        accepted = {track: self._accepted(readings) for track, readings in tracks.items()}
        sizes = {frame.sequence: (frame.width, frame.height) for frame in chunk.frames}
        marks = self._words_of_graphics(tracks, accepted, frames, sizes)
        found = {
            track: self._detections(readings, [v for v in accepted[track] if v.entry.id not in marks[track]])
            for track, readings in tracks.items()
        }
        whole = WholeNames((d for detections in found.values() for d in detections), self._brands, sizes)
        documents: list[MatchDocument] = []
        for track, readings in tracks.items():
            pieces = {v.entry.id for v in accepted[track] if whole.has_piece(found[track], v.entry.id, v.spellings)}
            detections = [d for d in found[track] if d.brand_id not in pieces]
            documents += detections
            self._counts["pieces_dropped"] += bool(pieces)
            if not detections and not pieces:
                documents += self._unresolved(readings, list(marks[track].values()), whole)
        self._counts["tracks"] += len(tracks)
        self._counts["graphics_dropped"] += sum(map(bool, marks.values()))
        self._counts["readings"] += sum(map(len, tracks.values()))
        if cut := sum(len(reading.text) > LONGEST_TEXT for readings in tracks.values() for reading in readings):
            self._counts["readings_cut_off"] += cut
        self._counts["detections"] += sum(isinstance(d, BrandDetection) for d in documents)
        self._counts["unresolved"] += sum(isinstance(d, UnresolvedCandidate) for d in documents)
        self._counts["compute_s"] += time.perf_counter() - began
        return sorted(documents, key=lambda d: d.sequence if isinstance(d, BrandDetection) else d.sequences[0])

    def _words_of_graphics(
        self,
        tracks: Mapping[int, Sequence[Reading]],
        accepted: Mapping[int, Sequence[_TrackBrand]],
        frames: Mapping[int, Sequence[Reading]],
        sizes: Mapping[int, tuple[int, int]],
    ) -> dict[int, dict[str, str]]:
        """By track, the brands (name by id) whose name is a word of the broadcast's graphics there.

        A name is such a word in a phrase of such words, in an overlay, next to a channel name, if it is static while
        other text moves or in an upper corner, and wherever static text was found to be such a word.
        """
        marks: dict[int, dict[str, str]] = {track: {} for track in tracks}
        words: dict[str, list[tuple[_TrackBrand, Sequence[Reading]]]] = defaultdict(list)
        for track, readings in tracks.items():
            for reading in readings:
                marks[track] |= {entry.id: entry.name for entry in self._matcher.graphics(reading.text)}
            for shown in accepted[track]:
                if shown.graphic:
                    words[shown.entry.id].append((shown, readings))
        for brand, seen in words.items():
            static = {
                reading.track
                for group in by_place(reading for _, readings in seen for reading in readings)
                if pinned(group, frames)
                for reading in group
            }
            for shown, readings in seen:
                track, word = readings[0].track, min(shown.spellings)
                if (
                    track in static
                    or in_overlays(readings, word)
                    or beside_graphics(readings, frames)
                    or in_a_corner(readings, sizes)
                ):
                    marks[track][brand] = shown.entry.name
        for track, readings in tracks.items():
            if marks[track] and (is_static(readings) or all(reading.zone == "overlay" for reading in readings)):
                for brand in marks[track]:
                    self._marks.add(brand, *(reading.quad for reading in readings))
        for brand, seen in words.items():
            for shown, readings in seen:
                if self._marks.hold(brand, readings):
                    marks[readings[0].track][brand] = shown.entry.name
        return marks

    def _detections(self, readings: Sequence[Reading], accepted: Sequence[_TrackBrand]) -> list[BrandDetection]:
        found: dict[tuple[int, str], BrandDetection] = {}
        for shown in accepted:
            for reading in readings:
                own = next(
                    (m for m in self._matcher.match(reading.text, reading.confidence) if m.entry.id == shown.entry.id),
                    None,
                )
                similarity = max((fuzz.ratio(reading.text.casefold(), t) / 100 for t in shown.texts), default=0.0)
                if own is None and similarity < self._config.min_track_similarity:
                    continue
                confidence = reading.confidence * (own.score if own else similarity * shown.score)
                key = (reading.sequence, shown.entry.id)
                if key in found and found[key].confidence >= confidence:
                    continue
                found[key] = BrandDetection(
                    sequence=reading.sequence,
                    timestamp=reading.timestamp,
                    shot=reading.shot,
                    track=reading.track,
                    brand_id=shown.entry.id,
                    brand_name=shown.entry.name,
                    source="ocr",
                    text=reading.text,
                    confidence=confidence,
                    quad=reading.quad,
                    zone=reading.zone,
                    unoccluded=reading.unoccluded,
                    clarity=clarity(reading.confidence, reading.quad),
                )
        return list(found.values())

    def _accepted(self, readings: Sequence[Reading]) -> list[_TrackBrand]:
        """The brands of a track, by the vote of its readings."""
        readings = _voters(readings)
        votes: dict[str, list[tuple[float, str]]] = defaultdict(list)
        matches: dict[str, list[Match]] = defaultdict(list)
        entries: dict[str, BrandEntry] = {}
        agreed, agreement = vote([(r.text, r.confidence) for r in readings])
        candidates = [(r.text, r.confidence) for r in readings]
        agreed_on: set[str] = set()
        if len(readings) > 1:
            candidates.append((agreed, agreement))
            agreed_on = {match.entry.id for match in self._matcher.match(agreed, agreement)}
        for text, confidence in candidates:
            # A short name may be read with lower confidence if the track agrees on it.
            sure = {match.entry.id for match in self._matcher.match(text, confidence)} | agreed_on
            for match in self._matcher.match(text):
                if match.entry.id not in sure:
                    continue
                entries[match.entry.id] = match.entry
                matches[match.entry.id].append(match)
                votes[match.entry.id].append((match.score * confidence, text.casefold()))
        accepted = []
        for brand, cast_votes in votes.items():
            weights = [weight for weight, _ in cast_votes]
            if max(weights) >= self._config.min_vote or sum(weights) >= self._config.min_vote_sum:
                accepted.append(
                    _TrackBrand(
                        entry=entries[brand],
                        score=max(weights),
                        texts=[text for _, text in cast_votes],
                        spellings={match.matched for match in matches[brand]},
                        graphic=all(match.graphic for match in matches[brand]),
                    )
                )
        return accepted

    def _unresolved(
        self, readings: Sequence[Reading], marks: Sequence[str], whole: WholeNames
    ) -> list[UnresolvedCandidate]:
        """The track's text as a candidate, or an empty list. `marks`: brands whose name is a word of graphics there."""
        text, agreement = vote([(r.text, r.confidence) for r in _voters(readings)])
        best = max(readings, key=lambda r: r.confidence * min(r.height_px, CLEAR_HEIGHT))
        letters = sum(c.isalpha() for c in text)
        if (
            is_noise(text)
            or letters < self._config.unresolved_min_letters
            or best.confidence < self._config.unresolved_min_confidence
            or (not marks and best.zone == "overlay" and belongs_to_graphics(text))
            or whole.explains(text, readings)
        ):
            return []
        guess = None if marks else self._suggester.perhaps(text)
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
                reason=f"{GRAPHICS}, not counted as {', '.join(marks)}" if marks else UNKNOWN,
                perhaps=guess.name if guess else "",
            )
        ]

    def state(self) -> dict[str, Any]:
        """Counters, and the positions of words of graphics in the picture."""
        return {"counts": dict(self._counts), "marks": self._marks.state()}

    def stats(self) -> dict[str, Any]:
        """Numbers of tracks, readings, detections and candidates; number and version of the known brands.

        `readings_cut_off`: readings so long that their end was not matched. `graphics_dropped` and `pieces_dropped`:
        tracks whose brand was rejected. `brands_by_script`: the scripts of the brands without a Latin spelling.
        """
        counts = {key: (round(value, 3) if key.endswith("_s") else int(value)) for key, value in self._counts.items()}
        return {
            **counts,
            "known_brands": len(self._brands.entries),
            "brands_version": self._brands.version,
            "brands_by_script": brands_by_script(self._brands),
        }


def _voters(readings: Sequence[Reading]) -> Sequence[Reading]:
    """The readings of a track that an engine made. Propagated readings have no vote."""
    return [r for r in readings if r.origin != "carried"] or readings[:1]


def serialize(document: MatchDocument) -> dict[str, Any]:
    """A detection or a candidate as a BSON document. `kind` says which it is."""
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
    """The detection or candidate that `serialize` wrote."""
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
