"""Settings that were renamed: the former name still works wherever settings are given, and a warning names the new one.

Each test runs over every former name that there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from detection_assets.execution import registry
from detection_assets.jobs.run_config import given
from resources.run_settings import refuse_both_names
from touchline.config import StageConfig, silently
from touchline.errors import BadInputError
from touchline.fingerprint import Staleness, fingerprint_of
from touchline.profiles import STAGE_NAMES, apply_overrides, difference, load_profile
from touchline_cli import session

RENAMED = [
    (stage, former, now)
    for stage in STAGE_NAMES
    for former, now in type(load_profile().stage(stage)).former_names().items()
]
"""Every stage's former names, each with the name of today."""
EXPECTED = {
    ("run_ocr", "ribbon_interval", "strip_interval"),
    ("run_ocr", "carry", "max_propagation"),
    ("match_brands", "min_votes", "min_vote_sum"),
    ("match_brands", "like_voted", "min_track_similarity"),
    ("detect_objects", "every", "frame_stride"),
}
each = pytest.mark.parametrize(("stage", "former", "now"), RENAMED, ids=[former for _, former, _ in RENAMED])


def kind_of(stage: str) -> type[StageConfig]:
    return type(load_profile().stage(stage))


def changed(stage: str, now: str) -> Any:
    """A value that is not the default, of the field's own type."""
    default = getattr(load_profile().stage(stage), now)
    return default + 1 if isinstance(default, int) else default / 2


def run_config(stage: str, **values: Any) -> dict[str, Any]:
    return {"ops": {stage: {"config": values}}}


def test_these_are_the_former_names() -> None:
    assert set(RENAMED) == EXPECTED


@each
def test_a_former_name_is_taken_for_the_new_one_with_a_warning(stage: str, former: str, now: str) -> None:
    value = changed(stage, now)
    with pytest.warns(DeprecationWarning, match=f"{former} is deprecated: use {now}"):
        config = kind_of(stage).model_validate({former: value})
    assert config == kind_of(stage).model_validate({now: value})
    assert former not in config.model_dump()


@each
def test_both_names_of_one_setting_are_refused(stage: str, former: str, now: str) -> None:
    value = changed(stage, now)
    with pytest.raises(ValidationError, match=f"{former} is the former name of {now}"):
        kind_of(stage).model_validate({former: value, now: value})
    with pytest.raises(BadInputError, match=f"{stage}.{former} is the former name of {stage}.{now}"):
        apply_overrides(load_profile(), {f"{stage}.{now}": value, f"{stage}.{former}": value})
    with pytest.raises(BadInputError, match=f"{stage}.{former} is the former name of {stage}.{now}"):
        refuse_both_names(run_config(stage, **{former: value, now: value}), silently)


@each
def test_a_profile_may_use_a_former_name(
    stage: str, former: str, now: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))
    file = tmp_path / "profiles" / "mine.yaml"
    file.parent.mkdir()
    value = changed(stage, now)
    file.write_text(f"{stage}: {{{former}: {value}}}", "utf-8")
    with pytest.warns(DeprecationWarning, match=f"{file}: {stage}.{former} is deprecated: use {stage}.{now}"):
        profile = load_profile("mine")
    assert getattr(profile.stage(stage), now) == value
    # What is set for a run goes before what the profile says, under whichever name.
    again = apply_overrides(profile, {f"{stage}.{now}": value * 2 if isinstance(value, int) else value / 2})
    assert getattr(again.stage(stage), now) != value
    file.write_text(f"{stage}: {{{former}: {value}, {now}: {value}}}", "utf-8")
    with pytest.raises(BadInputError, match=f"{file}: {stage}.{former} is the former name of"):
        load_profile("mine")


