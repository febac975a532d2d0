"""What Dagster needs to know of each stage: its module, its launchpad settings, how its worker is made.

Belongs here: the wiring of stages to models and brands. Running a stage chunk by chunk is in `run_stage.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Optional, get_origin

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from resources.models import Models
from touchline.brands import BrandBook
from touchline.config import StageConfig
from touchline.stages import (
    brand_report,
    detect_edges,
    detect_objects,
    escalate_cloud,
    escalate_vlm,
    extract_frames,
    filter_scenes,
    match_brands,
    run_ocr,
)
from touchline.values import StageWorker

State = dict[str, Any] | None


@dataclass(frozen=True)
class Context:
    """What workers are made from besides their settings and state."""

    models: Models
    brands: Callable[[], BrandBook]


@dataclass(frozen=True)
class Stage:
    """One node. `identity` names the models and lists its output depends on; `worker` makes what runs it."""

    name: str
    module: ModuleType
    identity: Callable[[Any, Context], str]
    worker: Callable[[Any, Context, State], StageWorker[Any]] | None

    @property
    def version(self) -> str:
        """Version of the stage's code, part of its fingerprint."""
        return str(self.module.VERSION)


def _no_models(config: Any, context: Context) -> str:
    return ""


def _objects_identity(config: detect_objects.DetectObjectsConfig, context: Context) -> str:
    detector, _ = context.models.detector(config)
    # Why there is none differs with the machine, and changes nothing of what is stored: no objects.
    return detector.identity if detector else "none"


def _objects(config: detect_objects.DetectObjectsConfig, context: Context, state: State) -> StageWorker[Any]:
    detector, why_not = context.models.detector(config)
    return detect_objects.DetectObjects(config, detector, why_not, state)


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("extract_frames", extract_frames, _no_models, None),
        Stage("filter_scenes", filter_scenes, _no_models, lambda c, _, s: filter_scenes.FilterScenes(c, s)),
        Stage("detect_edges", detect_edges, _no_models, lambda c, _, s: detect_edges.DetectEdges(c, s)),
        Stage("detect_objects", detect_objects, _objects_identity, _objects),
        Stage(
            "run_ocr",
            run_ocr,
            lambda c, x: x.models.ocr(c.engine, c.runtime).identity,
            lambda c, x, s: run_ocr.RunOcr(c, x.models.ocr(c.engine, c.runtime), s),
        ),
        Stage(
            "match_brands",
            match_brands,
            lambda c, x: x.brands().version,
            lambda c, x, s: match_brands.MatchBrands(c, x.brands(), s),
        ),
        # The providers of the two escalations are not configurable yet: both route, count and say so.
        Stage(
            "escalate_vlm",
            escalate_vlm,
            lambda c, x: "none",
            lambda c, x, s: escalate_vlm.EscalateVlm(c, None, brands=x.brands(), state=s),
        ),
        Stage(
            "escalate_cloud",
            escalate_cloud,
            lambda c, x: "none",
            lambda c, x, s: escalate_cloud.EscalateCloud(c, None, brands=x.brands(), state=s),
        ),
    )
}


def launchpad(config: type[StageConfig]) -> type[dg.Config]:
    """A Dagster config with the fields of a stage's settings, all optional: what is left out is the profile's.

    Values are checked by the stage's own settings when the stage starts, so that bounds are written once.
    """
    fields: dict[str, Any] = {}
    for field_name, field in config.model_fields.items():
        kind = str if get_origin(field.annotation) is Literal else field.annotation
        sentences = [str(field.description).rstrip("."), limits(field), f"Profile's default: {field.default!r}"]
        text = " ".join(f"{sentence}." for sentence in sentences if sentence)
        fields[field_name] = (Optional[kind], Field(default=None, description=text))  # noqa: UP045 (a runtime value)
    made: type[dg.Config] = create_model(f"{config.__name__}Launchpad", __base__=dg.Config, **fields)
    return made


def limits(field: FieldInfo) -> str:
    """The bounds of a setting in words, such as "From 0 to 1"; empty where it has none."""
    words = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}
    given = {word: getattr(mark, word) for mark in field.metadata for word in words if hasattr(mark, word)}
    text = " ".join(words[word].format(given[word]) for word in words if word in given)
    return text[:1].upper() + text[1:]


class ExtractFramesSettings(launchpad(extract_frames.ExtractFramesConfig)):  # type: ignore[misc]
    """Settings of `extract_frames`; what is left out is the profile's."""


class FilterScenesSettings(launchpad(filter_scenes.FilterScenesConfig)):  # type: ignore[misc]
    """Settings of `filter_scenes`; what is left out is the profile's."""


class DetectEdgesSettings(launchpad(detect_edges.DetectEdgesConfig)):  # type: ignore[misc]
    """Settings of `detect_edges`; what is left out is the profile's."""


class DetectObjectsSettings(launchpad(detect_objects.DetectObjectsConfig)):  # type: ignore[misc]
    """Settings of `detect_objects`; what is left out is the profile's."""


class RunOcrSettings(launchpad(run_ocr.RunOcrConfig)):  # type: ignore[misc]
    """Settings of `run_ocr`; what is left out is the profile's."""


class MatchBrandsSettings(launchpad(match_brands.MatchBrandsConfig)):  # type: ignore[misc]
    """Settings of `match_brands`; what is left out is the profile's."""


class EscalateVlmSettings(launchpad(escalate_vlm.EscalateVlmConfig)):  # type: ignore[misc]
    """Settings of `escalate_vlm`; what is left out is the profile's."""


class EscalateCloudSettings(launchpad(escalate_cloud.EscalateCloudConfig)):  # type: ignore[misc]
    """Settings of `escalate_cloud`; what is left out is the profile's."""


class BrandReportSettings(launchpad(brand_report.BrandReportConfig)):  # type: ignore[misc]
    """Settings of `brand_report`; what is left out is the profile's."""
