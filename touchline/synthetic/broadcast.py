"""The broadcast: frame by frame, the picture and the exact geometry of all that is in it.

Belongs here: putting stadium, players and overlays together for one moment. What of it a viewer can read over time is
the business of `truth`, and making a file of it that of `encode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sin
from typing import Final, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.synthetic.camera import Array, Camera
from touchline.synthetic.overlays import draw_overlays, layout, overlay_mask
from touchline.synthetic.players import draw_closeup, draw_player, squad
from touchline.synthetic.spec import BroadcastSpec, LedSlot, Message
from touchline.synthetic.stadium import Row, Stadium, led_row, painted_row
from touchline.values import Box, Image, Quad

Where = Literal["board", "jersey", "scorebug"]

_GRAINS: Final = 6
"""Pictures of grain that take turns."""
_SHUTTER: Final = 0.5
"""Share of a frame's time for which the shutter is open (the film maker's 180 degrees)."""


@dataclass(frozen=True, slots=True)
class PanelView:
    """One panel of a board row in the picture. `quad` may reach beyond the picture's edges."""

    kind: Literal["led", "painted"]
    text: str
    brand: str
    quad: Quad


@dataclass(frozen=True, slots=True)
class WordView:
    """One word mark in the picture: the quad of its ink, its letters' height [px], and how much of it can be seen.

    `seen` is the share of the ink's quad that is inside the picture and covered by nobody, 0..1.
    """

    text: str
    brand: str
    where: Where
    quad: Quad
    height_px: float
    seen: float


@dataclass(frozen=True, slots=True)
class Rendered:
    """One frame. `rows` are board rows clipped to the picture's left and right edges; `players` and `overlays` boxes.

    `image` is BGR; all geometry is in its pixels. `covered` is H x W, 255 where a player or an overlay is.
    """

    index: int
    time: float
    shot: int
    image: Image
    panels: tuple[PanelView, ...]
    rows: tuple[Quad, ...]
    words: tuple[WordView, ...]
    players: tuple[Box, ...]
    overlays: tuple[Box, ...]
    covered: NDArray[np.uint8]

    @property
    def quads(self) -> tuple[Quad, ...]:
        """The panels' quads."""
        return tuple(panel.quad for panel in self.panels)


class Broadcast:
    """Renders the frames of a specification, in any order, always the same.

    >>> frame = Broadcast(CLIP).frame(0)
    >>> frame.image.shape
    (360, 640, 3)
    """

    def __init__(self, spec: BroadcastSpec) -> None:
        self.spec = spec
        self._squad = squad(spec)
        self._overlays = layout(spec)
        self._overlay_mask = overlay_mask(spec)

    def frame(self, index: int) -> Rendered:
        """Frame `index`, from 0 to `spec.frames` - 1, with its picture."""
        return self._render(index, draw=True)

    def geometry(self, index: int) -> Rendered:
        """As `frame`, but the picture is left black: exact and many times faster."""
        return self._render(index, draw=False)

    @cached_property
    def _stadium(self) -> Stadium:
        return Stadium(self.spec)

    @cached_property
    def _grain(self) -> list[NDArray[np.int8]]:
        rng = np.random.default_rng(self.spec.seed + 2)
        shape = (self.spec.height, self.spec.width, 1)
        return [
            np.repeat(np.clip(np.round(rng.normal(0, self.spec.grain, shape)), -90, 90).astype(np.int8), 3, axis=2)
            for _ in range(_GRAINS)
        ]

    @cached_property
    def _backdrop(self) -> Image:
        """The stand far out of focus, behind a close-up."""
        camera = Camera(3.0, 7.2, 3.4 * self.spec.width, self.spec.width, self.spec.height)
        picture = cv2.warpPerspective(
            self._stadium.panorama(self._slot(self.spec.led[0].start_s).messages),
            self._stadium.camera.to(camera),
            (self.spec.width, self.spec.height),
            borderMode=cv2.BORDER_REPLICATE,
        )
        return cast(Image, cv2.GaussianBlur(picture, (0, 0), self.spec.width / 55))

    def _render(self, index: int, draw: bool) -> Rendered:
        if not 0 <= index < self.spec.frames:
            raise IndexError(f"frame {index} of a broadcast of {self.spec.frames} frames")
        time = index / self.spec.fps
        number = max(i for i, shot in enumerate(self.spec.shots) if shot.start_s <= time + 1e-9)
        shot = self.spec.shots[number]
        covered = np.zeros((self.spec.height, self.spec.width), np.uint8)
        if shot.kind == "wide":
            image, panels, rows, words, players = self._wide(number, time, covered, draw)
        else:
            image, panels, rows, words, players = self._close(time, covered, draw)
        covered = cast(NDArray[np.uint8], np.maximum(covered, self._overlay_mask))
        seen = [(message, where, quad) for message, where, quad in words if _in_picture(quad, self.spec)]
        # A word on a shirt is on the body itself: only overlays can cover it.
        views = [
            _word(message, where, quad, self._overlay_mask if where == "jersey" else covered)
            for message, where, quad in seen
        ]
        if self.spec.overlay_sponsor is not None and self._overlays.sponsor is not None:
            nothing = np.zeros_like(covered)
            views.append(_word(self.spec.overlay_sponsor, "scorebug", self._overlays.sponsor, nothing))
        if draw:
            draw_overlays(image, self.spec, time)
            if self.spec.grain > 0:
                image = cast(Image, cv2.add(image, self._grain[index % _GRAINS], dtype=cv2.CV_8U))
        return Rendered(
            index, time, number, image, tuple(panels), tuple(rows), tuple(views), tuple(players),
            self._overlays.boxes, covered,
        )  # fmt: skip

    def _wide(self, number: int, time: float, covered: NDArray[np.uint8], draw: bool) -> _Drawn:
        camera = self._camera(number, time)
        messages = self._slot(time).messages
        image = self._view(camera, number, time, messages) if draw else np.zeros((*covered.shape, 3), np.uint8)
        players = []
        # Far players first, so that near ones cover them.
        for player in sorted(self._squad, key=lambda player: -float(player.at(time)[1])):
            box = draw_player(image if draw else None, covered, camera, player, time)
            if box is not None:
                players.append(box)
        board_rows = [led_row(messages)] + ([painted_row(self.spec.painted)] if self.spec.painted else [])
        panels: list[PanelView] = []
        words: list[tuple[Message, Where, Quad]] = []
        for row in board_rows:
            for message, corners, ink in row.panels():
                quad = _quad(camera.project(corners))
                if _in_picture(quad, self.spec):
                    panels.append(PanelView(row.kind, message.text, message.brand, quad))
                    words.append((message, "board", _quad(camera.project(ink))))
        return image, panels, [_clipped(row, camera) for row in board_rows], words, players

    def _close(self, time: float, covered: NDArray[np.uint8], draw: bool) -> _Drawn:
        image = self._backdrop.copy() if draw else None
        box, quad = draw_closeup(image, covered, self.spec, time)
        words: list[tuple[Message, Where, Quad]] = []
        if quad is not None and self.spec.jersey is not None:
            words.append((self.spec.jersey, "jersey", quad))
        picture = image if image is not None else np.zeros((*covered.shape, 3), np.uint8)
        return picture, [], [], words, [box]

    def _camera(self, number: int, time: float) -> Camera:
        shot = self.spec.shots[number]
        end = self.spec.shots[number + 1].start_s if number + 1 < len(self.spec.shots) else self.spec.duration_s
        part = (time - shot.start_s) / (end - shot.start_s)
        # A hand at the tripod: a little tremble, no more than a pixel or two.
        tremble = 0.012 * sin(7.3 * time) + 0.008 * sin(17.1 * time)
        return Camera(
            pan=_between(shot.pan, part) + tremble,
            tilt=_between(shot.tilt, part) + 0.6 * tremble,
            focal=_between(shot.focal, part) * self.spec.width,
            width=self.spec.width,
            height=self.spec.height,
        )

    def _slot(self, time: float) -> LedSlot:
        return max((slot for slot in self.spec.led if slot.start_s <= time + 1e-9), key=lambda slot: slot.start_s)

    def _view(self, camera: Camera, number: int, time: float, messages: tuple[Message, ...]) -> Image:
        stadium = self._stadium
        size = (self.spec.width, self.spec.height)
        image = cv2.warpPerspective(
            stadium.panorama(messages), stadium.camera.to(camera), size, borderMode=cv2.BORDER_REPLICATE
        )
        if self.spec.motion_blur:
            ahead = self._camera(number, time + 1 / self.spec.fps)
            centre = camera.to(ahead) @ np.array([size[0] / 2, size[1] / 2, 1.0])
            travel = abs(float(centre[0] / centre[2]) - size[0] / 2) * _SHUTTER
            if travel > 0.5:
                image = cv2.filter2D(image, -1, _smear(travel))
        return cast(Image, image)


