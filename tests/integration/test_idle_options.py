"""What a request says that has no effect on the stages that run is refused, by every command in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from detection_assets.jobs.run_config import refuse_changed_profile, refuse_unused, run_config
from detection_assets.local.runner import Runner
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import SourceAsset
from touchline.nodes import NODE_NAMES, REPORT, selection, upstream
from touchline_cli.app import app
from touchline_cli.outcome import exit_code


def refused(first: str | None, until: str | None, **given: Any) -> str:
    with pytest.raises(BadInputError) as error:
        refuse_unused(selection(first, until), **given)
    return str(error.value)


@pytest.mark.parametrize(
    ("first", "until", "given", "told", "remedy"),
    [
        ("match_brands", None, {"overrides": ["run_ocr.max_propagation"]}, "run_ocr does not run", "--from run_ocr"),
        # Beside, not before: one run of both begins at what both depend on.
        ("detect_objects", None, {"overrides": ["detect_edges.overlays"]}, "detect_edges", "--from filter_scenes"),
        (None, "filter_scenes", {"overrides": ["run_ocr.max_propagation"]}, "run_ocr does not run", "--until run_ocr"),
        (None, "run_ocr", {"overrides": ["brand_report.crop_width"]}, "brand_report", "Leave --until out"),
        ("escalate_vlm", None, {"brands_csv": Path("b.csv")}, "--brands b.csv", "--from match_brands"),
        (REPORT, None, {"brands_csv": Path("b.csv")}, "--brands b.csv", "--from match_brands"),
        (None, "run_ocr", {"brands_csv": Path("b.csv")}, "match_brands does not run", "--until match_brands"),
        (None, "match_brands", {"report": Path("out")}, "--report out: brand_report", "Leave --until out"),
        ("extract_frames", None, {"from_job": "1a2b3c4d"}, "--job 1a2b3c4d", "begin at a later stage (--from)"),
    ],
)
def test_what_has_no_effect_is_refused_with_what_would_give_it_one(
    first: str | None, until: str | None, given: dict[str, Any], told: str, remedy: str
) -> None:
    message = refused(first, until, **given)
    assert told in message and remedy in message


@pytest.mark.parametrize("stage", [*NODE_NAMES, REPORT])
def test_the_remedy_of_every_stage_makes_it_run(stage: str) -> None:
    for first in (*NODE_NAMES, REPORT):
        if stage in selection(first):
            refuse_unused(selection(first), overrides=[f"{stage}.x"])
            continue
        remedy = refused(first, None, overrides=[f"{stage}.x"]).partition("--from ")[2].split()[0]
        assert stage in selection(remedy) and set(selection(first)) <= set(selection(remedy))


def test_whoever_makes_a_run_config_is_refused_too() -> None:
    with pytest.raises(BadInputError, match="run_ocr does not run"):
        run_config(selection("match_brands"), overrides={"run_ocr.max_propagation": 1.0})


def test_a_run_rests_on_what_its_stages_read() -> None:
    assert upstream(selection()) == ()
    assert upstream(selection(None, "run_ocr")) == ()
    assert upstream(selection("detect_objects")) == ("extract_frames", "filter_scenes", "detect_edges")
    assert upstream([REPORT]) == NODE_NAMES


COMMANDS = [
    ["replay", "nobody", "--from", "match_brands", "--set", "run_ocr.min_confidence=0.9"],
    ["replay", "nobody", "--from", "escalate_vlm", "--brands", "BRANDS"],
    ["replay", "nobody", "--from", "extract_frames", "--job", "1a2b3c4d"],
    ["run", "VIDEO", "--until", "filter_scenes", "--set", "run_ocr.min_confidence=0.9"],
    ["run", "VIDEO", "--until", "filter_scenes", "--brands", "BRANDS"],
    ["run", "VIDEO", "--until", "filter_scenes", "--report", "out"],
    ["backfill", "--from", "match_brands", "--set", "run_ocr.min_confidence=0.9"],
    ["backfill", "--from", "escalate_vlm", "--brands", "BRANDS"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_refuses_it_before_a_server_is_started(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.csv").write_text("canonical_name,aliases\nGrondelix,\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path / "home"))
    words = [{"BRANDS": "b.csv", "VIDEO": "match.mp4"}.get(word, word) for word in words]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BadInputError), done.output
    assert done.exception.exit_code == 2
    assert " runs" in str(done.exception) or "does not run" in str(done.exception)
    assert not (tmp_path / "home").exists()


def test_a_profile_that_would_change_what_does_not_run_is_refused(
    runner: Runner, own_source: SourceAsset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome = runner.run(own_source, until="filter_scenes", overrides={"extract_frames.jpeg_quality": 90})
    assert outcome.succeeded, outcome.error
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "coarse.yaml").write_text("filter_scenes: {blur_ratio: 0.3}\n", "utf-8")
    (folder / "later.yaml").write_text("match_brands: {min_score: 0.9}\n", "utf-8")
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))

    def judge(profile: str, first: str) -> None:
        with runner.connection.database.session() as session:
            source = repository.get_source(session, own_source.partition_key)
            refuse_changed_profile(session, source, profile, selection(first))

    judge("later", "detect_edges")
    judge("coarse", "filter_scenes")
    with pytest.raises(BadInputError, match=r"--profile coarse: filter_scenes\.blur_ratio is 0\.3 in it") as error:
        judge("coarse", "detect_edges")
    assert "--from filter_scenes" in str(error.value)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((), 0),
        (("completed",), 0),
        (("completed", "paused!"), 3),
        (("cancelled!",), 3),
        (("paused!", "failed!"), 1),
        (("completed!", "paused!"), 1),
        (("paused!", "not begun!", "refused!"), 1),
    ],
)
def test_what_was_asked_for_ends_with_a_code_of_its_own_and_a_fault_comes_first(
    statuses: tuple[str, ...], code: int
) -> None:
    rows = [{"status": s.rstrip("!"), **({"error": "why"} if s.endswith("!") else {})} for s in statuses]
    assert exit_code(rows) == code
