"""Ground truth of a broadcast: which brand can be seen and read when, computed from the geometry of every frame.

Belongs here: the thresholds of seeing and reading, intervals, and the JSON in which ground truth of footage is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from touchline.synthetic.broadcast import Broadcast, Rendered
from touchline.synthetic.spec import BroadcastSpec

LEGIBLE_PX: Final = 12.0
"""Height of letters from which on a person reads them at ease [px]."""
LEGIBLE_SEEN: Final = 0.6
"""Share of a word that must be free for a person to read it."""
VISIBLE_PX: Final = 6.0
VISIBLE_SEEN: Final = 0.15
"""From here on a mark can be seen, if not read."""
_BLINK_S: Final = 0.2
"""Gaps shorter than this (a leg passing by) interrupt nobody's reading."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BrandTruth:
    """When one brand is visible and legible [s]. `where` is where it shows most."""

    name: str
    where: str
    visible_s: tuple[Interval, ...]
    legible_s: tuple[Interval, ...]

    @property
    def legible(self) -> bool:
        """Whether it can ever be read."""
        return bool(self.legible_s)


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of one clip."""

    file: str
    duration_s: float
    sampled_at_s: tuple[float, ...]
    shot_cuts_s: tuple[float, ...]
    brands: tuple[BrandTruth, ...]
    distractors: tuple[str, ...]
    boundary_tolerance_s: float = 0.5
    kind: str = "clip"
    notes: str = "Rendered. Times follow from the geometry of every frame."

    def as_json(self) -> dict[str, Any]:
        """The JSON document in which truth is kept beside footage."""
        return {
            **asdict(self),
            "brands": [{**asdict(brand), "legible": brand.legible} for brand in self.brands],
            "ambiguous": [],
        }


class TruthCollector:
    """Gathers what can be seen while frames go by, in order."""

    def __init__(self, spec: BroadcastSpec) -> None:
        self._spec = spec
        self._seen: dict[str, dict[str, list[int]]] = {}
        self._where: dict[str, dict[str, int]] = {}
        self._texts: set[str] = set()

    def add(self, frame: Rendered) -> None:
        """Note the words of one frame."""
        for word in frame.words:
            if word.height_px < VISIBLE_PX or word.seen < VISIBLE_SEEN:
                continue
            if not word.brand:
                self._texts.add(word.text)
                continue
            noted = self._seen.setdefault(word.brand, {"visible": [], "legible": []})
            _note(noted["visible"], frame.index)
            if word.height_px >= LEGIBLE_PX and word.seen >= LEGIBLE_SEEN:
                _note(noted["legible"], frame.index)
            places = self._where.setdefault(word.brand, {})
            places[word.where] = places.get(word.where, 0) + 1

    def truth(self, file: str) -> Truth:
        """The truth of all frames so far, for the clip named `file`."""
        spec = self._spec
        brands = [
            BrandTruth(
                name=brand,
                where=max(self._where[brand], key=lambda place: self._where[brand][place]),
                visible_s=_intervals(noted["visible"], spec.fps),
                legible_s=_intervals(noted["legible"], spec.fps),
            )
            for brand, noted in sorted(self._seen.items())
        ]
        overlay = (*spec.teams, f"{spec.score[0]}-{spec.score[1]}", "the clock", spec.channel)
        return Truth(
            file=file,
            duration_s=spec.frames / spec.fps,
            sampled_at_s=tuple(round(i / spec.fps, 3) for i in range(spec.frames)),
            shot_cuts_s=tuple(shot.start_s for shot in spec.shots[1:]),
            brands=tuple(brands),
            distractors=(*overlay, *sorted(self._texts)),
        )


def truth_of(spec: BroadcastSpec, file: str = "broadcast.mp4") -> Truth:
    """The ground truth of a specification, without drawing a picture."""
    broadcast, collector = Broadcast(spec), TruthCollector(spec)
    for index in range(spec.frames):
        collector.add(broadcast.geometry(index))
    return collector.truth(file)


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth as JSON."""
    path.write_text(json.dumps(truth.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _note(frames: list[int], index: int) -> None:
    if not frames or frames[-1] != index:
        frames.append(index)


def _intervals(frames: Iterable[int], fps: int) -> tuple[Interval, ...]:
    """Stretches of frames as intervals [s]: a frame lasts until the next one; blinks are bridged."""
    found: list[list[int]] = []
    for index in frames:
        if found and (index - found[-1][1]) / fps <= _BLINK_S:
            found[-1][1] = index + 1
        else:
            found.append([index, index + 1])
    return tuple((round(first / fps, 3), round(end / fps, 3)) for first, end in found)