@each
def test_a_command_takes_a_former_name_warns_and_hands_on_the_new_one(
    stage: str, former: str, now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = changed(stage, now)
    given = session.check_settings("", session.parse_overrides([f"{stage}.{former}={value}"]))
    assert given == {f"{stage}.{now}": value}
    assert f"{stage}.{former} is deprecated: use {stage}.{now}" in capsys.readouterr().err.replace("\n", " ")


@each
def test_the_overrides_of_an_old_job_are_those_of_a_new_one(stage: str, former: str, now: str) -> None:
    base, value = load_profile(), changed(stage, now)
    old, new = (apply_overrides(base, {f"{stage}.{name}": value}, silently) for name in (former, now))
    assert difference(old, base) == difference(new, base) == {stage: {now: value}}


@each
def test_the_fingerprint_is_the_one_before_the_renaming(stage: str, former: str, now: str) -> None:
    new = kind_of(stage).model_validate({now: changed(stage, now)})
    with pytest.warns(DeprecationWarning, match=former):
        old = kind_of(stage).model_validate({former: changed(stage, now)})
    assert fingerprint_of(stage, "1", old, ["a"], "") == fingerprint_of(stage, "1", new, ["a"], "")
    assert new.fingerprinted()[former] == changed(stage, now)
    assert now not in new.fingerprinted()


@each
def test_a_checkpoint_with_former_names_is_not_stale_for_that(stage: str, former: str, now: str) -> None:
    config = kind_of(stage).model_validate({now: changed(stage, now)})
    snapshot = {former if name == now else name: value for name, value in config.model_dump(mode="json").items()}
    judge = Staleness({stage: "1"}, lambda _stage, _config: "")
    made: dict[str, Any] = {
        "stage": stage,
        "fingerprint": fingerprint_of(stage, "1", config, ["a"], ""),
        "profile_name": "soccer_broadcast",
        "config_snapshot": snapshot,
        "upstream": {"filter_scenes": "a"},
        "newest": {"filter_scenes": "a"},
        "checksum": "",
    }
    assert judge.reasons(**made, config_overrides={former: changed(stage, now)}) == []
    [reason] = judge.reasons(**made, config_overrides={})
    assert reason.startswith(f"{stage}.{now}: ")


def job_with(stage: str) -> dg.JobDefinition:
    """A job of one op that takes the launchpad's settings of a stage, and returns those that are given."""

    def settings_of(config):  # type: ignore[no-untyped-def]
        return given(config.model_dump())

    settings_of.__annotations__["config"] = registry.launchpad(kind_of(stage))
    op = dg.op(name=stage)(settings_of)

    @dg.job(name=f"{stage}_job")
    def job() -> None:
        op()

    return job


@each
def test_the_launchpad_takes_both_names_and_says_which_one_is_deprecated(stage: str, former: str, now: str) -> None:
    fields = registry.launchpad(kind_of(stage)).to_fields_dict()
    assert str(fields[former].description).startswith(f"Deprecated: use {now}")
    assert not str(fields[now].description).startswith("Deprecated")
    value = changed(stage, now)
    job = job_with(stage)
    for name in (former, now):
        config = run_config(stage, **{name: value})
        assert dg.validate_run_config(job, config)
        assert job.execute_in_process(run_config=config).output_for_node(stage) == {name: value}
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, run_config(stage, **{former: "text"}))


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_the_launchpad_refuses_an_unknown_setting_before_a_run_begins(stage: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=r'Received unexpected config entry "no_such_setting"'):
        dg.validate_run_config(job_with(stage), run_config(stage, no_such_setting=1))


@each
def test_a_run_is_told_of_a_former_name_and_refused_for_both_names(stage: str, former: str, now: str) -> None:
    told: list[str] = []
    refuse_both_names(run_config(stage, **{former: 1}), told.append)
    assert told == [f"{stage}.{former} is deprecated: use {stage}.{now}, which is its name now"]
    with pytest.raises(BadInputError, match=f"{stage}.{former} is the former name of {stage}.{now}"):
        refuse_both_names(run_config(stage, **{former: 1, now: 1}), told.append)
    refuse_both_names(run_config("some_other_op", anything=1), told.append)


@each
def test_a_setting_that_the_launchpad_fills_with_null_is_not_given(stage: str, former: str, now: str) -> None:
    told: list[str] = []
    refuse_both_names(run_config(stage, **{former: None, now: 1}), told.append)
    refuse_both_names(run_config(stage, **{former: None, now: None}), told.append)
    assert told == []
    refuse_both_names(run_config(stage, **{former: 1, now: None}), told.append)
    assert len(told) == 1


def test_the_page_of_settings_lists_the_former_names() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/configuration.md").read_text("utf-8")
    for stage, former, now in RENAMED:
        assert f"| `{stage}.{former}` | `{stage}.{now}` |" in page
