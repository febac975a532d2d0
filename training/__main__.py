"""`python -m training --out DIR`: render broadcasts, train a nano model on them, try it on broadcasts it has not seen.

Belongs here: the order of work and the training's settings. Where there is a GPU it trains there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import yaml

from touchline.vision.yolo import contained
from training.broadcasts import LABELS, write

ARCHITECTURE: Final = "yolo11n.yaml"
"""The smallest YOLO11: 2.6 million parameters, 5.4 MB. Untrained: ultralytics ships the plan, no weights."""
HELD_OUT: Final = 1_000_000
"""Seeds from here on are never trained on."""
NAME: Final = "synthetic-soccer-yolo11n.pt"


def main() -> None:
    """Renders, trains, evaluates; prints the figures and writes them beside the weights."""
    options = _options()
    out = options.out.resolve()
    out.mkdir(parents=True)
    began = time.perf_counter()
    processes = os.cpu_count() or 1
    write(out / "train", range(options.broadcasts), processes)
    write(out / "held_out", range(HELD_OUT, HELD_OUT + options.held_out), processes)
    rendered = time.perf_counter()
    trained = train(out, minutes=options.minutes, image_size=options.image_size, device=options.device)
    found: dict[str, Any] = {
        "broadcasts": options.broadcasts,
        "image_size": options.image_size,
        "render_s": round(rendered - began),
        "train_s": round(time.perf_counter() - rendered),
        "epochs": trained,
        "megabytes": round((out / NAME).stat().st_size / 1e6, 2),
        "sha256": hashlib.sha256((out / NAME).read_bytes()).hexdigest(),
        "held_out": evaluate(out, image_size=options.image_size, device=options.device),
    }
    (out / "figures.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def train(out: Path, *, minutes: float, image_size: int, device: str) -> int:
    """Train from nothing on `out/train` for so long; leaves `out/NAME`. Returns the number of epochs."""
    with contained():
        from ultralytics import YOLO  # type: ignore[attr-defined]
    network = YOLO(ARCHITECTURE, task="detect")
    network.train(
        data=str(_data(out)), time=minutes / 60, imgsz=image_size, batch=8, nbs=8, device=device, workers=0, seed=0,
        project=str(out), name="run", exist_ok=True, cache="ram", pretrained=False, amp=False, val=False, plots=False,
        verbose=False, close_mosaic=2, warmup_epochs=1, scale=0.6, degrees=4.0, perspective=0.0003,
        hsv_h=0.03, hsv_s=0.8, hsv_v=0.5,
    )  # fmt: skip
    (out / "run" / "weights" / "last.pt").replace(out / NAME)
    return len((out / "run" / "results.csv").read_text().splitlines()) - 1


def evaluate(out: Path, *, image_size: int, device: str) -> dict[str, Any]:
    """Precision, recall and mean average precision of each label on `out/held_out`."""
    with contained():
        from ultralytics import YOLO  # type: ignore[attr-defined]
    result = YOLO(str(out / NAME)).val(
        data=str(_data(out)), imgsz=image_size, device=device, workers=0, plots=False, verbose=False,
        project=str(out), name="held_out_run", exist_ok=True,
    )  # fmt: skip
    figures = {}
    for place, label in enumerate(result.box.ap_class_index):
        precision, recall, half, average = result.box.class_result(place)
        figures[LABELS[int(label)]] = {
            "precision": round(float(precision), 3),
            "recall": round(float(recall), 3),
            "map50": round(float(half), 3),
            "map50_95": round(float(average), 3),
        }
    return figures


def _data(out: Path) -> Path:
    path = out / "data.yaml"
    names = dict(enumerate(LABELS))
    path.write_text(yaml.safe_dump({"path": str(out), "train": "train", "val": "held_out", "names": names}))
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make, for pictures, weights and figures")
    parser.add_argument("--broadcasts", type=int, default=400, help="broadcasts to train on, six pictures each")
    parser.add_argument("--held-out", type=int, default=40, help="broadcasts to try the model on")
    parser.add_argument("--minutes", type=float, default=90.0, help="time to train")
    parser.add_argument("--image-size", type=int, default=416, help="side at which pictures are searched [pixels]")
    parser.add_argument("--device", default="cpu", help="torch's name of the device: cpu, cuda:0, mps")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"--out {options.out}: is there already; name a folder that is not")
    return options


if __name__ == "__main__":
    main()
