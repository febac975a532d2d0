"""Synthetic broadcasts in great variety, as a dataset that ultralytics reads.

Belongs here: drawing lots for a broadcast's specification, wearing its pictures down as cameras and encoders do, and
writing pictures with their labels. Training is in `__main__`.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np

from touchline.geometry import bounds
from touchline.synthetic import Broadcast, BroadcastSpec, LedSlot, Message, Rendered, Shot
from touchline.synthetic.spec import Colour
from touchline.values import Box, Image

LABELS: Final = ("player", "board", "scorebug")
"""What is told apart. A board is one panel of a row; the channel's mark counts as a score bug."""
SHAPES: Final = ((640, 360), (854, 480), (960, 540), (640, 480))
"""Sizes that broadcasts are rendered in [pixels]."""
FRAMES: Final = 6
"""Frames taken from one broadcast, a second apart."""
_SMALLEST: Final = (5.0, 8.0)
"""Objects narrower or lower than this are not labelled [pixels]: nobody could point at them."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture (BGR, uint8) and what is in it: index into LABELS, and box in its pixels."""

    image: Image
    objects: tuple[tuple[int, Box], ...]


def broadcast(seed: int) -> BroadcastSpec:
    """The broadcast that `seed` draws: where the camera looks, sponsors, kits, overlays."""
    rng = np.random.default_rng(seed)
    width, height = SHAPES[int(rng.integers(len(SHAPES)))]
    close = rng.random() < 0.2
    focal = float(rng.uniform(1.6, 6.0))
    pan = float(rng.uniform(-24, 24))
    tilt = float(rng.uniform(8.6, 13.5))
    shot = Shot(
        0.0,
        "wide",
        pan=(pan, pan + float(rng.uniform(-8, 8))),
        tilt=(tilt, tilt + float(rng.uniform(-0.8, 0.8))),
        focal=(focal, focal * float(rng.uniform(0.85, 1.2))),
    )
    shots = (shot, Shot(FRAMES - 2.0, "close")) if close else (shot,)
    return BroadcastSpec(
        width=width,
        height=height,
        fps=25,
        duration_s=float(FRAMES),
        shots=shots,
        led=tuple(
            LedSlot(start, tuple(_message(rng) for _ in range(int(rng.integers(1, 5))))) for start in (0.0, FRAMES / 2)
        ),
        painted=tuple(_message(rng) for _ in range(int(rng.integers(0, 4)))),
        jersey=_message(rng) if rng.random() < 0.8 else None,
        teams=(_word(rng, 3), _word(rng, 3)),
        shirts=(_colour(rng), _colour(rng)),
        score=(int(rng.integers(6)), int(rng.integers(6))),
        clock_s=int(rng.integers(5700)),
        channel=_word(rng, int(rng.integers(2, 6))),
        overlay_sponsor=_message(rng) if rng.random() < 0.3 else None,
        players=int(rng.integers(8, 26)),
        motion_blur=bool(rng.random() < 0.8),
        grain=float(rng.uniform(0, 5)),
        seed=seed,
    )


def pictures(seed: int) -> Iterator[Labelled]:
    """The FRAMES pictures of the broadcast that `seed` draws, worn down."""
    spec, rng = broadcast(seed), np.random.default_rng((seed, 1))
    drawn = Broadcast(spec)
    look = _Look(rng)
    for second in range(FRAMES):
        frame = drawn.frame(second * spec.fps)
        yield Labelled(look.worn(frame.image, rng), tuple(_objects(frame)))


