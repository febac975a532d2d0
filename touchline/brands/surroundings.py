"""The surroundings of a reading, for texts that alone do not show whether a brand is meant.

Belongs here: broadcast graphics that read like a brand (VIVO beside ESPN, or always at one place of the picture), and
pieces of a longer brand name beside the whole. The words of graphics are in `graphics.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, Protocol

from rapidfuzz import fuzz

from touchline.brands.graphics import belongs_to_graphics, says_more
from touchline.brands.registry import BrandBook
from touchline.brands.text import fold, is_noise
from touchline.geometry import bounds, box_area, centre, intersection, line_height
from touchline.values import Box, BrandDetection, Quad, Reading

SAME_LINE: Final = 0.5
"""Two words are on one line if they overlap vertically by this share of the lower one's height, and if the ratio of
their heights is at least this [0-1]."""
WORD_GAP: Final = 1.5
"""Largest gap between two words of one logo [line heights]."""
ROW_GAP: Final = 15.0
"""Largest gap between a name and a cut-off copy of it on the same boards [line heights]."""
SLANT: Final = 0.15
"""Largest slope of a row of boards [height per length]."""
SAME_PLACE: Final = 0.6
"""Two readings are at one place of the picture if this share of the one's box lies in the other's [0-1]."""
STATIC: Final = 0.25
"""Largest movement of static text [line heights]."""
TRAVEL: Final = 1.0
"""Least median movement of the other text while the camera moves [line heights]."""
STATIC_FRAMES: Final = 3
"""Least number of frames in which text must be seen before it counts as static or as moving."""
CORNER: Final = (0.3, 0.2)
"""Size of an upper corner of the picture [shares of its width and height]."""
MOST: Final = 0.5
"""Share of a track's readings that decides for the track [0-1]."""
PLACES: Final = 16
"""Largest number of places that are stored for each brand."""
PIECE_LIKENESS: Final = 90.0
"""Least similarity of a text to a part of a longer spelling of which it may be a piece [rapidfuzz partial ratio,
0-100]."""
ALONGSIDE_S: Final = 1.0
"""Largest time between a reading of a piece and one of the whole name [s]."""


class GraphicPlaces:
    """Places of the picture at which a brand's name is a word of broadcast graphics, for the whole source.

    `state` is what `state()` of an earlier one returned. Up to PLACES are stored for each brand.
    """

    def __init__(self, state: Mapping[str, Sequence[Sequence[float]]] | None = None) -> None:
        self._places: dict[str, list[Box]] = {
            brand: [(b[0], b[1], b[2], b[3]) for b in boxes] for brand, boxes in (state or {}).items()
        }

    def add(self, brand: str, *quads: Quad) -> None:
        """Stores places at which the brand's name is a word of graphics."""
        places = self._places.setdefault(brand, [])
        for quad in quads:
            if len(places) < PLACES and not any(same_place(quad, place) for place in places):
                places.append(bounds(quad))

    def hold(self, brand: str, readings: Sequence[Reading]) -> bool:
        """Whether most readings of a track are at such places."""
        places = self._places.get(brand, ())
        there = sum(any(same_place(reading.quad, place) for place in places) for reading in readings)
        return there > 0 and there >= MOST * len(readings)

    def state(self) -> dict[str, list[list[float]]]:
        """The places by id of the brand: left, top, right and bottom [pixels]."""
        return {brand: [list(box) for box in places] for brand, places in self._places.items()}


