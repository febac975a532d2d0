"""Tracks of readings as `run_ocr` writes them, and what `match_brands` makes of them.

Belongs here: what tests of the matching stage share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from touchline.brands import BrandBook, BrandEntry
from touchline.geometry import box_quad
from touchline.stages.match_brands import MatchBrands, MatchBrandsConfig
from touchline.values import (
    BrandDetection,
    Chunk,
    Image,
    MatchDocument,
    Reading,
    SampledFrame,
    UnresolvedCandidate,
    Zone,
)

WIDTH, HEIGHT = 1280, 720


def track(
    number: int,
    text: str | Sequence[str],
    place: tuple[float, float],
    *,
    frames: Iterable[int] = range(6),
    move: tuple[float, float] = (0.0, 0.0),
    zone: Zone = "board",
    shot: int = 0,
    height: float = 20.0,
    confidence: float = 0.96,
) -> list[Reading]:
    """One text in successive frames, half a second apart; `place` is its left upper corner in the first [pixels]."""
    texts = [text] if isinstance(text, str) else list(text)
    found = []
    for i, sequence in enumerate(frames):
        written = texts[i % len(texts)]
        x, y = place[0] + i * move[0], place[1] + i * move[1]
        found.append(
            Reading(
                sequence=sequence,
                timestamp=sequence / 2,
                shot=shot,
                track=number,
                text=written,
                confidence=confidence,
                quad=box_quad((x, y, x + 0.6 * height * len(written), y + height)),
                zone=zone,
                origin="frame",
                unoccluded=1.0,
                height_px=height,
            )
        )
    return found


def sampled(sequence: int) -> SampledFrame:
    return SampledFrame(sequence, 0, sequence / 2, sequence, (1, 2), WIDTH, HEIGHT, f"{sequence}.jpg", "", 0)


def not_looked_at(sequence: int, lines: int | None = None, /) -> Image:
    raise AssertionError("match_brands looks at no picture")


def chunk_of(*tracks: Sequence[Reading]) -> Chunk:
    readings = sorted((reading for one in tracks for reading in one), key=lambda r: r.sequence)
    frames = tuple(sampled(sequence) for sequence in sorted({r.sequence for r in readings}))
    return Chunk(0, frames, not_looked_at, {"run_ocr": readings})


def stage(*brands: str | BrandEntry) -> MatchBrands:
    entries = [BrandEntry.of(brand) if isinstance(brand, str) else brand for brand in brands]
    return MatchBrands(MatchBrandsConfig(), BrandBook.from_entries(entries))


def documents(worker: MatchBrands, *tracks: Sequence[Reading]) -> list[MatchDocument]:
    return list(worker.run_chunk(chunk_of(*tracks)))


def counted(found: Iterable[MatchDocument]) -> dict[str, int]:
    """In how many frames each brand was detected."""
    frames: dict[str, set[int]] = {}
    for document in found:
        if isinstance(document, BrandDetection):
            frames.setdefault(document.brand_name, set()).add(document.sequence)
    return {name: len(of_brand) for name, of_brand in frames.items()}


def unresolved(found: Iterable[MatchDocument]) -> dict[str, UnresolvedCandidate]:
    return {d.text: d for d in found if isinstance(d, UnresolvedCandidate)}