def write(folder: Path, seeds: range, processes: int) -> None:
    """Write `images/*.jpg` and `labels/*.txt` of these broadcasts into a folder, which is made."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(partial(_write, folder), seeds):
            pass


def _write(folder: Path, seed: int) -> None:
    cv2.setNumThreads(1)
    for index, picture in enumerate(pictures(seed)):
        height, width = picture.image.shape[:2]
        name = f"{seed:06d}-{index}"
        path = folder / "images" / f"{name}.jpg"
        if not cv2.imwrite(str(path), picture.image, [cv2.IMWRITE_JPEG_QUALITY, 90]):
            raise OSError(f"{path} could not be written; is the disk full?")
        (folder / "labels" / f"{name}.txt").write_text(label_lines(picture.objects, width, height))


def label_lines(objects: Iterable[tuple[int, Box]], width: int, height: int) -> str:
    """The labels of a picture of that size as ultralytics reads them: class, then centre and size as shares of it."""
    return "".join(
        f"{label} {(x1 + x2) / 2 / width:.5f} {(y1 + y2) / 2 / height:.5f} "
        f"{(x2 - x1) / width:.5f} {(y2 - y1) / height:.5f}\n"
        for label, (x1, y1, x2, y2) in objects
    )


def _objects(frame: Rendered) -> Iterator[tuple[int, Box]]:
    height, width = frame.image.shape[:2]
    boxes = [(0, box) for box in frame.players]
    boxes += [(1, bounds(panel.quad)) for panel in frame.panels]
    boxes += [(2, box) for box in frame.overlays]
    for label, (x1, y1, x2, y2) in boxes:
        box = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
        if box[2] - box[0] >= _SMALLEST[0] and box[3] - box[1] >= _SMALLEST[1]:
            yield label, box


class _Look:
    """The look of one broadcast: colours of its grass and its cameras, haze, sharpness, and the encoder's quality."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._grass = (float(rng.uniform(-14, 10)), float(rng.uniform(0.5, 1.5)), float(rng.uniform(0.55, 1.5)))
        self._gains = rng.uniform(0.85, 1.15, 3)
        self._gamma = float(rng.uniform(0.6, 1.6))
        self._haze = float(rng.uniform(0, 0.25)) if rng.random() < 0.4 else 0.0
        self._scale = float(rng.uniform(0.45, 1.0)) if rng.random() < 0.5 else 1.0
        self._blur = float(rng.uniform(0.3, 1.3)) if rng.random() < 0.4 else 0.0
        self._quality = int(rng.integers(25, 90))

    def worn(self, image: Image, rng: np.random.Generator) -> Image:
        """A picture as this broadcast would send it."""
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
        green = (hsv[..., 0] > 30) & (hsv[..., 0] < 75) & (hsv[..., 1] > 60)
        shift, saturation, value = self._grass
        for channel, changed in ((0, hsv[..., 0] + shift), (1, hsv[..., 1] * saturation), (2, hsv[..., 2] * value)):
            hsv[..., channel] = np.where(green, changed, hsv[..., channel])
        seen = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR).astype(np.float32) / 255
        seen = np.clip(seen * self._gains, 0, 1) ** self._gamma
        seen = seen * (1 - self._haze) + self._haze * 0.8
        worn = (seen * 255).astype(np.uint8)
        height, width = worn.shape[:2]
        if self._blur:
            worn = cv2.GaussianBlur(worn, (0, 0), self._blur).astype(np.uint8)
        small = (round(width * self._scale), round(height * self._scale))
        worn = cv2.resize(worn, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        quality = int(np.clip(self._quality + rng.integers(-8, 9), 15, 95))
        coded = cv2.imencode(".jpg", worn, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        sent = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert sent is not None
        return cast(Image, cv2.resize(sent, (width, height), interpolation=cv2.INTER_CUBIC))


def _message(rng: np.random.Generator) -> Message:
    ground = _colour(rng)
    ink = (250, 250, 250) if sum(ground) < 380 else (25, 25, 25)
    words = [_word(rng, int(rng.integers(3, 10))) for _ in range(int(rng.integers(1, 4)))]
    return Message(" ".join(words), "", ink, ground)


def _word(rng: np.random.Generator, length: int) -> str:
    letters = string.ascii_uppercase if rng.random() < 0.6 else string.ascii_lowercase
    return "".join(rng.choice(list(letters), length))


def _colour(rng: np.random.Generator) -> Colour:
    blue, green, red = (int(v) for v in rng.integers(10, 250, 3))
    return blue, green, red
