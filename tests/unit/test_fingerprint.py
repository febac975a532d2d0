"""The fingerprint of an output: every setting that can change it is in it, and none that cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from touchline.config import StageConfig
from touchline.fingerprint import Staleness, fingerprint_of
from touchline.profiles import STAGE_NAMES, Profile, load_profile

CONFIGURATION = (Path(__file__).resolve().parents[2] / "docs/configuration.md").read_text("utf-8")
OPERATIONAL = {f"detect_objects.{name}" for name in ("download", "device", "batch", "required")}
FIELDS = [(stage, name) for stage in STAGE_NAMES for name in type(load_profile().stage(stage)).model_fields]


def fingerprint(stage: str, config: StageConfig) -> str:
    return fingerprint_of(stage, "1", config, ["upstream"], "model")


def another(config: StageConfig, name: str) -> StageConfig:
    """The settings with another valid value of one field."""
    kind, value = type(config).model_fields[name].annotation, getattr(config, name)
    others: list[Any] = [not value] if isinstance(value, bool) else ["another", "ab" * 32, 7, 0.3, 90, 1.0, 5000]
    if get_origin(kind) is Literal:
        others = list(get_args(kind))
    for other in others:
        try:
            changed = type(config).model_validate({**config.model_dump(), name: other})
        except ValidationError:
            continue
        if getattr(changed, name) != value:
            return changed
    raise AssertionError(f"no other value of {name} is tried here")


@pytest.mark.parametrize(("stage", "name"), FIELDS)
def test_a_field_changes_the_fingerprint_unless_it_is_operational(stage: str, name: str) -> None:
    config = load_profile().stage(stage)
    same = fingerprint(stage, another(config, name)) == fingerprint(stage, config)
    assert same == (f"{stage}.{name}" in OPERATIONAL)


@given(
    download=st.booleans(),
    device=st.text(max_size=8),
    batch=st.integers(1, 128),
    required=st.booleans(),
    confidence=st.sampled_from([0.3, 0.4]),
)
def test_operational_fields_change_nothing_whatever_else_is_set(confidence: float, **operational: Any) -> None:
    plain = Profile().detect_objects.model_copy(update={"confidence": confidence})
    assert fingerprint("detect_objects", plain.model_copy(update=operational)) == fingerprint("detect_objects", plain)


def test_the_docs_name_the_operational_settings() -> None:
    found = re.search(r"no part of a fingerprint:\s(.*?)\.\s", CONFIGURATION, re.DOTALL)
    assert found and set(re.findall(r"`([a-z_.]+)`", found[1])) == OPERATIONAL


def reasons(snapshot: dict[str, Any], made_with: StageConfig) -> list[str]:
    """Why a checkpoint of `detect_objects` is stale that was made with those settings."""
    return Staleness({"detect_objects": "1"}, lambda stage, config: "model").reasons(
        stage="detect_objects",
        fingerprint=fingerprint("detect_objects", made_with),
        profile_name="soccer_broadcast",
        config_snapshot=snapshot,
        config_overrides={},
        upstream={"filter_scenes": "upstream"},
        newest={"filter_scenes": "upstream"},
        checksum="c",
    )


def test_a_checkpoint_made_on_another_device_is_not_stale() -> None:
    config = load_profile().detect_objects
    elsewhere = config.model_copy(update={"device": "cuda:0", "batch": 64, "download": False, "required": True})
    assert reasons(elsewhere.model_dump(mode="json"), elsewhere) == []
    surer = config.model_copy(update={"confidence": 0.5})
    assert reasons(surer.model_dump(mode="json"), surer) == ["detect_objects.confidence: 0.5, the profile says 0.3"]
