"""The report: built from documents, written as JSON, HTML and CSV."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from touchline.errors import CheckpointError, TouchlineError
from touchline.geometry import box_quad
from touchline.report import Report, SourceFacts, StageSummary, render_html, render_json, write_report
from touchline.report.html import clock, length, percent
from touchline.stages.brand_report import BrandReportConfig, build_report
from touchline.values import (
    BrandDetection,
    Image,
    MatchDocument,
    Quad,
    SampledFrame,
    SceneFrame,
    UnresolvedCandidate,
    Zone,
)
from touchline.vision.crops import cut, evidence, jpeg_within

WIDTH, HEIGHT = 960, 540
HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> \"x\" & 'y'"


def sampled(sequence: int, rate: int = 2) -> SampledFrame:
    pts = sequence * 90_000 // rate
    return SampledFrame(
        sequence, sequence // 120, round(pts / 90_000, 6), pts, (1, 90_000), WIDTH, HEIGHT, f"k{sequence}", "0" * 64, 9
    )


def scene(sequence: int, shot: int = 0, kept: bool = True, represented_by: int | None = None) -> SceneFrame:
    return SceneFrame(sequence, sequence / 2, shot, kept, represented_by, "" if kept else "duplicate", 120.0, 300.0)


def detected(
    sequence: int, name: str, box: tuple[float, float, float, float] = (100, 120, 400, 180), zone: Zone = "board"
) -> BrandDetection:
    return BrandDetection(
        sequence=sequence,
        timestamp=sequence / 2,
        shot=0,
        track=1,
        brand_id=f"id of {name}",
        brand_name=name,
        source="ocr",
        text=name.upper(),
        confidence=0.9,
        quad=box_quad(box),
        zone=zone,
        unoccluded=0.95,
        clarity=0.8,
    )


def candidate(text: str, sequences: Sequence[int], confidence: float = 0.9, track: int = 7) -> UnresolvedCandidate:
    quads: list[Quad] = [box_quad((300, 300, 520, 340))] * len(sequences)
    return UnresolvedCandidate(
        track=track,
        shot=0,
        text=text,
        confidence=confidence,
        zone="board",
        sequences=tuple(sequences),
        timestamps=tuple(s / 2 for s in sequences),
        quads=tuple(quads),
        best_sequence=sequences[len(sequences) // 2],
        best_quad=quads[0],
        reason="no known brand has this spelling",
    )


def picture(sequence: int) -> Image:
    """A frame that is not trivial to compress: a noisy pitch with a light board on it."""
    noise = np.random.default_rng(sequence).integers(0, 50, (HEIGHT, WIDTH, 3))
    image: Image = (noise + np.array([40, 110, 50])).astype(np.uint8)
    cv2.rectangle(image, (60, 100), (700, 200), (235, 235, 235), -1)
    cv2.putText(image, "FENWICK TYRES", (100, 175), cv2.FONT_HERSHEY_SIMPLEX, 1.8, (30, 30, 160), 4, cv2.LINE_AA)
    return image


def report_of(
    documents: Sequence[MatchDocument],
    *,
    count: int = 40,
    scenes: Sequence[SceneFrame] | None = None,
    stages: Sequence[StageSummary] = (),
    config: BrandReportConfig | None = None,
    still: bool = False,
    load: Callable[[int], Image] = picture,
) -> Report:
    return build_report(
        source=SourceFacts(
            key="a-match-12345678",
            path="league/A match.mp4",
            duration_s=0.0 if still else count / 2,
            sample_fps=2.0,
            fps=25.0,
            codec="h264",
            is_image=still,
        ),
        job_id="00000000-0000-0000-0000-000000000001",
        profile="soccer_broadcast",
        frames=(sampled(i) for i in range(count)),
        scenes=scenes if scenes is not None else [scene(i) for i in range(count)],
        documents=documents,
        load=load,
        stages=stages,
        config=config,
    )


@pytest.fixture(scope="module")
def match() -> Report:
    """Twenty seconds, two shots, three brands (one with a hostile name), unresolved text, warnings."""
    documents: list[MatchDocument] = [detected(i, "Fenwick Tyres") for i in range(4, 14)]
    documents += [detected(i, "Orbit Air", (420, 120, 690, 180)) for i in range(8, 12)]
    documents += [detected(i, "Orbit Air", (430, 300, 520, 340), "jersey") for i in range(24, 28)]
    documents += [detected(i, HOSTILE, (20, 20, 120, 50), "overlay") for i in range(30, 33)]
    documents += [candidate("Tickets <b>here</b>", range(2, 9)), candidate("tickets here", [20], track=9)]
    scenes = [scene(i, shot=int(i >= 20)) for i in range(40)]
    stages = [
        StageSummary("extract_frames", 1.25, 40, False, {"warnings": ["the video breaks off at <20> s"]}),
        StageSummary("detect_objects", 0.01, 40, True, {"model": "yolo", "people": True}),
        StageSummary("escalate_vlm", 0.01, 40, False, {"skipped": "no endpoint answers"}),
        StageSummary("escalate_cloud", 0.2, 12, False, {"outcome": "not configured", "cost_usd": 0.25, "skipped": 3}),
    ]
    return report_of(documents, scenes=scenes, stages=stages)


def test_report_json_carries_exactly_the_contracted_fields_and_the_documented_additions(match: Report) -> None:
    data = json.loads(render_json(match))
    contracted = {
        *("schema", "source", "video_path", "duration_s", "sample_fps", "job_id", "profile", "brands", "unresolved"),
        *("stages", "cost_usd", "warnings"),
    }
    assert set(data) == contracted | {"media", "cuts", "branded_seconds", "unresolved_total", "files"}
    assert data["schema"] == 1
    assert data["source"] == "a-match-12345678"
    assert data["duration_s"] == 20.0
    brand = data["brands"][0]
    assert set(brand) == {
        *("name", "brand_id", "source", "seconds", "intervals", "zones", "solus_seconds", "screen_share", "visibility"),
        *("factors", "confidence", "occurrences", "evidence"),
        *("stretches", "segments"),
    }
    assert set(brand["zones"]) == {"board", "jersey", "overlay", "other", "board_or_jersey"}
    assert set(brand["screen_share"]) == {"mean", "max"}
    assert set(brand["factors"]) == {"size", "position", "clarity", "unoccluded", "share_of_voice"}
    assert {"t", "crop"} <= set(brand["evidence"][0])
    assert {"text", "seconds", "intervals", "crop", "reason"} <= set(data["unresolved"][0])
    assert set(data["stages"]["detect_objects"]) == {"wall_s", "items", "reused", "note"}


def test_seconds_zones_solus_and_occurrences_of_a_known_case(match: Report) -> None:
    fenwick, orbit, hostile = match.brands
    assert (fenwick.name, fenwick.intervals, fenwick.seconds) == ("Fenwick Tyres", [[1.75, 6.75]], 5.0)
    assert orbit.intervals == [[3.75, 5.75], [11.75, 13.75]]
    assert orbit.occurrences == 2
    assert orbit.zones == {"board": 2.0, "jersey": 2.0, "overlay": 0.0, "other": 0.0, "board_or_jersey": 0.0}
    assert (fenwick.solus_seconds, orbit.solus_seconds, hostile.solus_seconds) == (3.0, 2.0, 1.5)
    assert match.branded_seconds == 5.0 + 2.0 + 1.5
    assert match.cuts == [9.75]
    assert fenwick.factors["share_of_voice"] < 1
    assert hostile.factors["share_of_voice"] == 1
    product = np.prod(list(fenwick.factors.values()))
    assert fenwick.visibility == pytest.approx(product, abs=2e-4)


def test_evidence_is_small_well_apart_and_shows_the_brand(match: Report) -> None:
    for brand in match.brands:
        times = [shot.t for shot in brand.evidence]
        assert 1 <= len(times) <= 3
        assert times == sorted(set(times))
        for shot in brand.evidence:
            jpeg = base64.b64decode(shot.crop.removeprefix("data:image/jpeg;base64,"))
            assert len(jpeg) <= 20_000
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image.shape[1] <= 480
    orbit = match.brands[1].evidence
    assert orbit[0].t < 7, "the first stretch is shown"
    assert orbit[-1].t > 11, "and so is the second"


def test_unresolved_texts_are_grouped_over_tracks_and_most_important_first() -> None:
    documents = [
        candidate("Some banner", [1, 2], 0.9, track=1),
        candidate("ACQUISTA ORA", range(4, 12), 0.8, track=2),
        candidate("acquista öra", range(20, 24), 0.95, track=3),
        candidate("ACOUISTA ORA", [30], 0.7, track=4),
    ]
    report = report_of(documents, config=BrandReportConfig(max_unresolved=2))
    assert [row.text for row in report.unresolved] == ["acquista öra", "Some banner"]
    assert report.unresolved[0].intervals == [[1.75, 5.75], [9.75, 11.75], [14.75, 15.25]]
    assert report.unresolved_total == 2
    capped = report_of(documents, config=BrandReportConfig(max_unresolved=1))
    assert (len(capped.unresolved), capped.unresolved_total) == (1, 2)
    assert "2, the first 1 shown" in render_html(capped)
    assert "the first" not in render_html(report)


def test_warnings_come_from_the_stages_and_not_configured_is_only_noted(match: Report) -> None:
    assert match.warnings == [
        "the video breaks off at <20> s",
        "escalate_vlm was skipped: no endpoint answers",
    ]
    assert match.stages["escalate_cloud"].note == "not configured"
    assert match.cost_usd == 0.25
    assert match.stages["detect_objects"].reused


def test_a_still_with_a_brand_has_one_interval_of_no_length() -> None:
    report = report_of([detected(0, "Fenwick Tyres"), candidate("banner", [0])], count=1, still=True)
    brand = report.brands[0]
    assert (brand.intervals, brand.seconds, brand.occurrences) == ([[0.0, 0.0]], 0.0, 1)
    assert brand.screen_share["mean"] == pytest.approx(300 * 60 / (WIDTH * HEIGHT), rel=1e-4)
    assert brand.visibility > 0
    assert report.duration_s == 0.0
    assert report.unresolved[0].intervals == [[0.0, 0.0]]


class _Page(HTMLParser):
    """Collects tags, and all attributes through which a page could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.targets += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        assert not any(name.startswith("on") for name, _ in attrs), "no inline handlers"


