"""LIVE in other languages, NEXT MATCH, SHOTS ON TARGET: words of broadcast graphics that are names of brands too."""

from __future__ import annotations

import bson
import pytest

from tests.support.reading_tracks import chunk_of, counted, documents, stage, track, unresolved
from touchline.brands import BrandBook, BrandEntry, BrandMatcher
from touchline.brands.graphics import BY_LANGUAGE, is_graphic
from touchline.stages.match_brands import MatchBrands, MatchBrandsConfig
from touchline.values import BrandDetection

PAN = (-40.0, 6.0)
"""How far the camera carries what stands in the stadium from frame to frame [pixels]."""


def boards(first: int = 50) -> list[list]:
    """What moves with the camera."""
    return [
        track(first, "HEINEKEN", (300, 400), move=PAN),
        track(first + 1, "MALTIGNANO", (700, 300), move=PAN),
        track(first + 2, "TICKETS", (900, 420), move=PAN),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ESPN VIVO",
            "EN VIVO",
            "AO VIVO",
            "FOX SPORTS VIVO",
            "ESPN DEPORTES EN VIVO",
            "VIVO SporTV",
            "GLOBO AO VIVO",
        ),
        *("TNT SPORTS | VIVO", "VIVO GOLTV", "Ao Vivo HD", "PARTIDO EN VIVO", "VIVO 2T DESCANSO"),
        *("NEXT MATCH", "COMING UP NEXT", "TOTAL SHOTS 12", "SHOTS ON TARGET", "ON TARGET 4 SHOTS", "TOTAL PASSES"),
        *("EN DIRECT", "DIRECT beIN SPORTS", "IN DIRETTA", "DIRETTA SKY SPORT", "EN DIRECTO MOVISTAR", "DIRECTO GOL"),
        *("REPLAY HALF TIME", "LIVE SCORE", "NA ŻYWO TVP", "CANLI YAYIN", "TRT CANLI", "直播 回放", "CCTV 直播"),
    ],
)
def test_a_phrase_of_graphics_names_no_brand(text: str) -> None:
    names = "vivo|Next|Total|Target|Direct|Diretta|Directo|Replay|Live|Żywo|Canlı|直播"
    matcher = BrandMatcher(BrandBook.from_entries(BrandEntry.of(name) for name in names.split("|")))
    assert [match.entry.name for match in matcher.match(text)] == []
    assert matcher.graphics(text)


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        *(("vivo", "vivo"), ("VIVO", "vivo"), ("vivo V15 Pro", "vivo"), ("vivo smartphone", "vivo"), ("NEXT", "Next")),
        *(("vivo vivo vivo", "vivo"), ("vivovivo", "vivo"), ("NEXT.CO.UK", "Next"), ("Target", "Target")),
        *(("TotalEnergies", "TotalEnergies"), ("Live Nation", "Live Nation"), ("vivo OFFICIAL SPONSOR", "vivo")),
    ],
)
def test_the_same_word_by_itself_or_with_other_words_is_the_brand(text: str, brand: str) -> None:
    names = ["vivo", "Next", "Target", "TotalEnergies", "Total", "Live", "Live Nation"]
    matcher = BrandMatcher(BrandBook.from_entries(map(BrandEntry.of, names)))
    assert [match.entry.name for match in matcher.match(text)] == [brand]


def test_every_language_has_its_words_and_they_are_found_in_any_writing() -> None:
    for language, words in BY_LANGUAGE.items():
        for word in words.split():
            assert is_graphic(word) and is_graphic(word.upper()) and is_graphic(f"{word}!"), (language, word)


def test_the_word_alone_in_an_overlay_is_not_the_brand_and_the_report_hears_why() -> None:
    found = documents(stage("vivo", "Heineken"), track(1, "VIVO", (1100, 60), zone="overlay"), *boards())
    assert counted(found) == {"Heineken": 6}
    assert unresolved(found)["VIVO"].reason == "a word of the broadcast's own graphics, not counted as vivo"
    assert unresolved(found)["VIVO"].perhaps == ""


@pytest.mark.parametrize("text", ["vivo smartphones", "vivo V15", "presented by vivo", "vivo mobile"])
def test_a_sponsors_plate_that_says_more_than_the_word_counts(text: str) -> None:
    assert counted(documents(stage("vivo"), track(1, text, (500, 620), zone="overlay"))) == {"vivo": 6}


@pytest.mark.parametrize("text", ["VIVO RIVER PLATE 0-1", "VIVO 67:21", "VIVO HD", "ESPM VIVO"])
def test_a_score_or_a_misread_channel_beside_the_word_is_no_more_than_the_word(text: str) -> None:
    assert counted(documents(stage("vivo"), track(1, text, (900, 60), zone="overlay"))) == {}


def test_the_same_brand_on_a_board_counts_beside_its_double_in_the_overlay() -> None:
    mark, board = track(1, "VIVO", (1100, 60), zone="overlay"), track(2, "vivo", (500, 420), move=PAN)
    found = documents(stage("vivo"), mark, board, *boards())
    assert counted(found) == {"vivo": 6}
    assert {d.track for d in found if isinstance(d, BrandDetection)} == {2}


