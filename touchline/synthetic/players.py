"""Players: where they run, and how a running figure is drawn, on the pitch and in close-up.

Belongs here: figures and the mask of what they cover. Where the camera looks is the business of the broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from touchline.synthetic.camera import Array, Camera
from touchline.synthetic.lettering import lettering, stamp
from touchline.synthetic.spec import BroadcastSpec, Colour
from touchline.values import Box, Image, Quad

Mask = NDArray[np.uint8]
Place = Callable[[float, float], tuple[float, float]]
_HEIGHT = 1.86
_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates: figures glide instead of hopping from pixel to pixel."""


@dataclass(frozen=True, slots=True)
class Player:
    """One player: kit, skin, and a path along X and Y made of slow swings (start, speed, sway, rate, phase)."""

    shirt: Colour
    shorts: Colour
    skin: Colour
    x: tuple[float, float, float, float, float]
    y: tuple[float, float, float, float, float]
    stride: float

    def at(self, time: float) -> Array:
        """Where the player stands on the ground, X, Y, 0 [m]."""
        x, y = (
            start + speed * time + sway * sin(rate * time + phase)
            for start, speed, sway, rate, phase in (self.x, self.y)
        )
        return np.array([x, min(max(y, 4.0), 69.2), 0.0])


def squad(spec: BroadcastSpec) -> list[Player]:
    """The players of a specification: both teams over the pitch, a few along the far touchline, and the referee."""
    rng = np.random.default_rng(spec.seed + 1)
    skins: list[Colour] = [(140, 175, 225), (95, 130, 185), (55, 80, 125), (40, 55, 85)]
    players = []
    for index in range(spec.players):
        team = index % 2
        far = index % 5 == 0
        shirt: Colour = (25, 25, 28) if index == spec.players - 1 else spec.shirts[team]
        shorts: Colour = (30, 30, 34) if index == spec.players - 1 or team else (238, 238, 238)
        players.append(
            Player(
                shirt=shirt,
                shorts=shorts,
                skin=skins[int(rng.integers(len(skins)))],
                x=(
                    float(rng.uniform(-44, 44)),
                    float(rng.uniform(-1.6, 1.6)),
                    4.0,
                    0.45,
                    float(rng.uniform(0, 2 * pi)),
                ),
                y=(
                    float(rng.uniform(65.0, 68.5) if far else rng.uniform(18, 60)),
                    0.0 if far else float(rng.uniform(-0.4, 0.4)),
                    0.6 if far else 3.0,
                    0.4,
                    float(rng.uniform(0, 2 * pi)),
                ),
                stride=float(rng.uniform(0, 2 * pi)),
            )
        )
    return players


def draw_player(image: Image | None, mask: Mask, camera: Camera, player: Player, time: float) -> Box | None:
    """Draw a running player in place, and 255 into the mask where the body covers the picture.

    Returns the body's box (xyxy), clipped to the picture; none if it is outside. Without an image, only the mask.
    """
    ground = player.at(time)
    pixel = camera.project(ground)[0]
    scale = camera.scale_at(ground)
    if not (-scale < pixel[0] < camera.width + scale and 0 < pixel[1] < camera.height + 2 * scale):
        return None
    velocity = float(player.at(time + 0.04)[0] - ground[0]) / 0.04
    facing = 1.0 if velocity >= 0 else -1.0
    swing = min(1.0, 0.35 + abs(velocity) / 3.0)
    phase = 2 * pi * 1.5 * time + player.stride

    def place(across: float, up: float) -> tuple[float, float]:
        return float(pixel[0] + across * scale), float(pixel[1] - up * scale)

    limbs: list[tuple[list[tuple[float, float]], float, Colour]] = []
    for side in (0.0, pi):
        angle = swing * 0.75 * sin(phase + side)
        bend = swing * 0.9 * max(0.0, cos(phase + side))
        knee = (0.46 * sin(angle) * facing, 0.93 - 0.46 * cos(angle))
        shin = angle - bend
        foot = (knee[0] + 0.46 * sin(shin) * facing, max(0.03, knee[1] - 0.46 * cos(shin)))
        limbs.append(([(0.0, 0.93), knee], 0.19, player.shorts))
        limbs.append(([knee, foot], 0.13, player.shirt))
        limbs.append(([foot, (foot[0] + 0.16 * facing, foot[1])], 0.10, (30, 30, 35)))
    lean = 0.09 * swing * facing
    for side in (0.0, pi):
        angle = -swing * 0.8 * sin(phase + side)
        elbow = (lean + 0.20 * (-1 if side else 1) + 0.26 * sin(angle) * facing, 1.46 - 0.26 * cos(angle))
        hand = (elbow[0] + 0.22 * facing, elbow[1] + 0.10)
        limbs.append(([(lean + 0.20 * (-1 if side else 1), 1.46), elbow], 0.13, player.shirt))
        limbs.append(([elbow, hand], 0.09, player.skin))
    torso = [(lean - 0.23, 1.53), (lean + 0.23, 1.53), (0.19, 0.88), (-0.19, 0.88)]

    if image is not None:
        shadow = (round(pixel[0] + 0.25 * scale), round(pixel[1])), (round(0.55 * scale), max(1, round(0.09 * scale)))
        _shade(image, *shadow)
    for points, breadth, colour in limbs:
        _line(image, mask, [place(*point) for point in points], breadth * scale, colour)
    body = np.round(np.array([place(*point) for point in torso]) * 2**_SHIFT).astype(np.int32)
    hair = _dimmed(player.skin, 0.25)
    for canvas, colours in ((image, (player.shirt, hair, player.skin)), (mask, (255, 255, 255))):
        if canvas is not None:
            cv2.fillConvexPoly(canvas, body, colours[0], cv2.LINE_AA, _SHIFT)
            _disc(canvas, place(lean * 1.3, 1.74), 0.135 * scale, colours[1])
            _disc(canvas, place(lean * 1.3 + 0.03 * facing, 1.70), 0.115 * scale, colours[2])
    x1, y1, x2, y2 = (
        pixel[0] - 0.55 * scale,
        pixel[1] - _HEIGHT * scale,
        pixel[0] + 0.55 * scale,
        pixel[1] + 0.06 * scale,
    )
    box = (max(0.0, x1), max(0.0, y1), min(float(camera.width), x2), min(float(camera.height), y2))
    return box if box[2] - box[0] > 1 and box[3] - box[1] > 1 else None