class WholeNames:
    """The brands found in a chunk, to find readings that are pieces of their names.

    `sizes` are width and height [pixels] of the frames by sequence.
    """

    def __init__(
        self, detections: Iterable[BrandDetection], brands: BrandBook, sizes: Mapping[int, tuple[int, int]]
    ) -> None:
        self._sizes = sizes
        self._by_shot: dict[int, dict[str, list[BrandDetection]]] = defaultdict(lambda: defaultdict(list))
        for detection in detections:
            self._by_shot[detection.shot][detection.brand_id].append(detection)
        found = {brand for brands_of_shot in self._by_shot.values() for brand in brands_of_shot}
        self._spellings = {entry.id: entry.spellings for entry in brands if entry.id in found}

    def has_piece(self, detections: Sequence[BrandDetection], brand: str, spellings: Iterable[str]) -> bool:
        """Whether a brand found on one track is a piece of a longer name beside it.

        `spellings` are those by which the track names the brand.
        """
        own = [detection for detection in detections if detection.brand_id == brand]
        spelled = list(spellings)
        return any(
            all(is_piece(spelling, self._spellings[other]) for spelling in spelled)
            and self._mostly(own, other, all(is_word_of(spelling, self._spellings[other]) for spelling in spelled))
            for other in ({b for d in own for b in self._by_shot[d.shot]} - {brand} if own else ())
        )

    def explains(self, text: str, readings: Sequence[Reading]) -> bool:
        """Whether the text of a track is a piece of the name of a brand that is on the screen at the same time."""
        key = fold(text).letters
        return any(
            len(key) < len(letters) and fuzz.partial_ratio(key, letters) >= PIECE_LIKENESS
            for brand in {b for r in readings for b in self._by_shot[r.shot]}
            for letters in (fold(spelling).letters for spelling in self._spellings[brand])
            if self._at_the_same_time(readings, brand)
        )

    def _at_the_same_time(self, readings: Sequence[Reading], brand: str) -> bool:
        seen = sum(
            any(abs(whole.timestamp - r.timestamp) <= ALONGSIDE_S for whole in self._by_shot[r.shot][brand])
            for r in readings
        )
        return seen >= MOST * len(readings)

    def _mostly(self, pieces: Sequence[BrandDetection], brand: str, is_word: bool) -> bool:
        left = sum(
            is_piece_beside(piece, self._by_shot[piece.shot][brand], self._sizes.get(piece.sequence), is_word=is_word)
            for piece in pieces
        )
        return left > 0 and left >= MOST * len(pieces)


class Placed(Protocol):
    """A reading or a detection: it has a time and a place in the picture."""

    @property
    def timestamp(self) -> float:
        """Seconds from the start of the video."""
        ...

    @property
    def quad(self) -> Quad:
        """Corners, in pixels of the stored frame."""
        ...


def in_overlays(readings: Sequence[Reading], word: str) -> bool:
    """Whether most of a track's readings are in overlays and have no other word of a sponsor's caption.

    A sponsor's caption has one: vivo smartphones.
    """
    bare = sum(reading.zone == "overlay" and not says_more(reading.text, word) for reading in readings)
    return bare >= MOST * len(readings)


def beside_graphics(readings: Sequence[Reading], frames: Mapping[int, Sequence[Reading]]) -> bool:
    """Whether, in most frames of a track, a word beside, above or below it belongs to a channel logo.

    `frames` are all readings of the chunk by sequence.
    """
    beside = sum(
        any(
            other.track != reading.track
            and _words_of_one_logo(reading.quad, other.quad)
            and belongs_to_graphics(other.text)
            for other in frames[reading.sequence]
        )
        for reading in readings
    )
    return beside >= MOST * len(readings)


def pinned(readings: Sequence[Reading], frames: Mapping[int, Sequence[Reading]]) -> bool:
    """Whether text is static while the camera moves, or is at the same place in several shots.

    `readings` are those of one word at one place (`by_place`), `frames` all readings of the chunk by sequence.
    """
    seen = {reading.sequence: reading for reading in readings}
    if len(seen) < STATIC_FRAMES:
        return False
    height = median(line_height(reading.quad) for reading in readings)
    if _travel(readings) > STATIC * height:
        return False
    if len({reading.shot for reading in readings}) > 1:
        return not _fixed_camera([r for sequence in seen for r in frames[sequence]])
    others: dict[int, list[Reading]] = defaultdict(list)
    own = {reading.track for reading in readings}
    for sequence in seen:
        for other in frames[sequence]:
            if other.track not in own:
                others[other.track].append(other)
    moved = [_travel(track) for track in others.values() if len(track) >= STATIC_FRAMES]
    return len(moved) > 1 and median(moved) >= TRAVEL * height


def is_static(readings: Sequence[Reading]) -> bool:
    """Whether a track never moves. Overlays do not, and boards rarely stay in place."""
    frames = {reading.sequence for reading in readings}
    return len(frames) >= STATIC_FRAMES and _travel(readings) <= STATIC * line_height(readings[0].quad)


def in_a_corner(readings: Sequence[Reading], sizes: Mapping[int, tuple[int, int]]) -> bool:
    """Whether text is in an upper corner of the picture, where channel logos are, and never moves.

    `sizes` are width and height [pixels] of the frames by sequence. False for a track of less than STATIC_FRAMES.
    """
    seen = [reading for reading in readings if reading.sequence in sizes]
    if not seen or not is_static(seen):
        return False
    for reading in seen:
        (x, y), (width, height) = centre(reading.quad), sizes[reading.sequence]
        if y > CORNER[1] * height or CORNER[0] * width < x < (1 - CORNER[0]) * width:
            return False
    return True


