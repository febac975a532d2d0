"""What a processor's instructions choose inside the libraries changes nothing that is written."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import determinism
from touchline.synthetic import Truth
from touchline.vision.motion import similarity

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="the switches are those of x86")
def test_libraries_held_to_the_instructions_of_an_older_processor_write_the_same_bytes(
    clip: tuple[Path, Truth],
) -> None:
    [row] = determinism.measure([clip[0]], None, only=[determinism.OLDER]).values()
    assert (row["same"], row["clips"], row["first"]) == (1, 1, "")


@pytest.mark.parametrize("module", ["touchline.video.opening", "touchline_cli.app"])
def test_intels_routines_inside_opencv_are_the_same_on_every_processor(module: str) -> None:
    # Where OpenCV comes without them there is nothing to choose.
    probe = f"import {module}, cv2; print(cv2.ipp.getIppVersion() if cv2.ipp.useIPP() else 'SSE4.2 or none')"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "SSE4.2" in done.stdout


def test_a_similarity_is_recovered_and_its_bits_do_not_depend_on_the_order_of_the_points() -> None:
    rng = np.random.default_rng(5)
    before = rng.uniform(0, 640, (120, 2)).astype(np.float32)
    turn, zoom = np.deg2rad(1.5), 1.02
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    exact = before @ linear.T + (13.25, -4.5)
    found = similarity(before, exact.astype(np.float32))
    assert np.abs(found - np.column_stack([linear, (13.25, -4.5)])).max() < 1e-4
    noisy = (exact + rng.normal(0, 0.4, exact.shape)).astype(np.float32)
    found = similarity(before, noisy)
    # The same least squares by a general solver.
    (x, y), one, zero = before.T.astype(float), np.ones(120), np.zeros(120)
    system = np.vstack([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    a, b, tx, ty = np.linalg.lstsq(system, np.concatenate([noisy[:, 0], noisy[:, 1]]), rcond=None)[0]
    assert found == pytest.approx(np.array([[a, -b, tx], [b, a, ty]]), abs=1e-6)
    order = rng.permutation(120)
    assert similarity(before[order], noisy[order]).tobytes() == found.tobytes()