def draw_closeup(image: Image | None, mask: Mask, spec: BroadcastSpec, time: float) -> tuple[Box, Quad | None]:
    """Draw one player from the chest up, in place. Returns the body's box and the quad of the sponsor's ink.

    `image` is H x W x 3 BGR or none for the geometry alone, `mask` H x W, set to 255 where the body is.
    """
    width, height = float(spec.width), float(spec.height)
    cx = width * (0.5 + 0.035 * sin(1.3 * time) + 0.01 * sin(3.1 * time))
    lift = height * 0.012 * sin(2.6 * time)
    shirt, skin = spec.shirts[0], (105, 140, 195)
    unit = height / 720.0

    def place(x: float, y: float) -> tuple[float, float]:
        return cx + x * unit, height * 0.5 + lift + y * unit

    outline = [(-95, 25), (95, 25), (215, 70), (275, 210), (300, 420), (-300, 420), (-275, 210), (-215, 70)]
    body = np.round(np.array([place(*p) for p in outline]) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [body], 255, cv2.LINE_AA, _SHIFT)
    _disc(mask, place(0, -110), 130 * unit, 255)
    x1, x2 = place(-300, 0)[0], place(300, 0)[0]
    box = (max(0.0, x1), max(0.0, place(0, -265)[1]), min(width, x2), height)
    quad, ink = _chest(spec, place, 0.05 * sin(0.9 * time), unit)
    if image is None:
        return box, quad
    _figure(image, body, place, unit, shirt, skin)
    if ink is not None and quad is not None and spec.jersey is not None:
        x, y, right, bottom = _around(quad, image)
        source = np.array([(0, 0), (ink.shape[1], 0), (ink.shape[1], ink.shape[0]), (0, ink.shape[0])], np.float32)
        homography = cv2.getPerspectiveTransform(source, np.array(quad, np.float32) - np.array([x, y], np.float32))
        flat = cv2.warpPerspective(ink, homography, (right - x, bottom - y), flags=cv2.INTER_AREA)
        stamp(image, np.asarray(flat, np.uint8), x, y, spec.jersey.ink)
    return box, quad