@pytest.mark.parametrize("zone", ["board", "other"])
@pytest.mark.parametrize(
    ("channel", "place"), [("ESPN", (1040, 60)), ("FOX SPORTS", (980, 60)), ("EN", (1066, 60)), ("ESPN", (1100, 36))]
)
def test_beside_a_channels_name_the_word_is_not_the_brand_in_any_zone(
    zone: str, channel: str, place: tuple[int, int]
) -> None:
    mark = [track(1, "VIVO", (1110, 60), zone=zone), track(2, channel, place, zone=zone)]  # type: ignore[arg-type]
    assert counted(documents(stage("vivo"), *mark)) == {}


def test_in_a_still_the_word_beside_a_channels_name_is_not_the_brand_and_alone_on_a_board_is() -> None:
    still = [track(1, "VIVO", (600, 300), frames=[0]), track(2, "ESPN", (530, 300), frames=[0], zone="other")]
    assert counted(documents(stage("vivo"), *still)) == {}
    assert counted(documents(stage("vivo"), track(1, "vivo", (600, 300), frames=[0]))) == {"vivo": 1}


def test_a_channels_name_elsewhere_on_the_line_of_boards_does_no_harm() -> None:
    far = [track(1, "vivo", (300, 400), move=PAN), track(2, "ESPN", (700, 400), move=PAN)]
    assert counted(documents(stage("vivo"), *far)) == {"vivo": 6}


def test_text_that_stays_in_the_picture_while_all_else_moves_is_a_mark_though_no_overlay_was_found() -> None:
    mark = track(1, "VIVO", (600, 60), zone="board")
    assert counted(documents(stage("vivo", "Heineken"), mark, *boards())) == {"Heineken": 6}
    moving = track(1, "VIVO", (600, 60), zone="board", move=PAN)
    assert counted(documents(stage("vivo", "Heineken"), moving, *boards())) == {"Heineken": 6, "vivo": 6}


def test_text_at_one_place_from_shot_to_shot_is_a_mark_unless_the_camera_is_fixed() -> None:
    mark = [
        track(number, "VIVO", (600, 300), frames=range(3 * number, 3 * number + 3), shot=number) for number in range(3)
    ]
    assert counted(documents(stage("vivo"), *mark)) == {}
    fixed = [
        track(9 + number, "MALTIGNANO", (200, 500), frames=range(3 * number, 3 * number + 3), shot=number)
        for number in range(3)
    ]
    assert counted(documents(stage("vivo"), *mark, *fixed)) == {"vivo": 9}


def test_text_that_stands_still_in_an_upper_corner_is_a_mark_and_lower_down_a_board() -> None:
    assert counted(documents(stage("vivo"), track(1, "VIVO", (1150, 50), zone="other"))) == {}
    assert counted(documents(stage("vivo"), track(1, "VIVO", (1150, 400), zone="other"))) == {"vivo": 6}


def test_one_reading_of_the_phrase_settles_a_track() -> None:
    texts = ["VIVO", "EN VIVO", "ENVIVO", "VIVO"]
    assert counted(documents(stage("vivo"), track(1, texts, (330, 230), zone="board", height=10))) == {}


def test_a_mark_that_was_found_holds_for_later_chunks_and_for_another_process() -> None:
    first = stage("vivo", "Heineken")
    documents(first, track(1, "ESPN VIVO", (1000, 60), zone="overlay"), *boards())
    state = bson.decode(bson.encode(first.state()))
    book = BrandBook.from_entries([BrandEntry.of("vivo"), BrandEntry.of("Heineken")])
    later = MatchBrands(MatchBrandsConfig(), book, state)
    lone = track(9, "VIVO", (1060, 60), frames=[100], zone="other")
    assert counted(later.run_chunk(chunk_of(lone))) == {}
    assert counted(documents(stage("vivo"), lone)) == {"vivo": 1}


def test_a_phrase_on_a_board_that_moves_spoils_no_place_of_the_picture() -> None:
    worker = stage("vivo")
    documents(worker, track(1, "vivo ESPN", (500, 400), move=PAN, height=30))
    assert counted(documents(worker, track(2, "vivo", (500, 400), frames=range(10, 16), move=PAN))) == {"vivo": 6}


def test_an_overlay_of_nothing_but_graphics_is_not_listed_as_a_question() -> None:
    lines = ["LIVE", "SHOTS ON TARGET", "2ND HALF", "LINE-UPS", "DESCANSO", "MI-TEMPS", "HALBZEIT"]
    tracks = [track(i, text, (400, 40 + 60 * i), zone="overlay") for i, text in enumerate(lines)]
    assert unresolved(documents(stage("Heineken"), *tracks)) == {}
    assert "LIVE" in unresolved(documents(stage("Heineken"), track(1, "LIVE", (400, 40), move=PAN)))
