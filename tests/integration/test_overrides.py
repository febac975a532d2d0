"""A setting on its way from the command line to its stage: read as YAML once, then the same value of the same type.

Belongs here: the way as a whole, through Dagster's config. What a profile refuses is in `tests/unit/test_profiles.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from detection_assets.definitions import JOB, build_defs
from detection_assets.execution.run_stage import job_overrides
from detection_assets.jobs.run_config import given as given_settings
from detection_assets.jobs.run_config import run_config
from detection_assets.local.registered_files import handed_over
from detection_assets.local.runner import Runner
from touchline.config import PLUGIN
from touchline.errors import BadInputError
from touchline.fingerprint import Staleness
from touchline.library import repository
from touchline.library.tables import SourceAsset
from touchline.nodes import NODE_NAMES, REPORT
from touchline.plugins import GROUPS
from touchline.profiles import STAGE_NAMES, Profile, load_profile, override_text, with_settings
from touchline_cli.session import check_settings, parse_overrides

LOOKS_LIKE_ANOTHER = (
    "yes", "no", "null", "~", "", " ", "007", "7", "0x10", "0o17", "1e3", "1_000", "1:30", ".5", ".nan", ".inf", "true",
    "2026-01-01", "2026-01-01 10:00:00", "[a]", "{a: 1}", "a: b", "- a", "# a", "a # b", "'a'", '"a"', "&a", "*a", "!a",
    "%a", "@a", "a\nb", "\ttab ", " spaces ", "\u00e4\u00f6\u00fc \u2028 \U0001f3df", "{env: HOME}", "=", "<<",
)  # fmt: skip
"""Text that YAML would read as something else, or not at all, where it is not in quotes."""


@pytest.fixture(scope="module")
def job() -> dg.JobDefinition:
    return build_defs().resolve_job_def(JOB)


def arrived(job: dg.JobDefinition, overrides: dict[str, Any]) -> Profile:
    """The profile that stages work with, where a command was given these settings."""
    texts = [f"{path}={override_text(value)}" for path, value in overrides.items()]
    changes = check_settings("", parse_overrides(texts))
    asked = run_config((*NODE_NAMES, REPORT), overrides=changes)
    stored = json.loads(json.dumps(asked))
    # A job that is resumed is asked for with the stored config of its run.
    again = handed_over(None, stored)  # type: ignore[arg-type]
    assert again["ops"] == stored["ops"]
    ops = dg.validate_run_config(job, stored)["ops"]
    found = with_settings(load_profile(), {stage: given_settings(ops[stage]["config"]) for stage in STAGE_NAMES})
    recorded = job_overrides(SimpleNamespace(run=SimpleNamespace(run_config=stored)), load_profile())  # type: ignore[arg-type]
    # What the job records leads to the same settings: a run that Dagster has forgotten is resumed with it.
    assert with_settings(load_profile(), json.loads(json.dumps(recorded))) == found
    return found


def value_at(profile: Profile, path: str) -> Any:
    stage, _, field = path.partition(".")
    return getattr(profile.stage(stage), field)


def fitting(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Values that a setting takes."""
    limits = {
        word: getattr(mark, word) for mark in field.metadata for word in ("ge", "gt", "le", "lt") if hasattr(mark, word)
    }
    least, most = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    kinds = get_args(field.annotation) or (field.annotation,)
    if isinstance(extra := field.json_schema_extra, dict) and PLUGIN in extra:
        return st.sampled_from(GROUPS[str(extra[PLUGIN])].names())
    if field.annotation is bool:
        return st.booleans()
    if field.annotation is int:
        return st.integers(least, most)
    if float in kinds:
        exclusive: dict[str, Any] = {"exclude_min": "gt" in limits, "exclude_max": "lt" in limits}
        return st.floats(least, most, allow_nan=False, allow_infinity=False, **exclusive)
    if field.annotation is str:
        return st.sampled_from(LOOKS_LIKE_ANOTHER) | st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        )
    return st.sampled_from(kinds)


def all_settings() -> st.SearchStrategy[dict[str, Any]]:
    """Some of all settings, each with a value that fits. Names of weights and checksums have a form of their own."""
    fields = {
        f"{stage}.{name}": field
        for stage in STAGE_NAMES
        for name, field in type(Profile().stage(stage)).model_fields.items()
    }
    return st.fixed_dictionaries(
        {}, optional={path: fitting(field) for path, field in fields.items() if "weights" not in path}
    )


