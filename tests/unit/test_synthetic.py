"""The synthetic broadcast: the same every time, and truthful about what it shows."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from touchline.synthetic import CLIP, DEMO, Broadcast, Message, Rendered, Truth, render, truth_of, write_truth
from touchline.values import Quad

SCORE = Path(__file__).resolve().parents[3] / "shared" / "footage" / "score.py"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    path = tmp_path_factory.mktemp("synthetic") / "clip.mp4"
    return path, render(path, CLIP)


def digest(frame: Rendered) -> str:
    return hashlib.sha256(frame.image.tobytes()).hexdigest()


def middle_colour(frame: Rendered, quad: Quad) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The median colour along the top edge of a panel, just inside: its ground, without letters."""
    (x1, y1), (x2, y2), _, (_, y4) = quad
    parts = np.linspace(0.05, 0.95, 60)
    ys, xs = y1 + (y2 - y1) * parts + (y4 - y1) * 0.15, x1 + (x2 - x1) * parts
    inside = (xs >= 0) & (xs < frame.image.shape[1] - 1)
    return np.asarray(np.median(frame.image[ys[inside].astype(int), xs[inside].astype(int)], axis=0), np.float64)


def test_frames_are_the_same_in_any_order_and_any_run() -> None:
    first, second = Broadcast(CLIP), Broadcast(CLIP)
    forwards = {i: digest(first.frame(i)) for i in (0, 49, 50, 120)}
    backwards = {i: digest(second.frame(i)) for i in (120, 50, 49, 0)}
    assert forwards == backwards
    assert digest(Broadcast(replace(CLIP, seed=8)).frame(0)) != forwards[0]


def test_geometry_is_that_of_the_drawn_frame() -> None:
    broadcast = Broadcast(CLIP)
    for index in (10, 110):
        drawn, bare = broadcast.frame(index), broadcast.geometry(index)
        assert (drawn.panels, drawn.words, drawn.players, drawn.rows) == (
            bare.panels,
            bare.words,
            bare.players,
            bare.rows,
        )
        assert (drawn.covered == bare.covered).all() and not bare.image.any()


def test_panels_lie_where_they_are_drawn() -> None:
    frame = Broadcast(DEMO).frame(60)
    led = [panel for panel in frame.panels if panel.kind == "led"]
    painted = [panel for panel in frame.panels if panel.kind == "painted"]
    assert len(led) >= 4 and len(painted) >= 2
    for panel in led:
        assert np.abs(middle_colour(frame, panel.quad) - DEMO.led[0].messages[0].ground).max() < 30
    for panel in painted:
        assert np.abs(middle_colour(frame, panel.quad) - DEMO.painted[0].ground).max() < 30
    (x1, _), (x2, _), (x3, _), (x4, _) = frame.rows[0]
    assert (x1, x2, x3, x4) == (0.0, 1280.0, 1280.0, 0.0)


def test_the_led_row_changes_at_the_told_frame() -> None:
    broadcast = Broadcast(CLIP)
    brands = [{p.brand for p in broadcast.geometry(i).panels if p.kind == "led"} for i in (49, 50)]
    assert brands == [{"Qatar Airways"}, {"Pepsi"}]
    before, after = (broadcast.frame(i) for i in (49, 50))
    shared = before.panels[1].quad
    assert np.abs(middle_colour(before, shared) - middle_colour(after, shared)).max() > 50


def test_truth_of_the_clip_is_exact(clip: tuple[Path, Truth]) -> None:
    _, truth = clip
    found = {b.name: (b.where, b.visible_s, b.legible_s) for b in truth.brands}
    assert found == {
        "Pepsi": ("board", ((2.0, 4.0),), ((2.0, 4.0),)),
        "Qatar Airways": ("board", ((0.0, 2.0),), ((0.0, 2.0),)),
        "Turkish Airlines": ("jersey", ((4.0, 6.0),), ((4.0, 6.0),)),
    }
    assert truth.shot_cuts_s == (4.0,) and truth.duration_s == 6.0
    assert truth_of(CLIP, "clip.mp4") == truth


