"""Profiles: the settings of all stages for one kind of broadcast, under a name.

Belongs here: loading the YAML files beside this module, and overriding single fields. The fields themselves, with
their meaning and bounds, stand at the top of each stage in `touchline/stages/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from touchline.config import StageConfig
from touchline.errors import BadInputError
from touchline.stages.brand_report import BrandReportConfig
from touchline.stages.detect_edges import DetectEdgesConfig
from touchline.stages.detect_objects import DetectObjectsConfig
from touchline.stages.escalate_cloud import EscalateCloudConfig
from touchline.stages.escalate_vlm import EscalateVlmConfig
from touchline.stages.extract_frames import ExtractFramesConfig
from touchline.stages.filter_scenes import FilterScenesConfig
from touchline.stages.match_brands import MatchBrandsConfig
from touchline.stages.run_ocr import RunOcrConfig

DEFAULT_PROFILE: Final = "soccer_broadcast"


class Profile(StageConfig):
    """One set of settings for the whole pipeline."""

    name: str = Field(default=DEFAULT_PROFILE, description="Name of the profile")
    description: str = Field(default="", description="What kind of broadcast it is for")
    extract_frames: ExtractFramesConfig = ExtractFramesConfig()
    filter_scenes: FilterScenesConfig = FilterScenesConfig()
    detect_edges: DetectEdgesConfig = DetectEdgesConfig()
    detect_objects: DetectObjectsConfig = DetectObjectsConfig()
    run_ocr: RunOcrConfig = RunOcrConfig()
    match_brands: MatchBrandsConfig = MatchBrandsConfig()
    escalate_vlm: EscalateVlmConfig = EscalateVlmConfig()
    escalate_cloud: EscalateCloudConfig = EscalateCloudConfig()
    brand_report: BrandReportConfig = BrandReportConfig()

    def stage(self, name: str) -> StageConfig:
        """The settings of one stage."""
        found = getattr(self, name)
        assert isinstance(found, StageConfig)
        return found


STAGES: Final = tuple(name for name in Profile.model_fields if name not in {"name", "description"})


def profile_names() -> list[str]:
    """The profiles that are shipped."""
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


def load_profile(name: str = DEFAULT_PROFILE) -> Profile:
    """The profile of that name. Raises BadInputError, naming those there are, if there is none."""
    if name not in profile_names():
        raise BadInputError(f"unknown profile {name!r}; there is {', '.join(profile_names())}")
    content = yaml.safe_load((files(__name__) / f"{name}.yaml").read_text("utf-8")) or {}
    return Profile.model_validate({"name": name, **content})


def apply_overrides(profile: Profile, overrides: Mapping[str, Any]) -> Profile:
    """The profile with single fields changed: {"run_ocr.min_confidence": 0.6}. Text values are read as YAML.

    Raises BadInputError for an unknown stage or field (naming those there are) and for a value out of range.
    """
    changed: dict[str, dict[str, Any]] = {}
    for path, value in overrides.items():
        stage, dot, field = path.partition(".")
        if stage not in STAGES or not dot:
            raise BadInputError(
                f"--set {path}: unknown stage {stage!r}; expected stage.field with one of {', '.join(STAGES)}"
            )
        known = type(profile.stage(stage)).model_fields
        if field not in known:
            raise BadInputError(f"--set {path}: {stage} has no field {field!r}; it has {', '.join(sorted(known))}")
        changed.setdefault(stage, {})[field] = _parsed(path, value) if isinstance(value, str) else value
    update = {}
    for stage, values in changed.items():
        config = profile.stage(stage)
        try:
            update[stage] = type(config).model_validate({**config.model_dump(), **values})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BadInputError(f"--set {stage}.{where}={first['input']}: {first['msg'].lower()}") from error
    return profile.model_copy(update=update)


def _parsed(path: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInputError(f"--set {path}={text}: not a value; put text that YAML cannot read in quotes") from error


def difference(profile: Profile, base: Profile) -> dict[str, dict[str, Any]]:
    """Stage by stage the fields in which `profile` differs from `base`: what a job records as its overrides."""
    changed = {}
    for stage in STAGES:
        ours, theirs = profile.stage(stage).model_dump(mode="json"), base.stage(stage).model_dump(mode="json")
        fields = {key: value for key, value in ours.items() if theirs[key] != value}
        if fields:
            changed[stage] = fields
    return changed