def by_place(readings: Iterable[Reading]) -> list[list[Reading]]:
    """Readings of one word, grouped by their place in the picture, across tracks and shots."""
    groups: list[list[Reading]] = []
    for reading in readings:
        for group in groups:
            if same_place(reading.quad, bounds(group[0].quad)) and same_place(group[0].quad, bounds(reading.quad)):
                group.append(reading)
                break
        else:
            groups.append([reading])
    return groups


def same_place(quad: Quad, place: Box) -> bool:
    """Whether most of a quad lies in a box of the picture."""
    box = bounds(quad)
    return intersection(box, place) >= SAME_PLACE * max(1e-9, box_area(box))


def is_piece(spelling: str, whole: Iterable[str]) -> bool:
    """Whether a spelling is a part of one of the longer spellings `whole`.

    >>> is_piece("anz", ["Allianz"]), is_piece("TIM", ["TIM"])
    (True, False)
    """
    piece = fold(spelling).letters
    return any(piece in letters and len(piece) < len(letters) for letters in (fold(one).letters for one in whole))


def is_word_of(spelling: str, whole: Iterable[str]) -> bool:
    """Whether a spelling consists of words of one of the longer spellings `whole`: Emirates of Emirates NBD."""
    words = Counter(fold(spelling).words())
    return any(words <= Counter(fold(one).words()) for one in whole)


def is_piece_beside(piece: Placed, wholes: Iterable[Placed], size: tuple[int, int] | None, *, is_word: bool) -> bool:
    """Whether a reading is a piece of a longer name that is read whole near it, in the same shot.

    It is if both are close together in one row. A piece that is a word of its own must also be cut off by an edge of
    the picture (`size`: width and height in pixels, if known) or be at the place of the whole name.
    """
    x1, _, x2, _ = bounds(piece.quad)
    height = line_height(piece.quad)
    at_edge = size is not None and (x1 < height or x2 > size[0] - height)
    for whole in wholes:
        if abs(whole.timestamp - piece.timestamp) > ALONGSIDE_S:
            continue
        if same_place(piece.quad, bounds(whole.quad)):
            return True
        if (at_edge or not is_word) and _in_one_row(piece.quad, whole.quad, ROW_GAP):
            return True
    return False


def _words_of_one_logo(a: Quad, b: Quad) -> bool:
    return _in_one_row(a, b, WORD_GAP) or _stacked(a, b)


def _in_one_row(a: Quad, b: Quad, gap: float) -> bool:
    """Whether two lines are side by side, at most `gap` heights of the higher one apart."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = bounds(a), bounds(b)
    lower, higher = sorted((ay2 - ay1, by2 - by1))
    apart = max(ax1, bx1) - min(ax2, bx2)
    shared = min(ay2, by2) - max(ay1, by1) + SLANT * max(0.0, apart)
    return lower >= SAME_LINE * higher and shared >= SAME_LINE * lower and apart <= gap * higher


def _stacked(a: Quad, b: Quad) -> bool:
    """Whether two lines are one above the other, less than a line apart."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = bounds(a), bounds(b)
    lower, higher = sorted((ay2 - ay1, by2 - by1))
    narrow = min(ax2 - ax1, bx2 - bx1)
    shared = min(ax2, bx2) - max(ax1, bx1)
    return lower >= SAME_LINE * higher and shared >= SAME_LINE * narrow and max(ay1, by1) - min(ay2, by2) <= higher


def _fixed_camera(readings: Sequence[Reading]) -> bool:
    """Whether text that is not graphics is at the same place of the picture in several shots, too."""
    said: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.zone != "overlay" and not is_noise(reading.text) and not belongs_to_graphics(reading.text):
            said[fold(reading.text).letters].append(reading)
    return any(len({r.shot for r in group}) > 1 for same in said.values() for group in by_place(same))


def _travel(readings: Sequence[Reading]) -> float:
    """Largest distance of text from its first place [pixels]."""
    x, y = centre(readings[0].quad)
    return max(abs(cx - x) + abs(cy - y) for cx, cy in (centre(reading.quad) for reading in readings))