def test_the_page_is_self_contained_and_hostile_names_stay_text(match: Report) -> None:
    html = render_html(match)
    page = _Page()
    page.feed(html)
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "base", "b-here"})
    assert all(target.startswith(("data:image/jpeg;base64,", "#")) for target in page.targets)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>here</b>" not in html
    assert "breaks off at &lt;20&gt; s" in html
    assert html.count("<rect") == sum(len(brand.stretches) for brand in match.brands)


def test_a_report_without_brands_says_so() -> None:
    html = render_html(report_of([]))
    assert "No known brand was read in this video" in html
    assert "<rect" not in html


def test_the_files_are_written_and_nothing_else(match: Report, tmp_path: Path) -> None:
    paths = write_report(match, tmp_path / "deep" / "A match")
    names = sorted(p.name for p in paths[0].parent.iterdir())
    assert names == sorted(match.files) == ["exposures.csv", "report.html", "report.json", "summary.csv"]
    assert json.loads(paths[0].read_text(encoding="utf-8"))["brands"][2]["name"] == HOSTILE
    assert paths[1].read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_same_documents_in_another_order_give_the_same_report() -> None:
    documents: list[MatchDocument] = [detected(i, name) for i in range(3, 9) for name in ("A brand", "B brand")]
    documents += [candidate("one", [1, 2]), candidate("two", [3, 4])]
    assert render_json(report_of(documents)) == render_json(report_of(documents[::-1]))


