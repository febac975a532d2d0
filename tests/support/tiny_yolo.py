"""Trains a small YOLO model on players of the synthetic broadcast, in seconds, on the CPU.

Belongs here: what tests need to load, run and map a real model where no weights can be fetched. The model knows
nothing but these drawn players.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import yaml

from touchline.synthetic import CLIP, Broadcast, Rendered, Shot
from touchline.values import Box
from touchline.vision.yolo import contained
from training.broadcasts import label_lines

SIDE = 256
"""Side at which the model is trained and should be asked to search [pixels]."""

ARCHITECTURE = {
    "nc": 1,
    "reg_max": 6,
    "backbone": [
        [-1, 1, "Conv", [12, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "C2f", [24, True]],
        [-1, 1, "Conv", [48, 3, 2]],
        [-1, 2, "C2f", [48, True]],
    ],
    "head": [[[4], 1, "Detect", ["nc"]]],
}
"""One scale of 8 pixels is enough for figures of 15 to 30 pixels, and trains in a quarter of the time of three."""


def pictures(seed: int, count: int) -> Iterator[Rendered]:
    """Frames of wide shots of a match that `seed` makes: 640 x 360, with the boxes of the players in them."""
    spec = replace(
        CLIP,
        seed=seed,
        duration_s=count / CLIP.fps * 6,
        shots=(Shot(0.0, "wide", pan=(-12.0, 12.0), tilt=(9.8, 11.5), focal=(4.2, 4.6)),),
    )
    broadcast = Broadcast(spec)
    for index in range(count):
        yield broadcast.frame(index * 6)


def figures(frame: Rendered) -> list[Box]:
    """The players that are not cut off to a sliver by the picture's edge."""
    return [box for box in frame.players if box[2] - box[0] >= 18 and box[3] - box[1] >= 30]


def train(folder: Path, *, seeds: tuple[int, ...] = (1, 2, 3, 4), count: int = 24, epochs: int = 8) -> Path:
    """Train on `count` pictures of each seed; returns the .pt file, in `folder`, where everything is written."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for seed in seeds:
        for frame in pictures(seed, count):
            height, width = frame.image.shape[:2]
            cv2.imwrite(str(folder / "images" / f"{seed}-{frame.index:04d}.jpg"), frame.image)
            (folder / "labels" / f"{seed}-{frame.index:04d}.txt").write_text(
                label_lines(((0, box) for box in figures(frame)), width, height)
            )
    data, model = folder / "data.yaml", folder / "tiny.yaml"
    data.write_text(yaml.safe_dump({"path": str(folder), "train": "images", "val": "images", "names": {0: "player"}}))
    model.write_text(yaml.safe_dump(ARCHITECTURE))
    with contained():
        from ultralytics import YOLO  # type: ignore[attr-defined]
    network = YOLO(str(model), task="detect")
    network.train(
        data=str(data), epochs=epochs, imgsz=SIDE, batch=6, nbs=6, rect=True, cache="ram", seed=0,
        project=str(folder), name="run", exist_ok=True, device="cpu", workers=0, deterministic=False,
        pretrained=False, amp=False, val=False, plots=False, verbose=False,
        optimizer="AdamW", lr0=0.006, warmup_epochs=0.5, mosaic=0.0, translate=0.1, scale=0.2, erasing=0.0,
    )  # fmt: skip
    return folder / "run" / "weights" / "last.pt"
