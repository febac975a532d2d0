"""The report's list of text that is no known brand: one row a text, a guess where there is one, a line to import."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.reading_tracks import HEIGHT, WIDTH, documents, sampled, stage, track
from touchline.brands import BrandEntry, read_csv
from touchline.exposure.candidates import UNKNOWN
from touchline.report.html import render_html
from touchline.report.model import Report, SourceFacts, StageSummary
from touchline.stages.brand_report import BrandReportConfig, build_report
from touchline.stages.match_brands import MatchBrands
from touchline.values import MatchDocument, SceneFrame

FRAMES = 20


def report_of(
    found: Sequence[MatchDocument], *, max_unresolved: int = 30, stages: Sequence[StageSummary] = ()
) -> Report:
    return build_report(
        source=SourceFacts("match-0badcafe", "/videos/match.mp4", FRAMES / 2, 2.0),
        job_id="job",
        profile="soccer_broadcast",
        frames=[sampled(sequence) for sequence in range(FRAMES)],
        scenes=[SceneFrame(s, s / 2, 0, True, None, "", 90.0, 100.0) for s in range(FRAMES)],
        documents=found,
        load=lambda _: np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        stages=stages,
        config=BrandReportConfig(max_unresolved=max_unresolved, crop_width=64),
    )


def texts(worker: MatchBrands, *written: tuple[str, int]) -> list[MatchDocument]:
    """Each text in its own track for so many frames."""
    tracks = [
        track(i, text, (200, 60 + 40 * i), frames=range(count), zone="other") for i, (text, count) in enumerate(written)
    ]
    return documents(worker, *tracks)


def test_misreadings_and_pieces_of_a_text_are_one_row() -> None:
    written = ["ACQUISTA SU INTER.IT/TICKETS", "ACOUISTA SU INTER", "ACO.STA SU INTER.IT", "A SU INTER.IT/TICK"]
    others = ["IM MILANO", "M MILANO", "IMMILANC", "I MILANO", "MALTIGNANO"]
    found = texts(
        stage("Nike"),
        *((text, 12 - i) for i, text in enumerate(written)),
        *((text, 9 - i) for i, text in enumerate(others)),
    )
    report = report_of(found)
    assert [row.text for row in report.unresolved] == [written[0], others[0], others[-1]]
    assert [row.seconds for row in report.unresolved] == [5.75, 4.25, 2.25]


def test_what_is_listed_no_more_is_still_joined_by_its_misreadings() -> None:
    found = texts(stage("Nike"), ("MALTIGNANO", 9), ("SANT ANDRFA", 8), ("SANT ANDREA", 12))
    assert [row.text for row in report_of(found, max_unresolved=1).unresolved] == ["SANT ANDREA"]


def test_a_text_that_may_mean_a_brand_says_so_with_the_line_to_import(tmp_path: Path) -> None:
    found = texts(stage(BrandEntry.of("TIM")), ("ETIM", 9), ("MALTIGNANO, 3", 4))
    rows = report_of(found).unresolved
    assert [(row.text, row.perhaps, row.csv_line) for row in rows] == [
        ("ETIM", "TIM", "TIM,ETIM"),
        ("MALTIGNANO, 3", "", '"MALTIGNANO, 3",'),
    ]
    path = tmp_path / "lines.csv"
    path.write_text("\n".join(["canonical_name,aliases", *(row.csv_line for row in rows), ""]), "utf-8")
    assert [(e.name, e.aliases) for e in read_csv(path)] == [("TIM", ("ETIM",)), ("MALTIGNANO, 3", ())]


def test_a_guess_of_a_misreading_is_kept_with_its_own_text() -> None:
    found = texts(stage("Sportingbet"), ("sportngoty", 12), ("sportngbet", 4), ("sportingbte", 6))
    rows = {row.text: (row.perhaps, row.csv_line) for row in report_of(found).unresolved}
    assert ("Sportingbet", "Sportingbet,sportingbte") in rows.values()


def test_a_word_of_graphics_offers_no_line() -> None:
    mark = track(1, "VIVO", (1100, 60), zone="overlay")
    (row,) = report_of(documents(stage("vivo"), mark)).unresolved
    assert (row.text, row.perhaps, row.csv_line) == ("VIVO", "", "")
    assert "not counted as vivo" in row.reason


def test_the_page_offers_the_line_and_says_the_common_reason_once() -> None:
    mark = track(90, "VIVO", (1100, 60), zone="overlay")
    worker = stage("vivo", "TIM", 'A "B" & <C>')
    found = [*texts(worker, ("ETIM", 9), ("MALTIGNANO", 8), ('A "B" & <C> 7', 7)), *documents(worker, mark)]
    page = render_html(report_of(found))
    assert "perhaps TIM?" in page
    assert '<code class="line" title="The line for a list of brands">TIM,ETIM</code>' in page
    assert ">MALTIGNANO,</code>" in page
    assert UNKNOWN not in page
    assert page.count("a word of the broadcast&#39;s own graphics, not counted as vivo") == 1
    assert "touchline replay match-0badcafe --from match_brands" in page
    assert "<C>" not in page


def scripts(*entries: BrandEntry) -> dict[str, object]:
    return stage(*entries).stats()["brands_by_script"]


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (["Latin"], "2 brands can never be found, the recogniser reads no Arabic, Cyrillic or Han (أرامكو, Газпром)"),
        (["Han", "Latin"], "1 brand can never be found, the recogniser reads no Cyrillic (Газпром)"),
        (["Cyrillic", "Han", "Latin"], ""),
        (None, ""),
    ],
)
def test_the_report_warns_of_brands_without_any_spelling_that_is_read(read: list[str] | None, says: str) -> None:
    # Samsung is found by its Latin name, and the third by its second spelling where that script is read.
    entries = BrandEntry.of("Газпром"), BrandEntry.of("Samsung", ["삼성"]), BrandEntry.of("أرامكو", ["万达"])
    needed = scripts(*entries)
    ocr = {} if read is None else {"scripts": read}
    stages = [
        StageSummary("run_ocr", 1.0, 1, stats=ocr),
        StageSummary("match_brands", 1.0, 1, stats={"brands_by_script": needed}),
    ]
    warnings = report_of([], stages=stages).warnings
    assert len(warnings) == bool(says)
    assert says in "".join(warnings)


def test_a_report_of_checkpoints_that_tell_no_scripts_warns_of_none() -> None:
    stages = [StageSummary("run_ocr", 1.0, 1), StageSummary("match_brands", 1.0, 1)]
    assert report_of([], stages=stages).warnings == []


def test_the_line_of_every_row_is_one_line_of_csv() -> None:
    found = texts(stage("Nike"), ('SAY "HI", ALL', 4), ("ONE|TWO THREE", 3))
    for row in report_of(found).unresolved:
        assert len(list(csv.reader(io.StringIO(row.csv_line)))) == 1