def test_each_frame_is_loaded_once_however_many_brands_it_shows() -> None:
    loaded: list[int] = []

    def load(sequence: int) -> Image:
        loaded.append(sequence)
        return picture(sequence)

    report_of([detected(5, name) for name in ("A", "B", "C")], load=load)
    assert loaded == [5]


def test_documents_of_another_job_are_refused() -> None:
    with pytest.raises(CheckpointError, match="frame 99, which extract_frames did not sample"):
        report_of([detected(99, "Fenwick Tyres")])


@pytest.mark.parametrize("box", [(-50, -50, 20, 10), (900, 500, 1100, 700), (2000, 2000, 2010, 2005), (5, 5, 5, 5)])
def test_crops_at_and_beyond_the_edge_are_pictures(box: tuple[float, float, float, float]) -> None:
    quad = box_quad(box)
    assert min(cut(picture(0), quad)[0].shape[:2]) >= 1
    crop = evidence(picture(0), quad)
    assert crop.shape[1] <= 480
    assert len(jpeg_within(crop, 20_000)) <= 20_000


def test_a_crop_that_cannot_be_small_enough_is_an_error() -> None:
    with pytest.raises(TouchlineError, match="crop_bytes"):
        jpeg_within(picture(0), 100)


def test_labels_of_times_and_shares() -> None:
    assert [clock(0), clock(59.96), clock(3600, 0)] == ["0:00.0", "1:00.0", "1:00:00"]
    assert [length(0), length(119.9), length(3700)] == ["0.0 s", "119.9 s", "1 h 01 min"]
    assert [percent(0), percent(0.5), percent(0.0123), percent(0.0001)] == ["0 %", "50 %", "1.2 %", "0.01 %"]
