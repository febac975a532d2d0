"""The benchmark's measures, the reports that it reads, and the tables that it prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import score_reports
from benchmarks.broadcast81 import truths
from benchmarks.reports import read_report
from benchmarks.scoring import NOWHERE, Score, brand_scores, covered_s, folded, score
from touchline.errors import BadInputError

TRUTH: dict[str, Any] = {
    "file": "clip.mp4",
    "kind": "clip",
    "duration_s": 10.0,
    "boundary_tolerance_s": 0.25,
    "brands": [
        {"name": "Nike", "where": "board", "visible_s": [[1.0, 7.0]], "legible": True, "legible_s": [[2.0, 6.0]]},
        {"name": "Puma", "where": "jersey", "visible_s": [[0.0, 10.0]], "legible": False, "legible_s": []},
        {"name": "Flow", "where": "board", "visible_s": [[0.0, 0.8]], "legible": True, "legible_s": [[0.0, 0.8]]},
    ],
    "ambiguous": [{"name": "FIFA", "note": "organiser"}, {"note": "a red board"}],
}


def test_points_near_a_boundary_or_between_seen_and_read_do_not_count() -> None:
    # Nike can be read at 2.5 .. 5.5 (7 points), is seen at 1.5 and 6.5, and is not there at 7.5 .. 10 and at 0, 0.5.
    exact = score({**TRUTH, "brands": TRUTH["brands"][:1]}, {"NIKE": [[2.0, 6.0]]}, 10.0)
    assert (exact.hits, exact.misses, exact.false_alarms) == (7, 0, 0)
    seen = score({**TRUTH, "brands": TRUTH["brands"][:1]}, {"Nike": [[1.0, 7.0]]}, 10.0)
    assert (seen.hits, seen.misses, seen.false_alarms) == (7, 0, 0)
    long = score({**TRUTH, "brands": TRUTH["brands"][:1]}, {"Nike": [[4.0, 10.0]]}, 10.0)
    assert (long.hits, long.misses, long.false_alarms) == (4, 3, 6)


def test_what_the_truth_calls_ambiguous_is_not_scored_and_what_it_does_not_know_is_false() -> None:
    assert score({**TRUTH, "brands": []}, {"fifa": [[0.0, 10.0]]}, 10.0) == Score()
    [stranger] = brand_scores({**TRUTH, "brands": []}, {"Visa": [[0.0, 1.0]]}, 10.0)
    assert (stranger.name, stranger.where) == ("Visa", NOWHERE)
    assert (stranger.score.false_alarms, stranger.score.brands_false, stranger.score.brands) == (3, 1, 0)


def test_a_brand_without_intervals_is_not_reported() -> None:
    assert score(TRUTH, {"Nike": [], "Visa": []}, 10.0) == score(TRUTH, {}, 10.0)


def test_a_still_has_one_point_and_no_seconds() -> None:
    still = {"kind": "still", "brands": [{"name": "Nike", "legible": True}, {"name": "Puma", "legible": False}]}
    found = score(still, {"Nike": [[0, 0]], "Puma": [[0, 0]], "Visa": [[0, 0]]}, 0.0)
    assert (found.hits, found.misses, found.false_alarms, found.exposures) == (1, 0, 1, ())


@pytest.mark.parametrize(
    ("told", "missed", "extra"), [(3.0, 1.0, 0.0), (4.0, 0.0, 0.0), (6.0, 0.0, 0.0), (9.0, 0.0, 3.0), (None, 2.0, 0.0)]
)
def test_seconds_are_right_between_those_of_reading_and_of_seeing(
    told: float | None, missed: float, extra: float
) -> None:
    seconds = None if told is None else {"Nike": told}
    found = score(TRUTH, {"Nike": [[2.0, 4.0], [3.0, 4.0]]}, 10.0, seconds)
    # Flow can be read for less than a second, and Puma never: their seconds do not count.
    [exposure] = found.exposures
    assert (exposure.legible_s, exposure.missed_s, exposure.extra_s) == (4.0, missed, extra)
    assert found.right_seconds == float(max(missed, extra) <= 0.4)


def test_names_are_compared_by_their_letters_in_every_script() -> None:
    assert folded("StarCasinò SPORT") == folded("starcasino-sport")
    assert folded("蒙牛") != folded("海信")
    assert folded("Alfred Müller") == "alfredmuller"


spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda s: sorted((s[0] / 2, s[1] / 2))), max_size=4
)


@given(nike=spans, puma=spans, visa=spans)
def test_brands_add_up_to_the_clip(nike: Any, puma: Any, visa: Any) -> None:
    found = {"Nike": nike, "Puma": puma, "Visa": visa}
    whole = score(TRUTH, found, 10.0)
    parts = [brand.score for brand in brand_scores(TRUTH, found, 10.0)]
    assert sum(part.hits + part.misses for part in parts) == whole.hits + whole.misses
    assert 0 <= whole.f1 <= 1
    assert whole.false_alarms == sum(part.false_alarms for part in parts)
    assert 0 <= covered_s(nike) <= sum(end - start for start, end in nike)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no JSON", "expected a report in JSON"),
        ("[]", "the report: "),
        ("{}", "brands: Field required"),
        ('{"brands": [{"intervals": []}]}', "brands[0].name"),
        ('{"brands": [{"name": "Nike", "intervals": [[3, 2]]}]}', "brands[0].intervals[0]"),
        ('{"brands": [{"name": "Nike", "intervals": [[-1, 2]]}]}', "brands[0].intervals[0][0]"),
        ('{"brands": [{"name": "Nike", "intervals": [[1, Infinity]]}]}', "brands[0].intervals[0][1]"),
        ('{"brands": [{"name": "Nike", "intervals": [], "seconds": "many"}]}', "brands[0].seconds"),
    ],
)
def test_what_is_no_report_is_told_with_its_place(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, "utf-8")
    with pytest.raises(BadInputError) as caught:
        read_report(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    score_reports.add_options(parser)
    return score_reports.main(parser.parse_args(arguments))


def perfect(truth: Any) -> dict[str, Any]:
    """A report that says the truth, in the fewest fields."""
    still = truth["kind"] == "still"
    legible = [brand for brand in truth["brands"] if brand["legible"]]
    return {"brands": [{"name": b["name"], "intervals": [[0, 0]] if still else b["legible_s"]} for b in legible]}


def test_reports_that_say_the_truth_are_perfect_in_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = truths()
    for stem, truth in known.items():
        (tmp_path / f"{stem}.json").write_text(json.dumps(perfect(truth)), "utf-8")
    assert command(str(tmp_path), "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["items"], figures["missing"]) == (len(known), [])
    everything = figures["tables"]["part"].pop("all")
    for rows in figures["tables"].values():
        assert sum(row["hits"] for row in rows.values()) == everything["hits"]
        for row in rows.values():
            assert (row["f1"], row["brands_false"], row["seconds_right"]) == (1, 0, 1)
    assert {"tune", "holdout"} == figures["tables"]["part"].keys()
    assert {"board", "jersey", "scorebug", "other"} == figures["tables"]["zone"].keys()
    assert list(figures["tables"]["text"]) == [
        *("up to 10 px", "up to 15 px", "up to 25 px", "up to 50 px", "over 50 px", "not to be read")
    ]


def test_missing_and_strange_reports_are_told_and_what_is_false_stands_in_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "black"
    folder.mkdir()
    report = {"schema": 1, "brands": [{"name": "Visa", "intervals": [[0, 2]], "seconds": 2}]}
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    (tmp_path / "elsewhere.json").write_text(json.dumps(report), "utf-8")
    assert command(str(tmp_path), "--each") == 0
    said = capsys.readouterr()
    assert "1 of 81 items" in said.out
    assert f"| {NOWHERE} | 0.000 | - | - | 0 of 0 | 1 |" in said.out
    assert "| black | 0.000 | - | - | 0 of 0 | 1 |" in said.out
    assert "not in the figures: adesueb_football, " in said.err
    assert "of no item of the benchmark, passed over: elsewhere" in said.err


def test_a_folder_without_reports_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(tmp_path)) == 2
    assert "report.json" in capsys.readouterr().err
    assert command(str(tmp_path / "nowhere")) == 2
    assert command(str(tmp_path), "--truth", str(tmp_path)) == 2
