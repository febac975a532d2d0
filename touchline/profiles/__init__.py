"""Profiles: the settings of all stages for one kind of broadcast, under a name.

Belongs here: loading the YAML files beside this module and those of one's own, reading a setting that was written as
text, and overriding single fields. The fields themselves, with their meaning and bounds, stand at the top of each
stage in `touchline/stages/`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from touchline.config import NAMES_FILE, PLUGIN, StageConfig, deprecated
from touchline.errors import BadInputError
from touchline.home import home
from touchline.plugins import GROUPS
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


STAGE_NAMES: Final = tuple(name for name in Profile.model_fields if name not in {"name", "description"})
"""The stages that have settings, in the order of the pipeline, the report last."""
_KINDS: Final = {name: type(Profile().stage(name)) for name in STAGE_NAMES}
_FIELDS: Final = {*Profile.model_fields, *(name for kind in _KINDS.values() for name in kind.model_fields)}


def file_settings() -> tuple[str, ...]:
    """The settings, as `stage.field`, whose value may name a file of this machine."""
    return tuple(f"{stage}.{name}" for stage, kind in _KINDS.items() for name in kind.marked(NAMES_FILE))


def own_profiles() -> Path:
    """The folder of one's own profiles, `profiles` in the home. It need not exist."""
    return home() / "profiles"


def profile_names() -> list[str]:
    """The profiles there are: the shipped ones and those of one's own."""
    return sorted({*_shipped(), *_own()})


def shipped_names() -> list[str]:
    """The shipped profiles."""
    return sorted(_shipped())


def load_profile(name: str = DEFAULT_PROFILE, tell: Callable[[str], None] = deprecated) -> Profile:
    """The profile of that name, a shipped one or `NAME.yaml` in `own_profiles`.

    `tell` is called with a sentence for each field that the file calls by a former name.

    Raises BadInputError, naming those there are, if there is none; for a file of one's own that has the name of a
    shipped one; and for a file that is no profile, naming the field.
    """
    shipped, own = _shipped(), _own()
    if name not in shipped and name not in own:
        raise BadInputError(
            f"unknown profile {name!r}; expected one of {', '.join(profile_names())}, or a file of your own, "
            f"{own_profiles() / f'{name}.yaml'}"
        )
    if name in shipped and name in own:
        raise BadInputError(f"{own[name]}: {name} is the name of a shipped profile; give yours another")
    file = shipped.get(name) or own[name]
    try:
        content = yaml.safe_load(file.read_text("utf-8")) or {}
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error.strerror or type(error).__name__}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        # Not chained: the error quotes the line, and the file may be any that a link points at.
        raise BadInputError(f"{file}: cannot be read as YAML{_where(error)}") from None
    if not isinstance(content, dict):
        raise BadInputError(f"{file}: expected stages with their fields, got none")
    if content.setdefault("name", name) != name:
        raise BadInputError(f"{file}: its field name says another; expected {name}, as the file is called")
    try:
        profile = Profile.model_validate(_current(file, content, tell))
    except ValidationError as error:
        raise BadInputError(f"{file}: {_fault(error)}") from None
    for stage in STAGE_NAMES:
        for name, group in ((name, GROUPS[key]) for name, key in _KINDS[stage].marked(PLUGIN).items()):
            if getattr(profile.stage(stage), name) not in (known := group.names()):
                # Not quoted: what the file says may be a secret of another's.
                raise BadInputError(f"{file}: {stage}.{name}: unknown {group.kind}; installed are: {', '.join(known)}")
    return profile


