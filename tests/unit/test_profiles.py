"""Profiles and overrides: what is refused, and what a job records."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from touchline.errors import BadInputError
from touchline.profiles import (
    STAGE_NAMES,
    apply_overrides,
    difference,
    load_profile,
    override_text,
    parse_override,
    profile_names,
)


def test_the_shipped_profiles_differ_in_how_often_text_is_searched() -> None:
    assert profile_names() == ["soccer_broadcast", "soccer_fast", "soccer_thorough"]
    fast, standard, thorough = (load_profile(f"soccer_{name}") for name in ("fast", "broadcast", "thorough"))
    assert {stage for stage in STAGE_NAMES if fast.stage(stage) != standard.stage(stage)} == {"run_ocr"}
    assert {stage for stage in STAGE_NAMES if thorough.stage(stage) != standard.stage(stage)} == {"run_ocr"}
    for name in ("search_interval", "strip_interval"):
        assert getattr(fast.run_ocr, name) > getattr(standard.run_ocr, name) > getattr(thorough.run_ocr, name)


def test_the_default_profile_loads_and_knows_every_stage() -> None:
    profile = load_profile()
    assert profile.name == "soccer_broadcast"
    assert len(STAGE_NAMES) == 9


def test_an_override_changes_one_field_and_the_difference_names_it() -> None:
    base = load_profile()
    changed = apply_overrides(base, {"run_ocr.min_confidence": 0.6, "detect_edges.overlays": False})
    assert difference(changed, base) == {"detect_edges": {"overlays": False}, "run_ocr": {"min_confidence": 0.6}}
    assert difference(base, base) == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"run_ocrr.min_confidence": 0.6}, r"--set run_ocrr\.min_confidence: unknown stage 'run_ocrr'"),
        ({"run_ocr.confidence": 0.6}, "no field 'confidence'; it has"),
        ({"run_ocr.min_confidence": 7}, r"--set run_ocr\.min_confidence=7: .*less than or equal to 1"),
        ({"run_ocr.min_confidence": "much"}, "valid number"),
        ({"run_ocr": 1}, "expected stage.field"),
        # Nothing is made into another type on the way.
        ({"run_ocr.min_confidence": "0.6"}, "valid number"),
        ({"run_ocr.min_confidence": True}, "valid number"),
        ({"run_ocr.strips": 1}, "valid boolean"),
        ({"run_ocr.strips": "yes"}, "valid boolean"),
        ({"detect_objects.batch": True}, "valid integer"),
        ({"detect_objects.batch": 8.0}, "valid integer"),
        (
            {"detect_objects.classes": 7},
            r"valid string; quotes make it text, as in detect_objects\.classes=\"'\.\.\.'\"",
        ),
        ({"detect_objects.classes": ["person"]}, "valid string"),
        # What cannot be stored, or would be stored as something else.
        ({"detect_objects.classes": "a\0b"}, "without NUL"),
        ({"detect_objects.device": "\ud800"}, "without NUL characters and lone surrogates"),
        ({"escalate_cloud.max_cost_usd": math.inf}, "finite"),
        ({"run_ocr.min_height": math.nan}, "finite"),
        # In a run's config null is the profile's value.
        ({"escalate_cloud.max_cost_usd": None}, "expected a value, got none; .*profile of your own"),
    ],
)
def test_a_bad_override_is_refused_with_what_would_be_right(override: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        apply_overrides(load_profile(), override)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON)
@example("1e3")
@example("\x85\u2028 \x7f")
@example(1e-05)
def test_what_is_written_as_text_is_read_as_the_very_same(value: Any) -> None:
    read = parse_override("run_ocr.x", override_text(value))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["[", "'", "2026-13-45", "[" * 5000, "9" * 5000, "!!python/name:os.system", "\x00", "a: b: c"]
)
def test_text_that_is_no_value_is_refused_by_the_name_of_the_setting(text: str) -> None:
    with pytest.raises(BadInputError, match=r"--set run_ocr\.min_height=.*: not a value"):
        parse_override("run_ocr.min_height", text)


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInputError, match="soccer_broadcast"):
        load_profile("cricket")


def test_every_field_is_described_with_its_unit() -> None:
    profile = load_profile()
    for stage in STAGE_NAMES:
        for name, field in type(profile.stage(stage)).model_fields.items():
            assert re.search(r"\w.* \[[^\[\]]+\]", field.description or ""), f"{stage}.{name}: {field.description}"
