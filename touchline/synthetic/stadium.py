"""The stadium: pitch, stand, painted boards and LED row, drawn once as a panorama that every frame is cut from.

Belongs here: what stands still, and the LED row's pictures. Players and overlays are drawn over the frames elsewhere.
The camera turns and zooms but does not walk, so a frame is a homography of the panorama, whatever its depth.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import cos, pi, radians, sin, tan
from typing import Final, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.synthetic.camera import Array, Camera
from touchline.synthetic.lettering import fitted, stamp
from touchline.synthetic.spec import BroadcastSpec, Message
from touchline.values import Image

LENGTH, WIDTH = 105.0, 68.0
"""The pitch [m], as the Laws of the Game have it for internationals."""
_LED_Y: Final = 70.5
_WALL_Y: Final = 74.0
_HALF_ROW: Final = 64.0
"""Board rows reach from -this to +this along X [m]."""
_TEXEL: Final = 64
"""Pixels per metre of board textures."""
_CAP: Final = 0.62
"""Height of capitals as a share of the board's."""
_OVERSAMPLE: Final = 2
"""The panorama is drawn this much larger and averaged, which is what keeps far lines and letters smooth."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of upright boards: its plane's Y, bottom and top Z, length of a panel [m], and what the panels say."""

    kind: Literal["led", "painted"]
    y: float
    bottom: float
    top: float
    panel: float
    messages: tuple[Message, ...]

    def panels(self) -> list[tuple[Message, Array, Array]]:
        """(message, corners of the panel, of the ink) of each panel; corners 4 x 3 [m], clockwise from top left."""
        found = []
        texture_height = round((self.top - self.bottom) * _TEXEL)
        for index in range(int(2 * _HALF_ROW // self.panel)):
            left = -_HALF_ROW + index * self.panel
            message = self.messages[index % len(self.messages)]
            ink = _ink(message, self, texture_height)
            middle, centre = left + self.panel / 2, (self.top + self.bottom) / 2
            half_width, half_height = ink.shape[1] / 2 / _TEXEL, ink.shape[0] / 2 / _TEXEL
            found.append(
                (
                    message,
                    self._corners(left, left + self.panel, self.bottom, self.top),
                    self._corners(middle - half_width, middle + half_width, centre - half_height, centre + half_height),
                )
            )
        return found

    def outline(self) -> Array:
        """Corners of the whole row, 4 x 3 [m], clockwise from top left."""
        return self._corners(-_HALF_ROW, _HALF_ROW, self.bottom, self.top)

    def texture(self) -> Image:
        """The whole row's picture, BGR, `_TEXEL` pixels per metre."""
        height = round((self.top - self.bottom) * _TEXEL)
        picture = np.zeros((height, round(2 * _HALF_ROW * _TEXEL), 3), np.uint8)
        width = round(self.panel * _TEXEL)
        for index, (message, _, _) in enumerate(self.panels()):
            panel = picture[:, index * width : (index + 1) * width]
            panel[:] = message.ground
            ink = _ink(message, self, height)
            stamp(panel, ink, (width - ink.shape[1]) // 2, (height - ink.shape[0]) // 2, message.ink)
            panel[:, :2] = (panel[:, :2] * 0.5).astype(np.uint8)
        picture[:3] = picture[-3:] = (40, 40, 40)
        return picture

    def _corners(self, left: float, right: float, bottom: float, top: float) -> Array:
        y = self.y
        return np.array([[left, y, top], [right, y, top], [right, y, bottom], [left, y, bottom]])


def led_row(messages: tuple[Message, ...]) -> Row:
    """The row of LED boards along the far touchline."""
    return Row("led", _LED_Y, 0.0, 1.0, 9.0, messages)


def painted_row(messages: tuple[Message, ...]) -> Row:
    """The painted boards on the wall of the stand behind."""
    return Row("painted", _WALL_Y, 1.15, 2.15, 16.0, messages)


class Stadium:
    """The panorama of a specification, with the LED row showing whatever was asked for last."""

    def __init__(self, spec: BroadcastSpec) -> None:
        wide = [shot for shot in spec.shots if shot.kind == "wide"]
        focal = max([max(shot.focal) for shot in wide], default=2.5) * spec.width
        reach = max([abs(pan) for shot in wide for pan in shot.pan], default=0.0)
        shortest = min([min(shot.focal) for shot in wide], default=2.5)
        tilts = [tilt for shot in wide for tilt in shot.tilt] or [10.4]
        # Room for half a picture beyond the farthest turn, and for the shake.
        half_width = tan(min(radians(reach) + 0.5 / shortest + 0.03, 1.0))
        half_height = (spec.height / spec.width / shortest + radians(max(tilts) - min(tilts))) * 0.62 + 0.02
        self.camera = Camera(
            pan=0.0,
            tilt=(max(tilts) + min(tilts)) / 2,
            focal=focal,
            width=2 * round(half_width * focal),
            height=2 * round(half_height * focal * 1.12),
        )
        big = Camera(0.0, self.camera.tilt, focal * _OVERSAMPLE, *(n * _OVERSAMPLE for n in self._size))
        self._big = big
        rng = np.random.default_rng(spec.seed)
        picture = np.full((big.height, big.width, 3), (52, 44, 40), np.uint8)
        _draw_ground(picture, big, rng)
        _draw_stand(picture, big, rng)
        if spec.painted:
            _lay(picture, big, painted_row(spec.painted))
        self.painted = painted_row(spec.painted) if spec.painted else None
        self._picture = cast(Image, cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA))
        top, bottom = self._band()
        self._under = picture[top * _OVERSAMPLE : bottom * _OVERSAMPLE].copy()
        self._shown: tuple[Message, ...] | None = None

    @property
    def _size(self) -> tuple[int, int]:
        return self.camera.width, self.camera.height

    def panorama(self, messages: tuple[Message, ...]) -> Image:
        """The picture of `camera`, BGR, with these messages on the LED row; the stadium's own, not to be changed."""
        if messages != self._shown:
            top, bottom = self._band()
            shift = np.array([[1.0, 0, 0], [0, 1, -top * _OVERSAMPLE], [0, 0, 1]])
            band = self._under.copy()
            _lay(band, self._big, led_row(messages), shift)
            self._picture[top:bottom] = cv2.resize(
                band, (self.camera.width, bottom - top), interpolation=cv2.INTER_AREA
            )
            self._shown = messages
        return self._picture

    def _band(self) -> tuple[int, int]:
        """First and last picture row that the LED row may touch."""
        rows = self.camera.project(led_row(()).outline())[:, 1]
        return max(0, int(rows.min()) - 2), min(self.camera.height, int(rows.max()) + 3)


def _ink(message: Message, row: Row, height: int) -> NDArray[np.uint8]:
    return fitted(message.text, round(height * _CAP), round(row.panel * _TEXEL * 0.9))


def _lay(picture: Image, camera: Camera, row: Row, shift: Array | None = None) -> None:
    """Warp a row's texture onto the picture, in place."""
    texture = row.texture()
    homography = camera.plane((-_HALF_ROW, row.y, row.top), (1 / _TEXEL, 0, 0), (0, 0, -1 / _TEXEL))
    if shift is not None:
        homography = shift @ homography
    size = (picture.shape[1], picture.shape[0])
    cv2.warpPerspective(
        texture, homography, size, dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )


def _draw_ground(picture: Image, camera: Camera, rng: np.random.Generator) -> None:
    texel, reach, near, far = 10, 80.0, -14.0, _WALL_Y
    width, height = round(2 * reach * texel), round((far - near) * texel)
    x = (np.arange(width) / texel - reach)[None, :]
    y = (far - np.arange(height) / texel)[:, None]
    stripe = np.floor((x + 52.5) / 5.25) % 2
    band = 0.5 * (np.floor(y / 11.33) % 2)
    light = (
        0.93
        + 0.10 * stripe
        + 0.05 * band
        + 0.04 * cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 14) * 20
    )
    light = light + rng.normal(0, 0.035, (height, width))
    grass = light[:, :, None] * np.array([52.0, 128.0, 72.0])
    grass[(y > WIDTH + 1.2)[:, 0]] *= 0.78
    grass[(y > _LED_Y)[:, 0]] = (58, 56, 58)
    texture = np.clip(grass, 0, 255).astype(np.uint8)
    homography = camera.plane((-reach, far, 0), (1 / texel, 0, 0), (0, -1 / texel, 0))
    size = (camera.width, camera.height)
    cv2.warpPerspective(
        texture, homography, size, dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    for line in _markings():
        _stripe(picture, camera, line)
    for side in (-1, 1):
        x0 = side * LENGTH / 2
        frame = [(x0, 30.34, 0.0), (x0, 30.34, 2.44), (x0, 37.66, 2.44), (x0, 37.66, 0.0)]
        points = np.round(camera.project(frame) * 8).astype(np.int32)
        cv2.polylines(picture, [points], False, (240, 240, 240), max(2, round(camera.focal / 700)), cv2.LINE_AA, 3)


def _markings() -> list[list[tuple[float, float]]]:
    """The pitch's lines as polylines on the ground."""
    half = LENGTH / 2
    lines = [
        [(-half, 0.0), (half, 0.0)],
        [(-half, WIDTH), (half, WIDTH)],
        [(-half, 0.0), (-half, WIDTH)],
        [(half, 0.0), (half, WIDTH)],
        [(0.0, 0.0), (0.0, WIDTH)],
        [(9.15 * cos(a * pi / 48), 34 + 9.15 * sin(a * pi / 48)) for a in range(97)],
    ]
    for side in (-1, 1):
        for depth, reach in ((16.5, 20.16), (5.5, 9.16)):
            x = side * (half - depth)
            lines.append([(side * half, 34 - reach), (x, 34 - reach), (x, 34 + reach), (side * half, 34 + reach)])
    return lines


def _stripe(picture: Image, camera: Camera, line: list[tuple[float, float]], breadth: float = 0.12) -> None:
    """Paint one polyline of true breadth [m] in perspective."""
    for (x1, y1), (x2, y2) in itertools.pairwise(line):
        length = np.hypot(x2 - x1, y2 - y1)
        across = breadth / 2 * np.array([-(y2 - y1), x2 - x1]) / length
        along = breadth / 2 * np.array([x2 - x1, y2 - y1]) / length
        a, b = np.array([x1, y1]) - along, np.array([x2, y2]) + along
        corners = [(*(a + across), 0.0), (*(b + across), 0.0), (*(b - across), 0.0), (*(a - across), 0.0)]
        points = np.round(camera.project(corners) * 16).astype(np.int32)
        cv2.fillConvexPoly(picture, points, (232, 238, 232), cv2.LINE_AA, 4)


def _draw_stand(picture: Image, camera: Camera, rng: np.random.Generator) -> None:
    """The wall behind the boards, then rows of people on a slope, in the half dark under a roof."""
    wall = camera.project([(-90, _WALL_Y, 2.6), (90, _WALL_Y, 2.6), (90, _WALL_Y, 0), (-90, _WALL_Y, 0)])
    cv2.fillConvexPoly(picture, np.round(wall).astype(np.int32), (70, 66, 64))
    seats, rows = 300, 44
    cell = 12
    texture = np.zeros((rows * cell, seats * cell, 3), np.uint8)
    texture[:] = (46, 40, 38)
    palette = np.array([(60, 50, 150), (200, 200, 205), (50, 45, 45), (120, 80, 40), (70, 90, 110), (90, 60, 60)])
    for row in range(rows):
        for seat in range(seats):
            if rng.random() < 0.1:
                continue
            x = round(seat * cell + cell / 2 + rng.normal(0, 1.2))
            y = round(row * cell + cell / 2 + rng.normal(0, 1.0))
            shirt = palette[rng.integers(len(palette))] * rng.uniform(0.6, 1.1)
            cv2.ellipse(texture, (x, y + 4), (5, 5), 0, 0, 360, tuple(float(c) for c in np.minimum(shirt, 255)), -1)
            skin = rng.uniform(0.5, 1.0)
            cv2.circle(texture, (x, y - 3), 3, (105 * skin, 135 * skin, 185 * skin), -1)
    soft = cv2.GaussianBlur(texture, (0, 0), 1.2)
    texture = (soft * np.linspace(0.45, 0.8, rows * cell)[:, None, None]).astype(np.uint8)
    depth, rise = 22.0, 15.0
    origin = (-90.0, _WALL_Y + depth, 2.6 + rise)
    homography = camera.plane(origin, (180 / (seats * cell), 0, 0), (0, -depth / (rows * cell), -rise / (rows * cell)))
    size = (camera.width, camera.height)
    cv2.warpPerspective(
        texture, homography, size, dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