def _figure(image: Image, body: Array, place: Place, unit: float, shirt: Colour, skin: Colour) -> None:
    layer = image.copy()
    cv2.fillPoly(layer, [body.astype(np.int32)], shirt, cv2.LINE_AA, _SHIFT)
    dark = _dimmed(shirt, 0.72)
    for side in (-1, 1):
        seam = [place(side * 120, 30), place(side * 175, 200), place(side * 190, 420)]
        _line(layer, None, seam, 5 * unit, dark)
    neck = np.array([place(-52, -60), place(52, -60), place(72, 40), place(0, 72), place(-72, 40)])
    cv2.fillPoly(layer, [np.round(neck * 2**_SHIFT).astype(np.int32)], _dimmed(skin, 0.85), cv2.LINE_AA, _SHIFT)
    _line(layer, None, [place(-80, 34), place(0, 82), place(80, 34)], 12 * unit, (240, 240, 240))
    for x, y, a, b, colour in (
        (0, -160, 100, 108, (30, 38, 52)),
        (-88, -110, 16, 28, skin),
        (88, -110, 16, 28, skin),
        (0, -112, 86, 112, skin),
        (-34, -128, 15, 8, (245, 245, 245)),
        (34, -128, 15, 8, (245, 245, 245)),
        (-34, -128, 7, 7, (60, 50, 40)),
        (34, -128, 7, 7, (60, 50, 40)),
        (0, -92, 12, 18, _dimmed(skin, 0.9)),
        (0, -52, 28, 7, (95, 95, 160)),
    ):
        centre = tuple(round(v * 2**_SHIFT) for v in place(x, y))
        axes = (round(a * unit * 2**_SHIFT), round(b * unit * 2**_SHIFT))
        cv2.ellipse(layer, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)
    for side in (-1, 1):
        _line(layer, None, [place(side * 18, -147), place(side * 52, -145)], 7 * unit, (30, 38, 52))
    # Light from the left: the far side of the figure is darker.
    x1, x2 = (min(max(round(place(x, 0)[0]), 0), image.shape[1]) for x in (-310, 310))
    y1 = min(max(round(place(0, -275)[1]), 0), image.shape[0])
    ramp = np.linspace(1.1, 0.78, image.shape[1], dtype=np.float32)[None, x1:x2, None]
    figure, behind = layer[y1:, x1:x2], image[y1:, x1:x2]
    drawn = cv2.absdiff(figure, behind).max(axis=2, keepdims=True) > 0
    behind[:] = np.where(drawn, np.minimum(figure * ramp, 255).astype(np.uint8), behind)


def _around(quad: Quad, image: Image) -> tuple[int, int, int, int]:
    """The whole-pixel box x1, y1, x2, y2 of a quad, inside the image."""
    xs, ys = [x for x, _ in quad], [y for _, y in quad]
    x1, y1 = max(0, int(min(xs)) - 1), max(0, int(min(ys)) - 1)
    return x1, y1, min(image.shape[1], int(max(xs)) + 2), min(image.shape[0], int(max(ys)) + 2)


def _chest(spec: BroadcastSpec, place: Place, turn: float, unit: float) -> tuple[Quad | None, Mask | None]:
    if spec.jersey is None:
        return None, None
    ink = lettering(spec.jersey.text, max(16, round(48 * unit)))
    half_width = min(205.0, ink.shape[1] / ink.shape[0] * 22.0)
    half_height = half_width * ink.shape[0] / ink.shape[1]
    left, right = 1 + turn, 1 - turn
    corners = [(-half_width, -half_height * left), (half_width, -half_height * right)]
    corners += [(half_width, half_height * right), (-half_width, half_height * left)]
    a, b, c, d = (place(x, 205 + y) for x, y in corners)
    return (a, b, c, d), ink


def _dimmed(colour: Colour, share: float) -> Colour:
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


def _line(
    image: Image | None, mask: Mask | None, points: list[tuple[float, float]], breadth: float, colour: Colour
) -> None:
    path = np.round(np.array(points) * 2**_SHIFT).astype(np.int32)
    thick = max(1, round(breadth))
    if image is not None:
        cv2.polylines(image, [path], False, colour, thick, cv2.LINE_AA, _SHIFT)
    if mask is not None:
        cv2.polylines(mask, [path], False, 255, thick, cv2.LINE_AA, _SHIFT)


def _disc(canvas: NDArray[np.uint8], centre: tuple[float, float], radius: float, colour: Colour | int) -> None:
    point = tuple(round(v * 2**_SHIFT) for v in centre)
    cv2.circle(canvas, point, max(1, round(radius * 2**_SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def _shade(image: Image, centre: tuple[int, int], axes: tuple[int, int]) -> None:
    x1, y1 = max(0, centre[0] - axes[0]), max(0, centre[1] - axes[1])
    x2, y2 = min(image.shape[1], centre[0] + axes[0] + 1), min(image.shape[0], centre[1] + axes[1] + 1)
    if x2 > x1 and y2 > y1:
        shade = np.zeros((y2 - y1, x2 - x1), np.uint8)
        cv2.ellipse(shade, (centre[0] - x1, centre[1] - y1), axes, 0, 0, 360, 110, -1, cv2.LINE_AA)
        place = image[y1:y2, x1:x2]
        place[:] = (place * (1 - shade[:, :, None] / 255.0)).astype(np.uint8)