_Drawn = tuple[Image, list[PanelView], list[Quad], list[tuple[Message, Where, Quad]], list[Box]]


def _between(ends: tuple[float, float], part: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * part


def _smear(travel: float) -> NDArray[np.float32]:
    """A horizontal kernel of `travel` pixels, fractions included."""
    reach = int(np.ceil(travel / 2))
    offsets = np.abs(np.arange(-reach, reach + 1))
    weights = np.clip(travel / 2 - offsets + 0.5, 0, 1).astype(np.float32)
    return cast(NDArray[np.float32], (weights / weights.sum())[None, :])


def _quad(points: Array) -> Quad:
    a, b, c, d = ((float(x), float(y)) for x, y in points)
    return (a, b, c, d)


def _in_picture(quad: Quad, spec: BroadcastSpec) -> bool:
    xs, ys = [x for x, _ in quad], [y for _, y in quad]
    return max(xs) > 0 and min(xs) < spec.width and max(ys) > 0 and min(ys) < spec.height


def _clipped(row: Row, camera: Camera) -> Quad:
    """The row's quad between the picture's left and right edges: lines stay lines, so corners slide along them."""
    a, b, c, d = camera.project(row.outline())

    def at(p: Array, q: Array, x: float) -> tuple[float, float]:
        return x, float(p[1] + (q[1] - p[1]) * (x - p[0]) / (q[0] - p[0]))

    left, right = max(0.0, float(max(a[0], d[0]))), min(float(camera.width), float(min(b[0], c[0])))
    return at(a, b, left), at(a, b, right), at(d, c, right), at(d, c, left)


def _word(message: Message, where: Where, quad: Quad, covered: NDArray[np.uint8]) -> WordView:
    corners = np.array(quad)
    height = float(np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
    low = np.floor(corners.min(axis=0)).astype(int) - 1
    high = np.ceil(corners.max(axis=0)).astype(int) + 2
    # The whole quad is filled on a canvas of its own, so that what lies outside the picture counts as unseen.
    whole = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillConvexPoly(whole, np.round((corners - low) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    x1, y1 = max(0, low[0]), max(0, low[1])
    x2, y2 = min(covered.shape[1], high[0]), min(covered.shape[0], high[1])
    inside = whole[y1 - low[1] : y2 - low[1], x1 - low[0] : x2 - low[0]]
    free = inside[covered[y1:y2, x1:x2] < 128]
    return WordView(message.text, message.brand, where, quad, height, float(free.sum()) / max(1, int(whole.sum())))