def test_a_word_half_outside_is_half_seen_and_a_small_one_is_not_legible() -> None:
    broadcast = Broadcast(replace(CLIP, players=0))
    words = [word for i in range(0, 50) for word in broadcast.geometry(i).words]
    cut = [word for word in words if word.quad[0][0] < 0 < word.quad[1][0]]
    assert cut
    for word in cut:
        left, right = word.quad[0][0], word.quad[1][0]
        assert word.seen == pytest.approx(right / (right - left), abs=0.06)
    far = replace(CLIP, shots=(replace(CLIP.shots[0], focal=(1.6, 1.6)),), jersey=None, duration_s=1.0)
    (brand,) = truth_of(far).brands
    assert brand.visible_s and not brand.legible


def test_players_cover_words_behind_them() -> None:
    broadcast, bare = Broadcast(DEMO), Broadcast(replace(DEMO, players=0))
    shares = []
    for index in range(0, 320, 4):
        pairs = zip(broadcast.geometry(index).words, bare.geometry(index).words, strict=True)
        shares += [(word.seen, free.seen) for word, free in pairs]
    assert all(seen <= free for seen, free in shares)
    assert any(seen < 0.9 * free for seen, free in shares)


def test_the_file_is_h264_of_the_told_length(clip: tuple[Path, Truth]) -> None:
    path, _ = clip
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = list(container.decode(stream))
    assert len(frames) == 150
    original = Broadcast(CLIP).frame(100).image.astype(float)
    decoded = frames[100].to_ndarray(format="bgr24").astype(float)
    assert np.abs(original - decoded).mean() < 6


def test_a_sponsor_in_the_overlay_counts_all_the_time() -> None:
    spec = replace(
        CLIP, overlay_sponsor=Message("SANTANDER", "Santander", (255, 255, 255), (0, 0, 200)), height=720, width=1280
    )
    truth = truth_of(replace(spec, duration_s=1.0))
    (brand,) = [b for b in truth.brands if b.name == "Santander"]
    assert brand.where == "scorebug" and brand.legible_s == ((0.0, 1.0),)
    assert Broadcast(spec).frame(0).image[75:100, 60:340].max() > 200


def test_demo_shows_six_sponsors_and_names_what_is_none() -> None:
    truth = truth_of(replace(DEMO, fps=5), "demo.mp4")
    assert [b.name for b in truth.brands if b.legible] == [
        "Adidas", "Heineken", "Mastercard", "Pepsi", "Qatar Airways", "Turkish Airlines",
    ]  # fmt: skip
    assert "TICKETS ON SALE NOW" in truth.distractors and truth.shot_cuts_s == (13.0, 17.0)


@pytest.mark.skipif(not SCORE.is_file(), reason="the footage's score.py is not beside this checkout")
def test_score_runs_on_the_truth(clip: tuple[Path, Truth], tmp_path: Path) -> None:
    _, truth = clip
    write_truth(tmp_path / "clip.json", truth)
    document = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    module = importlib.util.spec_from_file_location("score", SCORE)
    assert module is not None and module.loader is not None
    score = importlib.util.module_from_spec(module)
    module.loader.exec_module(score)
    report = {"brands": [{"name": b.name, "intervals": [list(i) for i in b.legible_s]} for b in truth.brands]}
    perfect = score.score_clip(document, report)
    assert perfect["fp"] == perfect["fn"] == 0 and perfect["tp"] >= 3 and perfect["brands_hit"] == 3
    assert score.score_clip(document, {"brands": []})["fn"] == perfect["tp"]


def test_a_frame_beyond_the_end_is_refused() -> None:
    with pytest.raises(IndexError, match="150"):
        Broadcast(CLIP).geometry(150)
