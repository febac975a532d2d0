"""What the director lays over the picture: the score bug, with or without a sponsor, and the channel's mark.

Belongs here: drawing overlays and saying where they are. They never move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from touchline.synthetic.lettering import centred, lettering, rounded, stamp
from touchline.synthetic.spec import BroadcastSpec
from touchline.values import Box, Image, Quad


@dataclass(frozen=True, slots=True)
class Overlays:
    """Boxes (xyxy) of the score bug and the channel's mark, and the quad of the sponsor's ink in the score bug."""

    boxes: tuple[Box, ...]
    sponsor: Quad | None


def layout(spec: BroadcastSpec) -> Overlays:
    """Where the overlays of a specification are."""
    bug, mark, sponsor = _bug(spec), _mark(spec), None
    if spec.overlay_sponsor is not None:
        x1, y1, x2, y2 = _sponsor_box(spec)
        ink = lettering(spec.overlay_sponsor.text, _cap(spec))
        left, top = (x1 + x2 - ink.shape[1]) // 2, (y1 + y2 - ink.shape[0]) // 2
        right, bottom = left + ink.shape[1], top + ink.shape[0]
        sponsor = ((left, top), (right, top), (right, bottom), (left, bottom))
        bug = (bug[0], bug[1], x2, y2)
    return Overlays(tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in (bug, mark)), sponsor)


def draw_overlays(image: Image, spec: BroadcastSpec, time: float) -> None:
    """Draw the overlays of a moment [s from the start] onto the picture, in place."""
    x1, y1, x2, y2 = _bug(spec)
    cap, length = _cap(spec), x2 - x1
    home, score, away, clock = (
        (x1 + round(a * length), y1, x1 + round(b * length), y2)
        for a, b in ((0.0, 0.27), (0.27, 0.45), (0.45, 0.72), (0.72, 1.0))
    )
    rounded(image, (x1, y1, x2, y2), max(2, (y2 - y1) // 8), (48, 30, 22))
    for box, team, shirt in zip((home, away), spec.teams, spec.shirts, strict=True):
        image[y1 + 3 : y2 - 3, box[0] + 4 : box[0] + 4 + max(2, length // 60)] = shirt
        centred(image, team, (box[0] + 8, y1, box[2], y2), cap, (245, 245, 245))
    image[y1:y2, score[0] : score[2]] = (235, 235, 235)
    centred(image, f"{spec.score[0]}-{spec.score[1]}", score, cap, (40, 25, 18))
    seconds = spec.clock_s + int(time)
    centred(image, f"{seconds // 60:02d}:{seconds % 60:02d}", clock, cap, (120, 230, 255))
    if spec.overlay_sponsor is not None:
        box = _sponsor_box(spec)
        image[box[1] : box[3], box[0] : box[2]] = spec.overlay_sponsor.ground
        centred(image, spec.overlay_sponsor.text, box, cap, spec.overlay_sponsor.ink)
    x1, y1, x2, y2 = _mark(spec)
    ink = lettering(spec.channel, _cap(spec))
    stamp(image, ink, (x1 + x2 - ink.shape[1]) // 2, (y1 + y2 - ink.shape[0]) // 2, (255, 255, 255), 0.75)


def overlay_mask(spec: BroadcastSpec) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """H x W, 255 where an opaque overlay covers the picture."""
    mask = np.zeros((spec.height, spec.width), np.uint8)
    x1, y1, x2, y2 = (int(v) for v in layout(spec).boxes[0])
    mask[y1:y2, x1:x2] = 255
    return mask


def _cap(spec: BroadcastSpec) -> int:
    return max(7, round(spec.height * 0.0215))


def _bug(spec: BroadcastSpec) -> tuple[int, int, int, int]:
    x, y = round(spec.width * 0.045), round(spec.height * 0.05)
    return x, y, x + 7 * round(spec.width * 0.032), y + round(spec.height * 0.05)


def _sponsor_box(spec: BroadcastSpec) -> tuple[int, int, int, int]:
    x1, _, x2, y2 = _bug(spec)
    return x1, y2, x2, y2 + round(spec.height * 0.042)


def _mark(spec: BroadcastSpec) -> tuple[int, int, int, int]:
    ink = lettering(spec.channel, _cap(spec))
    x2, y1 = round(spec.width * 0.955), round(spec.height * 0.055)
    return x2 - ink.shape[1] - 8, y1, x2, y1 + ink.shape[0] + 8
