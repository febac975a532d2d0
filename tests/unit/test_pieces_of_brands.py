"""What is left over of a longer brand beside its whole, and text that may mean a brand."""

from __future__ import annotations

import pytest

from tests.support.reading_tracks import WIDTH, counted, documents, stage, track, unresolved
from touchline.brands import BrandBook, BrandEntry
from touchline.brands.suggest import Suggester
from touchline.stages.match_brands import deserialize, serialize


@pytest.mark.parametrize(
    ("piece", "whole"),
    [("anz", "Allianz"), ("TIM", "Optimum"), ("Ford", "Oxford Bank"), ("ING", "Booking.com"), ("Visa", "Envisage")],
)
def test_a_piece_in_the_row_of_its_whole_is_not_the_shorter_brand(piece: str, whole: str) -> None:
    seen = track(1, whole.upper(), (300, 400)), track(2, piece.upper(), (620, 400))
    found = documents(stage(piece, whole), *seen)
    assert counted(found) == {whole: 6}
    assert unresolved(found) == {}


def test_the_shorter_brand_on_a_board_of_its_own_counts() -> None:
    assert counted(documents(stage("anz", "Allianz"), track(1, "anz", (300, 400)))) == {"anz": 6}
    elsewhere = track(1, "ALLIANZ", (300, 400)), track(2, "ANZ", (620, 200))
    assert counted(documents(stage("anz", "Allianz"), *elsewhere)) == {"anz": 6, "Allianz": 6}
    later = track(1, "ALLIANZ", (300, 400)), track(2, "ANZ", (620, 400), frames=range(40, 46))
    assert counted(documents(stage("anz", "Allianz"), *later)) == {"anz": 6, "Allianz": 6}
    other_shot = track(1, "ALLIANZ", (300, 400)), track(2, "ANZ", (620, 400), frames=range(6, 9), shot=1)
    assert counted(documents(stage("anz", "Allianz"), *other_shot)) == {"anz": 3, "Allianz": 6}


def test_a_piece_that_is_a_word_of_its_own_counts_unless_the_edge_or_the_place_says_otherwise() -> None:
    brands = "Emirates", "Emirates NBD"
    beside = track(1, "EMIRATES NBD", (300, 400)), track(2, "EMIRATES", (500, 400))
    assert counted(documents(stage(*brands), *beside)) == {"Emirates": 6, "Emirates NBD": 6}
    cut = track(1, "EMIRATES NBD", (WIDTH - 300, 400)), track(2, "EMIRATES", (WIDTH - 96, 400))
    assert counted(documents(stage(*brands), *cut)) == {"Emirates NBD": 6}
    in_place = track(1, "EMIRATES NBD", (300, 400)), track(2, "EMIRATES", (300, 400), frames=[6])
    assert counted(documents(stage(*brands), *in_place)) == {"Emirates NBD": 6}


def test_misread_pieces_of_a_brand_on_screen_are_no_questions() -> None:
    brand = BrandEntry.of("StarCasinò Sport", ["starcasino.sport"])
    pieces = track(2, "star", (700, 300)), track(3, ".SPORT", (900, 420)), track(4, "stmrcas", (60, 500))
    found = documents(stage(brand), track(1, "starcasino.SPORT", (300, 400)), *pieces)
    assert set(unresolved(found)) == {"stmrcas"}
    alone = documents(stage(brand), *pieces)
    assert set(unresolved(alone)) == {"star", ".SPORT", "stmrcas"}


NAMES = ("TIM", "Nike", "Visa", "Veolia", "Hyundai", "Sportingbet", "Coca-Cola", "eFootball", "万达", "Next", "adidas")


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("ETIM", "TIM"),
        ("TIMI", "TIM"),
        ("NIKEE", "Nike"),
        ("QVEOLIA", "Veolia"),
        ("CONMEBOLHYUNDAI", "Hyundai"),
        ("HYUNDR", None),
        ("HYUNDAL SUV", "Hyundai"),
        ("sportingbte", "Sportingbet"),
        ("CocaCela", "Coca-Cola"),
        ("dOAS", None),
        ("adibas", "adidas"),
        ("大万达集", "万达"),
        ("FOOTBALL", None),
        ("TIMELESS", None),
        ("OPTIMISTA", None),
        ("SERIE A ETIM CUP", None),
        ("WISH", None),
        ("NEXTT", None),
        ("MALTIGNANO", None),
        ("", None),
    ],
)
def test_a_text_a_letter_away_from_a_brand_or_holding_it_may_mean_it(text: str, brand: str | None) -> None:
    found = Suggester(BrandBook.from_entries(map(BrandEntry.of, NAMES))).perhaps(text)
    assert (found.name if found else None) == brand


def test_a_guess_is_written_with_the_candidate_and_read_back_and_old_documents_have_none() -> None:
    candidate = unresolved(documents(stage("TIM"), track(1, "ETIM", (300, 400))))["ETIM"]
    assert candidate.perhaps == "TIM"
    written = serialize(candidate)
    assert deserialize(written) == candidate
    del written["perhaps"]
    assert getattr(deserialize(written), "perhaps", None) == ""


def test_the_text_counts_once_it_is_an_alias() -> None:
    found = documents(stage(BrandEntry.of("TIM", ["ETIM"])), track(1, "ETIM", (300, 400)))
    assert counted(found) == {"TIM": 6}
