"""The CSV files add up to the report, to the millisecond, and put together they stay apart by match."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_report import HEIGHT, HOSTILE, WIDTH, detected, picture, report_of, scene
from touchline.report import Report, SourceFacts, StageSummary, render_csv, render_summary
from touchline.report.tables import BOM, COLUMNS, SUMMARY_COLUMNS
from touchline.stages.brand_report import BrandReportConfig, build_report
from touchline.values import MatchDocument, SampledFrame, SceneFrame, Zone

DETECTOR = StageSummary("detect_objects", 0.1, 40, False, {"model": "yolo", "people": True})


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith(BOM), "Excel takes it for UTF-8"
    return list(csv.DictReader(io.StringIO(text.removeprefix(BOM))))


def added(rows: list[dict[str, str]], brand: str, zone: str = "") -> Decimal:
    """What a spreadsheet's SUMIFS gives."""
    own = [row for row in rows if row["brand"] == brand and (not zone or zone in row["zone"].split("+"))]
    return sum((Decimal(row["seconds"]) for row in own), Decimal(0))


def test_a_moment_in_two_zones_is_one_row_that_names_both() -> None:
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4, 14)]
    documents += [detected(i, "Fenwick Tyres", (430, 300, 520, 340), "overlay") for i in range(8, 20)]
    report = report_of(documents, stages=[DETECTOR])
    rows = rows_of(render_csv(report))
    assert [(row["zone"], row["start_s"], row["end_s"], row["seconds"]) for row in rows] == [
        ("board", "1.75", "3.75", "2.0"),
        ("board+overlay", "3.75", "6.75", "3.0"),
        ("overlay", "6.75", "9.75", "3.0"),
    ]
    [brand] = report.brands
    assert brand.seconds == 8.0
    assert (brand.zones["board"], brand.zones["overlay"]) == (5.0, 6.0)
    both = (300 * 60 + 90 * 40) / (WIDTH * HEIGHT)
    assert abs(float(rows[1]["screen_share"]) - both) < 1e-6
    assert [s.zone for s in brand.stretches] == ["board", "overlay"], "stretches go by zone, and may overlap"


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Reports of sources with an odd clock, whose times are no round milliseconds."""
    base = draw(st.sampled_from([(1001, 30_000), (1, 90_000), (1, 25), (1001, 24_000)]))
    steps = draw(st.lists(st.integers(1, 40), min_size=20, max_size=20))
    stamps = [sum(steps[:i]) * (3600 if base[1] == 90_000 else 1) for i in range(20)]
    at = [pts * base[0] / base[1] for pts in stamps]
    cuts = draw(st.lists(st.booleans(), min_size=20, max_size=20))
    kept = draw(st.lists(st.booleans(), min_size=20, max_size=20))
    zones: st.SearchStrategy[Zone] = st.sampled_from(("board", "jersey", "overlay", "other"))
    seen = draw(st.lists(st.tuples(st.integers(0, 19), st.sampled_from("ab"), zones), min_size=1, max_size=60))
    boxes: dict[Zone, tuple[float, float, float, float]] = {
        "board": (0, 0, 90, 40),
        "jersey": (100, 0, 190, 40),
        "overlay": (200, 0, 290, 40),
        "other": (300, 0, 390, 40),
    }
    scenes = []
    for i in range(20):
        black = not kept[i] and not any(sequence == i for sequence, _, _ in seen)
        scenes.append(SceneFrame(i, at[i], sum(cuts[: i + 1]), not black, None, "black" if black else "", 100.0, 100.0))
    return build_report(
        source=SourceFacts("a-match-12345678", "league/A match.mp4", at[-1] + 0.3333, 2.0, 29.97, "h264"),
        job_id="job",
        profile="soccer_broadcast",
        frames=[SampledFrame(i, 0, round(at[i], 6), stamps[i], base, WIDTH, HEIGHT, "", "", 0) for i in range(20)],
        scenes=scenes,
        documents=[detected(i, brand, boxes[zone], zone) for i, brand, zone in seen],
        load=picture,
        stages=draw(st.sampled_from([[DETECTOR], []])),
        config=BrandReportConfig(evidence_per_brand=0, bridge_gap_s=draw(st.sampled_from([0.0, 0.3, 1.0]))),
    )


@settings(deadline=None, max_examples=200)
@given(reports())
def test_plain_sums_of_the_rows_are_the_figures_of_the_report(report: Report) -> None:
    rows, summary = rows_of(render_csv(report)), rows_of(render_summary(report))
    assert [row["brand"] for row in summary] == [brand.name for brand in report.brands]
    for brand, line in zip(report.brands, summary, strict=True):
        assert added(rows, brand.name) == Decimal(str(brand.seconds)) == Decimal(line["seconds"])
        assert sum((Decimal(str(b)) - Decimal(str(a)) for a, b in brand.intervals), Decimal(0)) == added(
            rows, brand.name
        )
        for zone, seconds in brand.zones.items():
            assert added(rows, brand.name, zone) == Decimal(str(seconds)) == Decimal(line[f"{zone}_s"])
        own = [row for row in rows if row["brand"] == brand.name]
        for row in own:
            assert Decimal(row["end_s"]) - Decimal(row["start_s"]) == Decimal(row["seconds"])
            assert all(0 <= float(row[name]) <= 1 for name in ("screen_share", "visibility", "confidence"))
        assert all(Decimal(a["end_s"]) <= Decimal(b["start_s"]) for a, b in pairwise(own)), "rows never overlap"


def test_a_still_is_one_row_of_no_length_in_all_its_zones() -> None:
    documents = [detected(0, "Fenwick Tyres"), detected(0, "Fenwick Tyres", (430, 300, 520, 340), "overlay")]
    report = report_of(documents, count=1, still=True, stages=[DETECTOR])
    [row] = rows_of(render_csv(report))
    assert (row["zone"], row["start_s"], row["end_s"], row["seconds"]) == ("board+overlay", "0.0", "0.0", "0.0")
    [line] = rows_of(render_summary(report))
    assert (line["seconds"], line["occurrences"], line["share_of_video"], line["share_of_exposure"]) == (
        *("0.0", "1"),
        *("0.0", "0.0"),
    )


def test_rows_name_their_match_and_no_text_is_a_formula() -> None:
    documents: list[MatchDocument] = [detected(i, name) for i in range(4) for name in ("Caffè Söder", HOSTILE, "+1\n")]
    scenes = [scene(i) for i in range(40)]
    report = report_of(documents, scenes=scenes, stages=[DETECTOR])
    for text, columns in ((render_csv(report), COLUMNS), (render_summary(report), SUMMARY_COLUMNS)):
        rows = rows_of(text)
        assert tuple(rows[0]) == columns
        assert {row["brand"] for row in rows} == {"Caffè Söder", "'" + HOSTILE, "'+1\n"}
        assert {(row["video"], row["source"]) for row in rows} == {("A match.mp4", "a-match-12345678")}
    assert COLUMNS[:8] == ("brand", "zone", "start_s", "end_s", "seconds", "screen_share", "visibility", "confidence")


def test_the_summary_gives_each_figure_of_a_brand() -> None:
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4, 14)]
    documents += [detected(i, "Orbit Air", (430, 300, 520, 340), "jersey") for i in range(10, 14)]
    report = report_of(documents, stages=[DETECTOR])
    fenwick, orbit = rows_of(render_summary(report))
    expected: dict[str, Any] = {
        **{"brand": "Fenwick Tyres", "seconds": 5.0, "board_s": 5.0, "jersey_s": 0.0, "overlay_s": 0.0, "other_s": 0.0},
        **{"board_or_jersey_s": 0.0, "solus_seconds": 3.0, "occurrences": 1, "share_of_video": 0.25},
        **{"share_of_exposure": round(5 / 7, 6), "first_s": 1.75, "last_s": 6.75, "identified_by": "ocr"},
        **{"duration_s": 20.0, "job_id": report.job_id, "brand_id": "id of Fenwick Tyres"},
        **report.brands[0].factors,
    }
    assert {name: fenwick[name] for name in expected} == {name: str(value) for name, value in expected.items()}
    assert (orbit["jersey_s"], orbit["screen_share_max"]) == ("2.0", str(report.brands[1].screen_share["max"]))