@settings(max_examples=40)
@given(given_overrides=all_settings())
def test_a_setting_arrives_as_the_value_that_was_written(
    job: dg.JobDefinition, given_overrides: dict[str, Any]
) -> None:
    found = arrived(job, given_overrides)
    for path, value in given_overrides.items():
        assert value_at(found, path) == value, path
        assert type(value_at(found, path)) is type(value), path


def test_text_that_looks_like_another_value_arrives_as_text(job: dg.JobDefinition) -> None:
    for text in LOOKS_LIKE_ANOTHER:
        assert value_at(arrived(job, {"detect_objects.classes": text}), "detect_objects.classes") == text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("run_ocr.min_height=5", 5.0),
        ("run_ocr.min_height=1e1", 10.0),
        ("run_ocr.min_height= 12.5 ", 12.5),
        ("detect_objects.image_size=0x100", 256),
        ("run_ocr.strips=no", False),
        ("run_ocr.engine=doctr", "doctr"),
        ("detect_objects.classes='007'", "007"),
        ("detect_objects.classes=person, ball", "person, ball"),
        ("detect_objects.classes=''", ""),
    ],
)
def test_what_a_person_writes_is_read_as_yaml(written: str, value: object) -> None:
    path = written.partition("=")[0]
    found = check_settings("", parse_overrides([written]))[path]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "written",
    ["detect_objects.classes=007", "detect_objects.classes=", "detect_objects.classes=~", "detect_objects.classes=[a]",
     "detect_objects.classes=a: b", "detect_objects.classes=2026-01-01", "detect_objects.batch=yes",
     "detect_objects.batch='8'", "run_ocr.strips=1", "run_ocr.min_height=.inf", "escalate_cloud.max_cost_usd=null",
     "detect_objects.classes=2026-13-45"],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_before_any_run(written: str) -> None:
    with pytest.raises(BadInputError, match=f"--set {written.partition('=')[0]}"):
        check_settings("", parse_overrides([written]))


def test_a_config_that_the_launchpad_filled_with_nulls_changes_nothing(job: dg.JobDefinition) -> None:
    nothing = {stage: dict.fromkeys(type(Profile().stage(stage)).model_fields) for stage in STAGE_NAMES}
    filled = {"ops": {stage: {"config": values} for stage, values in nothing.items()}}
    context = SimpleNamespace(run=SimpleNamespace(run_config=filled))
    assert job_overrides(context, load_profile()) == {}  # type: ignore[arg-type]
    ops = dg.validate_run_config(job, filled)["ops"]
    assert with_settings(load_profile(), {s: given_settings(ops[s]["config"]) for s in STAGE_NAMES}) == load_profile()


def test_a_checkpoint_made_with_such_text_is_not_stale() -> None:
    snapshot = {**Profile().detect_objects.model_dump(mode="json"), "classes": "007"}
    judge = Staleness({"detect_objects": "1"}, lambda stage, config: "")
    reasons = judge._settings("detect_objects", "soccer_broadcast", snapshot, {"classes": "007"})
    assert reasons == []


@pytest.mark.slow
def test_a_run_works_with_the_text_that_the_command_was_given(runner: Runner, own_still: Path) -> None:
    source: SourceAsset = runner.register(own_still)
    changes = check_settings("", parse_overrides(["detect_objects.classes='007'", "detect_objects.weights=''"]))
    outcome = runner.run(source, overrides=changes, until="detect_objects")
    assert outcome.succeeded, outcome.error
    with runner.connection.database.session() as session:
        rows = repository.list_checkpoints(session, job_id=outcome.job.id)
    [row] = [row for row in rows if row.stage == "detect_objects"]
    assert (row.config_snapshot["classes"], row.config_overrides) == ("007", {"classes": "007"})
    assert outcome.job.config_overrides == {"detect_objects": {"classes": "007"}}


@pytest.fixture
def own_still(tmp_path: Path) -> Path:
    import cv2
    import numpy as np

    path = tmp_path / "override.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    return path
