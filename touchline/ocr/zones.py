"""What a line of text stands on: an advertising board, a jersey, an overlay, or something else.

Belongs here: judging one line in one frame by what is around it, and the vote of a track, which gives all its lines one
zone. What is around it is found by `detect_edges` and `detect_objects`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from touchline.geometry import bounds, box_quad, centre, inside, line_height
from touchline.values import Box, FrameEdges, Quad, Zone
from touchline.vision.strips import board_rows

CHEST: Final = (0.12, 0.62)
"""Where a jersey's front is in a person's box, share of its height from the top; down to the picture's lower edge for
somebody whom it cuts off."""
OVERLAY_MARGIN: Final = 4.0
"""How far beyond an overlay's box its text may be centred [pixels of the frame]."""
ABSENT: Final = 0.3
"""Weight in the vote of a frame in which nothing was found around the line; a find has 1. A board row may be missed in
one frame of a pan and found in the next, and is never found where there is none: three finds outweigh nine misses."""
UNSEEN: Final = 0.01
"""Weight in the vote of a frame in which no object detector searched for people, so that a jersey cannot be recognised,
relative to frames of the same track in which one did."""
_FIRST: Final[tuple[Zone, ...]] = ("overlay", "jersey", "board", "other")
"""Of zones with equal votes the one named first is taken."""


def zone_of(
    quad: Quad, edge: FrameEdges | None, people: Sequence[Box], picture_height: int, *, board_margin: float
) -> Zone:
    """The zone of a line in one frame, as that frame alone shows it.

    `people` are boxes of persons; `picture_height` and all coordinates are pixels of the stored frame; `board_margin`
    is how far above a board row text still belongs to it [heights of the row].
    """
    point = centre(quad)
    if edge and any(inside(point, box_quad(_grown(o.box, OVERLAY_MARGIN))) for o in edge.overlays):
        return "overlay"
    x1, _, x2, _ = bounds(quad)
    for left, top, right, bottom in people:
        upper = top + CHEST[0] * (bottom - top)
        lower = bottom if bottom >= picture_height - 2 else top + CHEST[1] * (bottom - top)
        if left <= point[0] <= right and upper <= point[1] <= lower and x2 - x1 <= 1.1 * (right - left):
            return "jersey"
    if edge:
        for tl, tr, br, bl in board_rows(edge.boards):
            lift = board_margin * (bl[1] - tl[1] + br[1] - tr[1]) / 2
            if inside(point, ((tl[0], tl[1] - lift), (tr[0], tr[1] - lift), br, bl)):
                return "board"
    return "other"


class ZoneVotes:
    """The votes of tracks, over the chunks that they last. `state` is that of a former one, or none."""

    def __init__(self, state: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._votes = {int(track): dict(votes) for track, votes in (state or {}).items()}

    def add(self, track: int, zone: Zone, *, people_known: bool) -> None:
        """One frame's judgement. `people_known`: whether an object detector looked at that frame."""
        weight = ABSENT if zone == "other" else 1.0
        if not people_known and zone != "overlay":
            weight *= UNSEEN
        votes = self._votes.setdefault(track, {})
        votes[zone] = votes.get(zone, 0.0) + weight

    def winner(self, track: int) -> Zone:
        """The zone of all the track's lines; "other" for a track without votes."""
        votes = self._votes.get(track)
        return max(_FIRST, key=lambda zone: votes.get(zone, 0.0)) if votes else "other"

    def state(self, tracks: Collection[int]) -> dict[str, Any]:
        """The votes of these tracks, as BSON takes them; those of others are let go of."""
        self._votes = {track: votes for track, votes in self._votes.items() if track in tracks}
        return {str(track): dict(votes) for track, votes in self._votes.items()}


def _grown(box: Box, by: float) -> Box:
    return (box[0] - by, box[1] - by, box[2] + by, box[3] + by)


class Travel:
    """Movement of a track's text in the picture, and of the camera at the same time."""

    def __init__(self) -> None:
        self._frames: set[int] = set()
        self._first: Quad | None = None
        self._moved = 0.0
        self._camera = 0.0

    def add(self, sequence: int, quad: Quad, camera: tuple[float, ...] | None) -> None:
        """Adds a line of the track in a frame. `camera` maps the previous frame onto this one, None if unknown."""
        if self._first is None:
            self._first = quad
        elif sequence not in self._frames and camera is not None:
            self._camera += abs(camera[2]) + abs(camera[5])
        (x, y), (x0, y0) = centre(quad), centre(self._first)
        self._moved = max(self._moved, (abs(x - x0) + abs(y - y0)) / max(8.0, line_height(self._first)))
        self._frames.add(sequence)

    def is_static(self, travel: float) -> bool:
        """Whether the camera moved by `travel` and the text by less than a quarter of its height, in three frames."""
        return len(self._frames) >= 3 and travel > 0 and self._camera >= travel and self._moved <= 0.25