def _current(file: Traversable, content: Mapping[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    """What a profile's file says, with today's names of fields."""
    found = dict(content)
    for stage in STAGE_NAMES:
        if isinstance(values := found.get(stage), Mapping):
            try:
                found[stage] = _KINDS[stage].renamed(values, f"{stage}.", lambda text: tell(f"{file}: {text}"))
            except ValueError as error:
                raise BadInputError(f"{file}: {error}") from None
    return found


def _where(error: Exception) -> str:
    """The line and column of a fault in YAML, and no word of the file; empty where there is none."""
    # What YAML says of the problem quotes characters of the file, and the names of anchors and tags.
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""


def _fault(error: ValidationError) -> str:
    """The first field that does not fit, and what is expected; of unknown fields the number alone."""
    first = error.errors(include_input=False, include_url=False)[0]
    *parents, last = map(str, first["loc"])
    known = ".".join(part for part in (*parents, last) if part in _FIELDS)
    if first["type"] == "extra_forbidden":
        fields = type(Profile().stage(parents[0])).model_fields if parents else Profile.model_fields
        near = get_close_matches(last, fields, 1)
        meant = f"perhaps {near[0]} is meant" if near else f"expected one of {', '.join(sorted(fields))}"
        return f"{known or 'the file'}: it has a field that is not known; {meant}"
    return f"{known}: {first['msg'].lower()}"


def profile_of(source: str, own: str, given: str = "", tell: Callable[[str], None] = deprecated) -> Profile:
    """The profile that a run of a source (by its key) works with: the one `given` to the run, else the source's `own`.

    `tell` is called as by `load_profile`. Raises BadInputError as `load_profile`; where a source's own is missing, the
    message names the source.
    """
    if not given and own not in profile_names():
        raise BadInputError(
            f"profile {own!r} of source {source} is not there; expected one of {', '.join(profile_names())}: run or "
            f"replay it with --profile, or put {own_profiles() / f'{own}.yaml'} back"
        )
    return load_profile(given or own, tell)


def _shipped() -> dict[str, Traversable]:
    return {f.name.removesuffix(".yaml"): f for f in files(__name__).iterdir() if f.name.endswith(".yaml")}


def _own() -> dict[str, Traversable]:
    return {path.stem: path for path in own_profiles().glob("[!.]*.yaml")}


class _Loader(yaml.SafeLoader):
    """YAML in which 1e3 is a number, as it is in JSON and in YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


_EXPONENT: Final = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, [*"-+0123456789"])


def parse_override(path: str, text: str) -> Any:
    """The value of a setting that was written as text, once and for all: 0.6 is a number, '"007"' is text.

    `path` (stage.field) is for the message. Raises BadInputError for text that is not YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInputError(
            f"--set {path}={_printable(text)}: not a value; put text that YAML cannot read in quotes"
        ) from error


def override_text(value: Any) -> str:
    """A value as `parse_override` reads it, in ASCII."""
    # Without a limit of the width nothing is broken into lines; a bare scalar is followed by the end of its document.
    written = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=math.inf)
    return str(written).removesuffix("\n").removesuffix("\n...")


def by_stage(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by stage and field: {"run_ocr.min_confidence": 0.6} is {"run_ocr": {"min_confidence": 0.6}}."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in overrides.items():
        stage, dot, field = path.partition(".")
        if not dot:
            raise BadInputError(f"--set {path}: expected stage.field with a stage of {', '.join(STAGE_NAMES)}")
        found.setdefault(stage, {})[field] = value
    return found


def dotted(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The inverse of `by_stage`: {"run_ocr": {"min_confidence": 0.6}} is {"run_ocr.min_confidence": 0.6}."""
    return {f"{stage}.{name}": value for stage, values in settings.items() for name, value in values.items()}


def current_names(
    settings: Mapping[str, Mapping[str, Any]], tell: Callable[[str], None] = deprecated
) -> dict[str, dict[str, Any]]:
    """Settings by stage and field, with today's name for each former one; unknown stages and fields stay as they are.

    `tell` is called with a sentence for each former name. Raises BadInputError if both names of one field are given.
    """
    try:
        return {
            stage: _KINDS[stage].renamed(values, f"{stage}.", tell) if stage in _KINDS else dict(values)
            for stage, values in settings.items()
        }
    except ValueError as error:
        raise BadInputError(f"--set: {error}") from None


def apply_overrides(
    profile: Profile, overrides: Mapping[str, Any], tell: Callable[[str], None] = deprecated
) -> Profile:
    """The profile with single fields changed: {"run_ocr.min_confidence": 0.6}. As `with_settings`."""
    return with_settings(profile, by_stage(overrides), tell)


def with_settings(
    profile: Profile, settings: Mapping[str, Mapping[str, Any]], tell: Callable[[str], None] = deprecated
) -> Profile:
    """The profile with single fields changed: {"run_ocr": {"min_confidence": 0.6}}.

    `tell` is called with a sentence for each former name of a field. Values have their type already: text stays text,
    whatever it looks like, and only a whole number may stand for a fraction. Raises BadInputError for an unknown stage
    or field (naming those there are), for a field that is given under both its names, for a value of another type or
    out of bounds, and for None, which in the config of a run stands for the profile's own value.
    """
    update = {}
    for stage, values in current_names(settings, tell).items():
        if stage not in STAGE_NAMES:
            raise BadInputError(
                f"--set {'.'.join([stage, *values][:2])}: unknown stage {stage!r}; expected stage.field with one of "
                f"{', '.join(STAGE_NAMES)}"
            )
        config = profile.stage(stage)
        known = type(config).model_fields
        for field, value in values.items():
            if field not in known:
                raise BadInputError(
                    f"--set {stage}.{field}: {stage} has no field {field!r}; it has {', '.join(sorted(known))}"
                )
            if value is None:
                raise BadInputError(
                    f"--set {stage}.{field}: expected a value, got none; leave it out to keep that of the profile. "
                    "Only a profile of your own can lift a limit"
                )
        try:
            update[stage] = type(config).model_validate({**config.model_dump(), **values}, strict=True)
        except ValidationError as error:
            raise BadInputError(f"--set {_refused(stage, error)}") from error
        _check_plugins(stage, update[stage], values)
    return profile.model_copy(update=update)


def _refused(stage: str, error: ValidationError) -> str:
    """The first value that does not fit, and what is expected."""
    first = error.errors(include_url=False)[0]
    path = ".".join(map(str, (stage, *first["loc"])))
    quotes = f"; quotes make it text, as in {path}=\"'...'\"" if first["type"] == "string_type" else ""
    what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"].lower()
    return f"{path}={_printable(first['input'])}: {what}{quotes}"


def _printable(value: Any) -> str:
    """A value in a message: what no terminal can show is spelled out."""
    return str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _check_plugins(stage: str, config: StageConfig, changed: Container[str]) -> None:
    """Raises BadInputError if a changed field names an engine or a detector that no installed package offers."""
    for name, group in config.marked(PLUGIN).items():
        if name in changed:
            value = getattr(config, name)
            try:
                GROUPS[group].find(value)
            except BadInputError as error:
                raise BadInputError(f"--set {stage}.{name}={value}: {error}") from None


def difference(profile: Profile, base: Profile) -> dict[str, dict[str, Any]]:
    """Stage by stage the fields in which `profile` differs from `base`: what a job records as its overrides."""
    changed = {}
    for stage in STAGE_NAMES:
        ours, theirs = profile.stage(stage).model_dump(mode="json"), base.stage(stage).model_dump(mode="json")
        fields = {key: value for key, value in ours.items() if theirs[key] != value}
        if fields:
            changed[stage] = fields
    return changed
