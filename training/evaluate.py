"""`python -m training.evaluate WEIGHTS --footage DIR`: what weights bring to runs on real footage, and what they cost.

Belongs here: runs with and without the weights, the share of brands whose zone is right, and pictures to look at. The
figures on held-out broadcasts are made by `python -m training`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.__main__ import servers
from benchmarks.clips import Clip, Material, footage
from benchmarks.pipeline import Measured, run
from benchmarks.scoring import score, total
from detection_assets.dagster_internals.silence import silence_dagster
from detection_assets.local.runner import Runner
from touchline.values import Image
from touchline.vision.yolo import YoloDetector

ZONES: Final = {"board": "board", "jersey": "jersey", "scorebug": "overlay", "other": "other"}
"""The zone that a truth's place is, if told right."""
COLOURS: Final = {"player": (0, 0, 255), "board": (255, 255, 0), "scorebug": (0, 255, 255)}


def main() -> None:
    """Measures, draws and prints."""
    options = _options()
    silence_dagster()
    weights = options.weights.resolve()
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    material = footage(options.footage)
    named = {
        "detect_objects.weights": str(weights),
        "detect_objects.weights_sha256": sha256,
        "detect_objects.image_size": options.image_size,
        "detect_objects.frame_stride": options.every,
    }
    if options.pictures:
        detector = YoloDetector(weights, sha256, image_size=options.image_size, confidence=0.3)
        draw(detector, material.clips, options.pictures)
    with tempfile.TemporaryDirectory(prefix="touchline-training-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with servers(folder / "home") as runner:
            run(runner, material.clips[0], material.brands_csv, named)  # loads the models
            found = {
                "without": measure(runner, material, {}),
                "with": measure(runner, material, named),
            }
    print(json.dumps(found, indent=2))


def measure(runner: Runner, material: Material, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Scores, the share of rightly found brands whose zone is right, and seconds."""
    runs = [(clip, run(runner, clip, material.brands_csv, overrides)) for clip in material.clips]
    scores = total(score(clip.truth, measured.found, measured.duration_s) for clip, measured in runs)
    right = [zone_right for clip, measured in runs for zone_right in _zones_right(clip, measured)]
    return {
        "precision": round(scores.precision, 3),
        "recall": round(scores.recall, 3),
        "f1": round(scores.f1, 3),
        "brands_found": scores.brands_found,
        "zones_right": f"{sum(right)} of {len(right)}",
        "wall_s": round(sum(measured.wall_s for _, measured in runs), 1),
        "detect_objects_s": round(sum(measured.stages["detect_objects"] for _, measured in runs), 1),
    }


def draw(detector: YoloDetector, clips: Sequence[Clip], folder: Path) -> None:
    """Writes a PNG of each clip's middle, with the boxes that the detector draws and how sure it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        image = _middle(clip.path)
        for found in detector.detect([image])[0]:
            x1, y1, x2, y2 = (round(v) for v in found.box)
            colour = COLOURS.get(found.label, (255, 255, 255))
            cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
            cv2.putText(image, f"{found.label} {found.confidence:.2f}", (x1, y1 - 3), 0, 0.4, colour, 1, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{clip.path.stem}.png"), image)


def _middle(path: Path) -> Image:
    """The picture, or the frame in the middle of a video (BGR)."""
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // 2)
    read, image = video.read()
    if not read:
        raise OSError(f"{path}: no frame could be read from its middle")
    return np.asarray(image, np.uint8)


def _zones_right(clip: Clip, measured: Measured) -> list[bool]:
    """For each brand of the truth that was reported, whether most of its time was reported in the zone where it is."""
    right = []
    for brand in clip.truth["brands"]:
        zones = measured.zones.get(brand["name"])
        if zones:
            right.append(max(zones, key=lambda zone: zones[zone]) == ZONES.get(brand.get("where", "other"), "other"))
    return right


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", type=Path, help=".pt file")
    parser.add_argument("--footage", type=Path, required=True, help="folder with clips, truth/*.json and brands.csv")
    parser.add_argument("--image-size", type=int, default=640, help="side at which pictures are searched [pixels]")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th kept frame of a shot [frames]")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each clip with what was detected")
    return parser.parse_args()


if __name__ == "__main__":
    main()
