"""The registry of stages: for each its module, its settings in the launchpad, and how its worker is made.

Belongs here: the wiring of stages to models and brands. `run_stage.py` runs a stage chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal, Optional, TypeVar, get_origin

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from resources.models import Models
from touchline.brands import BrandBook
from touchline.config import StageConfig
from touchline.nodes import NODE_NAMES, REPORT
from touchline.profiles import Profile
from touchline.stages import (
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
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Context:
    """What a worker is made from, besides its settings and its state."""

    models: Models
    brands: Callable[[], BrandBook]


@dataclass(frozen=True)
class Stage:
    """One stage. `identity` names the models and lists that its output depends on; `worker` makes its worker."""

    name: str
    module: ModuleType
    identity: Callable[[Any, Context], str]
    worker: Callable[[Any, Context, State], StageWorker[Any]] | None

    @property
    def version(self) -> str:
        """Version of the stage's code; part of its fingerprint."""
        return str(self.module.VERSION)


def _no_models(config: Any, context: Context) -> str:
    return ""


def _objects_identity(config: detect_objects.DetectObjectsConfig, context: Context) -> str:
    detector, _ = context.models.detector(config)
    # Why there is no detector depends on the machine and does not change the output.
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
        # No provider can be configured for the two escalations yet. Both select, count and report candidates.
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
    """A Dagster config with the fields of a stage's settings. All are optional; the default is the profile's value.

    The stage's own settings check values when the stage starts, so that bounds are written once. A renamed field has
    its former name too, described as deprecated: Dagster refuses all other names.
    """
    former = {now: name for name, now in config.former_names().items()}
    fields: dict[str, Any] = {}
    for field_name, field in config.model_fields.items():
        kind = str if get_origin(field.annotation) is Literal else field.annotation
        sentences = [str(field.description).rstrip("."), limits(field), f"Profile's default: {field.default!r}"]
        text = " ".join(f"{sentence}." for sentence in sentences if sentence)
        fields[field_name] = (Optional[kind], Field(default=None, description=text))  # noqa: UP045 (a runtime value)
        if field_name in former:
            text = f"Deprecated: use {field_name}, which is its name now."
            fields[former[field_name]] = (Optional[kind], Field(default=None, description=text))  # noqa: UP045
    made: type[dg.Config] = create_model(f"{config.__name__}Launchpad", __base__=dg.Config, **fields)
    return made


def limits(field: FieldInfo) -> str:
    """The bounds of a setting in words, such as "From 0 to 1"; empty if it has none."""
    words = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}
    given = {word: getattr(mark, word) for mark in field.metadata for word in words if hasattr(mark, word)}
    text = " ".join(words[word].format(given[word]) for word in words if word in given)
    return text[:1].upper() + text[1:]


SETTINGS: Final[Mapping[str, type[dg.Config]]] = {
    stage: launchpad(type(Profile().stage(stage))) for stage in (*NODE_NAMES, REPORT)
}
"""The launchpad config of each asset, by stage name."""


def takes_settings(stage: str) -> Callable[[F], F]:
    """A decorator, placed below `@dg.asset`, that annotates the parameter `config` with the stage's launchpad config.

    Dagster reads the config class from the annotation. These classes are generated, so it cannot be written in code.
    """

    def decorate(function: F) -> F:
        function.__annotations__["config"] = SETTINGS[stage]
        return function

    return decorate
