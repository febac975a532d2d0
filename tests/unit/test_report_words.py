"""What the report says in words is so: boards and shirts, stills, sums, who reads which part of the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.unit.test_report import candidate, detected, report_of, scene
from touchline.report import Report, StageSummary, render_html
from touchline.report.html import MEASURED_ERROR, ZONE_LABELS, ZONE_MEANINGS
from touchline.report.model import ZONE_WORDS
from touchline.stages.brand_report import BOARD_OR_SHIRT
from touchline.values import MatchDocument
from touchline_cli.session import brand_table

DETECTOR = StageSummary("detect_objects", 0.1, 40, False, {"people": True, "model": "yolo", "objects": {}})
NONE = StageSummary(
    "detect_objects", 0.1, 40, False, {"people": False, "skipped": "no yolo11n.pt here; set TOUCHLINE_YOLO_WEIGHTS"}
)


def shown(html: str) -> str:
    """The page without styles, pictures and what is folded away."""
    html = re.sub(r"(?s)<style>.*?</style>|<details>.*?</details>", "", html)
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        pytest.param([DETECTOR], True, id="a detector that found nobody"),
        pytest.param([StageSummary("detect_objects", 0, 9, True, {"model": "yolo"})], True, id="an older checkpoint"),
        pytest.param([NONE], False, id="no detector"),
        pytest.param([replace(DETECTOR, stats={"people": False, "model": "balls"})], False, id="one without people"),
        pytest.param([], False, id="nothing known of it"),
    ],
)
def test_a_board_is_claimed_only_where_somebody_looked_for_people(stage: list[StageSummary], told: bool) -> None:
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4)]
    documents += [detected(i, "Orbit Air", (430, 300, 520, 340), "overlay") for i in range(4)]
    report = report_of([*documents, candidate("Tickets", [1, 2])], stages=stage)
    zone = "board" if told else "board_or_jersey"
    fenwick = next(brand for brand in report.brands if brand.name == "Fenwick Tyres")
    orbit = next(brand for brand in report.brands if brand.name == "Orbit Air")
    assert {name for name, seconds in fenwick.zones.items() if seconds} == {zone}
    for shown_zones in (fenwick.stretches, fenwick.segments, fenwick.evidence):
        assert {s.zone for s in shown_zones} == {zone}
    assert report.unresolved[0].zone == zone
    assert {s.zone for s in orbit.stretches} == {"overlay"}
    assert (BOARD_OR_SHIRT in report.warnings) is not told
    page = shown(render_html(report))
    assert ("Board or shirt" in page) is not told
    assert ("Boards" in page.replace("Boards and shirts are not", "")) is told


def test_commands_in_messages_are_shown_as_such_and_nothing_of_a_message_is_markup() -> None:
    said = "`touchline run <b>x</b>` & `y`; an odd ` stays, <i>as it is</i>"
    stage = StageSummary("detect_objects", 0.1, 1, False, {"people": True, "skipped": said, "warnings": [said]})
    page = render_html(report_of([detected(0, "Fenwick Tyres")], stages=[stage]))
    told = "<code>touchline run &lt;b&gt;x&lt;/b&gt;</code> &amp; <code>y</code>; an odd ` stays, &lt;i&gt;as it is"
    assert page.count(told) == 2


def test_why_there_is_no_detector_is_for_those_who_made_the_report() -> None:
    html = render_html(report_of([detected(1, "Fenwick Tyres")], stages=[NONE]))
    assert "TOUCHLINE_YOLO_WEIGHTS" in html
    for technical in ("TOUCHLINE", "yolo11n", "a-match-12345678", "league/", "00000000-0000", "soccer_broadcast"):
        assert technical not in shown(html)
    assert "<h1>A match</h1>" in html
    assert "<title>A match · brand exposure</title>" in html


def test_a_report_without_brands_does_not_warn_of_what_concerns_none() -> None:
    assert report_of([], stages=[NONE]).warnings == []


def bars(html: str) -> dict[str, tuple[float, list[tuple[list[str], float]]]]:
    """By brand: width of its bar, and zones and width of each part [percent]."""
    found = {}
    for row in re.findall(r"(?s)<tr>\s*<td class=\"name\">.*?</tr>", html):
        name = re.findall(r"<a [^>]*>([^<]+)</a>", row)[0]
        width = float(re.findall(r"<i style=\"width:([\d.]+)%\">", row)[0])
        parts = re.findall(r"<u style=\"width:([\d.]+)%\"[^>]*>(.*?)</u>", row)
        found[name] = (width, [(re.findall(r"<s class=\"(\w+)\"", inner), float(part)) for part, inner in parts])
    return found


def test_the_bars_are_as_long_as_the_seconds_and_overlap_is_not_counted_twice() -> None:
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4, 14)]
    documents += [detected(i, "Fenwick Tyres", (430, 300, 520, 340), "overlay") for i in range(10, 18)]
    documents += [detected(i, "Orbit Air", (430, 400, 520, 440), "other") for i in range(20, 27)]
    report = report_of(documents, stages=[DETECTOR])
    found = bars(render_html(report))
    assert found["Fenwick Tyres"] == (
        100.0,
        [(["board"], 42.86), (["board", "overlay"], 28.57), (["overlay"], 28.57)],
    )
    assert found["Orbit Air"] == (50.0, [(["other"], 100.0)])


def test_the_seconds_of_each_zone_stand_on_the_page_as_figures() -> None:
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4, 14)]
    documents += [detected(i, "Fenwick Tyres", (430, 300, 520, 340), "overlay") for i in range(10, 18)]
    html = render_html(report_of(documents, stages=[DETECTOR]))
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", html)
    assert heads[:5] == ["Brand", "On screen", "Boards", "Overlays", "Of video"], "zones without a brand have none"
    assert re.findall(r"<td class=\"n\">([\d.]+ s)</td>", html)[:2] == ["5.0 s", "4.0 s"]


def test_the_page_says_how_far_seconds_may_be_off_as_the_benchmark_measured_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text("utf-8")
    cells = [cell.strip() for cell in re.findall(r"(?m)^\| Touchline \|(.*)\|$", page)[0].split("|")]
    assert [f"{error:.0%}" for error in MEASURED_ERROR] == cells[-3:-1], "docs/benchmarks.md has other figures"
    html = render_html(report_of([detected(1, "Fenwick Tyres")]))
    assert "Seconds are estimates" in html
    assert "64 % of the brands were within 10 % of their true seconds, and 21 % of all seconds" in html


def still() -> Report:
    documents = [detected(0, "Fenwick Tyres"), detected(0, "Orbit Air", (430, 300, 520, 340), "jersey")]
    return report_of([*documents, candidate("banner", [0])], count=1, still=True, stages=[DETECTOR])


def test_a_still_says_where_its_brands_are_and_speaks_of_no_seconds() -> None:
    html = shown(render_html(still()))
    assert "still picture" in html
    assert re.findall(r"<td>(Boards|Jerseys)</td>", html) == ["Boards", "Jerseys"]
    assert not re.search(r"\d s\b|0:00|\bvideo\b", html)


def printed(report: dict[str, Any]) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(brand_table(report, "Brands"))
    return captured.get()


def test_the_terminals_table_says_where_though_a_still_has_no_seconds() -> None:
    text = printed(still().to_json())
    assert re.search(r"Fenwick Tyres\s*│ board\s*│\s*still", text)
    assert re.search(r"Orbit Air\s*│ jersey", text)
    text = printed(report_of([detected(1, "Fenwick Tyres")]).to_json())
    assert re.search(r"Fenwick Tyres\s*│ board or shirt\s*│\s*0.5", text)


def test_every_zone_has_a_label_a_meaning_and_a_word() -> None:
    report = report_of([detected(1, "Fenwick Tyres")], scenes=[scene(i) for i in range(40)])
    assert set(ZONE_LABELS) == set(ZONE_MEANINGS) == set(ZONE_WORDS) == set(report.brands[0].zones)


def test_time_labels_are_thinned_out_where_there_is_little_room() -> None:
    html = render_html(report_of([detected(1, "Fenwick Tyres")], count=90))
    ranks = re.findall(r"<span class=\"rank(\d)\" style=\"left:[\d.]+%\">([\d:]+)</span>", html)
    assert ranks == [
        *[("0", "0:00"), ("2", "0:05"), ("1", "0:10"), ("2", "0:15"), ("0", "0:20")],
        *[("2", "0:25"), ("1", "0:30"), ("2", "0:35"), ("0", "0:40"), ("2", "0:45")],
    ]
