"""Pictures of what was found: labels that can be read, few bytes for the event log, and no stage stopped by one."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np

from detection_assets.definitions import build_defs
from detection_assets.execution.registry import limits
from detection_assets.metadata.labels import COLOURS, _spot, annotated
from detection_assets.metadata.materialization import numbers
from detection_assets.metadata.pictures import MAX_BYTES, findings
from touchline.errors import CheckpointError
from touchline.geometry import box_quad
from touchline.profiles import load_profile
from touchline.values import BrandDetection, Image, Reading, Zone


def noise(_sequence: int = 0) -> Image:
    return np.random.default_rng(1).integers(0, 255, (720, 1280, 3), np.uint8)


def reading(n: int, text: str, zone: Zone = "board") -> Reading:
    quad = box_quad((40 + n * 20, 100 + n * 8, 240 + n * 20, 130 + n * 8))
    return Reading(3, 1.5, 0, n, text, 0.9, quad, zone, "frame", 1.0, 30.0)


def shown(metadata: object) -> tuple[bytes, Image]:
    found = re.search(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", str(getattr(metadata, "value", "")))
    assert found
    data = base64.b64decode(found[1])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return data, picture.astype(np.uint8)


def test_a_picture_is_wide_enough_to_read_and_small_enough_to_keep() -> None:
    found = findings("run_ocr", [reading(n, f"BRAND {n}") for n in range(40)], noise)
    data, picture = shown(found["picture"])
    assert len(data) <= MAX_BYTES
    assert picture.shape[1] >= 700, "even of noise, which nothing compresses"


def test_numbers_and_overlays_do_not_hide_what_was_found() -> None:
    documents = [reading(n, text) for n, text in enumerate(["0-0"] * 9 + ["NIKE"])]
    documents += [reading(20 + n, "INT", "overlay") for n in range(9)]
    found = findings("run_ocr", documents, noise)
    assert "NIKE" in found["found"].value and "INT" not in found["found"].value
    assert "INT" in found["overlays_and_numbers"].value and "0-0" in found["overlays_and_numbers"].value


def test_matching_shows_its_brands_and_escalation_only_what_it_added() -> None:
    quad = box_quad((40.0, 100.0, 240.0, 130.0))
    brand = BrandDetection(3, 1.5, 0, 1, "id", "Nike", "ocr", "NIKE", 0.9, quad, "board", 1.0, 1.0)
    assert "picture" in findings("match_brands", [brand], noise)
    assert findings("escalate_vlm", [brand], noise) == {}


def test_a_frame_that_cannot_be_read_is_said_instead_of_its_picture() -> None:
    def damaged(sequence: int) -> Image:
        raise CheckpointError(f"frame {sequence} is damaged")

    found = findings("run_ocr", [reading(0, "NIKE")], damaged)
    assert "damaged" in found["picture"].value
    assert "NIKE" in found["found"].value


def test_no_label_covers_another() -> None:
    taken: list[tuple[int, int, int, int]] = []
    for n in range(30):
        spot = _spot((100 + n, 100 + n, 160 + n, 112 + n), (120, 18), 640, 360, taken, [])
        if spot is None:
            break
        assert all(spot[2] <= t[0] or t[2] <= spot[0] or spot[3] <= t[1] or t[3] <= spot[1] for t in taken)
        taken.append(spot)
    assert 4 <= len(taken) < 30
    assert annotated(noise(), [(box_quad((0, 0, 50, 20)), "È", COLOURS["board"])], width=640).shape == (360, 640, 3)


def test_every_number_can_be_plotted() -> None:
    found = numbers({"kept": 3, "wall_s": 1.5, "is_image": False, "codec": "h264", "blur": float("nan")})
    assert {name: value.value for name, value in found.items()} == {"kept": 3, "wall_s": 1.5}
    assert numbers({"objects": {"player": 3, "ball": 1}})["objects"].value == 4


def test_the_launchpad_names_bounds_and_ends_its_sentences() -> None:
    schema = build_defs().get_assets_def("run_ocr").op.config_schema
    text = str(schema.as_field().config_type.fields["min_confidence"].description)  # type: ignore[attr-defined]
    assert "From 0 to 1. Profile's default: 0.4." in text
    fields = type(load_profile().extract_frames).model_fields
    assert limits(fields["sample_fps"]) == "Above 0 to 60"
    assert limits(type(load_profile().detect_edges).model_fields["overlays"]) == ""
