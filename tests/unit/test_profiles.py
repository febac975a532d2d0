"""Profiles and overrides: what is refused, and what a job records."""

from __future__ import annotations

import pytest

from touchline.errors import BadInputError
from touchline.profiles import STAGE_NAMES, apply_overrides, difference, load_profile, profile_names


def test_the_shipped_profile_loads_and_knows_every_stage() -> None:
    assert profile_names() == ["soccer_broadcast"]
    profile = load_profile()
    assert profile.name == "soccer_broadcast"
    assert len(STAGE_NAMES) == 9


def test_an_override_changes_one_field_and_the_difference_names_it() -> None:
    base = load_profile()
    changed = apply_overrides(base, {"run_ocr.min_confidence": "0.6", "detect_edges.overlays": "false"})
    assert difference(changed, base) == {"detect_edges": {"overlays": False}, "run_ocr": {"min_confidence": 0.6}}
    assert difference(base, base) == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"run_ocrr.min_confidence": "0.6"}, "unknown stage 'run_ocrr'"),
        ({"run_ocr.confidence": "0.6"}, "no field 'confidence'; it has"),
        ({"run_ocr.min_confidence": "7"}, "less than or equal to 1"),
        ({"run_ocr.min_confidence": "much"}, "valid number"),
        ({"run_ocr": "1"}, "expected stage.field"),
    ],
)
def test_a_bad_override_is_refused_with_what_would_be_right(override: dict[str, str], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        apply_overrides(load_profile(), override)


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInputError, match="soccer_broadcast"):
        load_profile("cricket")


def test_every_field_is_described_with_its_unit() -> None:
    profile = load_profile()
    for stage in STAGE_NAMES:
        for name, field in type(profile.stage(stage)).model_fields.items():
            assert field.description, f"{stage}.{name} has no description"
