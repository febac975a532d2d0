"""The code that a stage leans on changes its digest, and a changed digest asks for a decision about VERSION."""

from __future__ import annotations

import json

import pytest

from tests.support import stage_digests
from tests.support.stage_digests import RECORDED, STAGES, code_of, fault, meaning

MODULE = '''
"""A module."""
from pydantic import Field

LIMIT = 0.5
"""Where it ends."""

class Config:
    """Settings."""
    share: float = Field(0.5, ge=0, description="A share [0-1]")

def kept(value):
    """Whether it is."""
    # A comment.
    if value is None:
        raise ValueError(f"expected a number, got {value!r}")
    return value > LIMIT
'''


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_the_code_that_is_recorded(stage: str) -> None:
    if found := fault(stage, json.loads(RECORDED.read_text("utf-8"))):
        pytest.fail(found, pytrace=False)


def test_every_stage_is_recorded_and_no_other() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))
    assert set(recorded["stages"]) == set(STAGES)
    assert len(STAGES) == 9


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module.", "Another sentence."),
        ("Where it ends.", "The upper end."),
        ("Settings.", "What is set."),
        ("Whether it is.", "True if it is."),
        ("# A comment.", "# Another\n    # comment."),
        ("A share [0-1]", "Share that is kept [0-1]"),
        ("expected a number, got {value!r}", "a number is expected"),
        ("LIMIT = 0.5", "LIMIT = (\n    0.5\n)"),
        ('"""Whether it is."""', ""),
    ],
)
def test_words_and_layout_change_no_digest(old: str, new: str) -> None:
    assert MODULE.count(old) == 1
    assert meaning(MODULE.replace(old, new)) == meaning(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 0.5", "LIMIT = 0.6"),
        ("LIMIT = 0.5", "LIMIT = '0.5'"),
        ("value > LIMIT", "value >= LIMIT"),
        ("Field(0.5, ge=0", "Field(0.6, ge=0"),
        ("Field(0.5, ge=0", "Field(0.5, gt=0"),
        ("value is None", "value is 0"),
        ("raise ValueError", "raise KeyError"),
        ("return value > LIMIT", "return None"),
    ],
)
def test_what_can_change_an_output_changes_the_digest(old: str, new: str) -> None:
    assert MODULE.count(old) == 1
    assert meaning(MODULE.replace(old, new)) != meaning(MODULE)


def test_a_stage_leans_on_what_it_imports_however_far_and_on_pinned_libraries() -> None:
    parts = code_of("run_ocr").parts
    # Through the engine, which is imported when it is asked for.
    assert {"touchline.stages.run_ocr", "touchline.ocr.lines", "touchline.ocr.pp_ocr", "touchline.geometry"} <= set(
        parts
    )
    assert parts["onnxruntime"].startswith("onnxruntime==") and parts["cv2"].startswith("opencv-python==")
    assert not [name for name in parts if name.startswith(("touchline.library", "touchline.report"))]


def test_a_stage_leans_on_what_it_loads_by_a_group_of_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stage_digests, "_doors", lambda: {"filter_scenes": {"extra": "touchline.vision.pitch:find_pitch"}}
    )
    # The group's name stands in the module of that stage as a text.
    monkeypatch.setattr(
        stage_digests, "_texts", lambda module: {"filter_scenes"} if "filter_scenes" in module else set()
    )
    assert "touchline.vision.pitch" in code_of("filter_scenes").parts


def test_the_fault_names_what_changed_and_both_things_to_do() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))
    stage = recorded["stages"]["run_ocr"]
    recorded["parts"]["touchline.ocr.lines"], stage["digest"] = "0" * 16, "0" * 16
    text = fault("run_ocr", recorded)
    assert "touchline.ocr.lines changed" in text
    assert "raise VERSION in touchline/stages/run_ocr.py" in text and "make stage-digests" in text
    stage["version"] = "another"
    text = fault("run_ocr", recorded)
    assert "raise VERSION" not in text and "make stage-digests" in text
