"""The dataset that object detectors are trained on: drawn by lot, the same for a seed, labelled where things are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.__main__ import HELD_OUT
from training.broadcasts import FRAMES, LABELS, SHAPES, broadcast, label_lines, pictures, write


@pytest.mark.parametrize("seed", [3, HELD_OUT + 8])
def test_a_seed_draws_one_broadcast_with_its_labels_inside_the_pictures(seed: int) -> None:
    first, again = list(pictures(seed)), list(pictures(seed))
    assert len(first) == FRAMES
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert one.objects == other.objects
        height, width = one.image.shape[:2]
        assert (width, height) in SHAPES
        for label, (x1, y1, x2, y2) in one.objects:
            assert 0 <= label < len(LABELS)
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    assert {LABELS[label] for picture in first for label, _ in picture.objects} >= {"player", "scorebug"}


def test_broadcasts_differ() -> None:
    specs = [broadcast(seed) for seed in range(40)]
    assert len({(spec.shots, spec.shirts, spec.led) for spec in specs}) == 40
    assert len({(spec.width, spec.height) for spec in specs}) > 1
    assert {len(spec.shots) for spec in specs} == {1, 2}


def test_a_player_is_where_its_label_says(tmp_path: Path) -> None:
    write(tmp_path / "set", range(5, 6), processes=1)
    images = sorted((tmp_path / "set" / "images").iterdir())
    assert len(images) == FRAMES
    for image, picture in zip(images, pictures(5), strict=True):
        read = cv2.imread(str(image))
        assert read is not None
        height, width = read.shape[:2]
        assert (height, width) == picture.image.shape[:2]
        written = (tmp_path / "set" / "labels" / f"{image.stem}.txt").read_text()
        assert written == label_lines(picture.objects, width, height)
        for (label, (x1, y1, x2, y2)), line in zip(picture.objects, written.splitlines(), strict=True):
            number, x, y, w, h = line.split()
            assert int(number) == label
            assert float(x) * width == pytest.approx((x1 + x2) / 2, abs=0.1)
            assert float(y) * height == pytest.approx((y1 + y2) / 2, abs=0.1)
            assert (float(w) * width, float(h) * height) == pytest.approx((x2 - x1, y2 - y1), abs=0.1)
