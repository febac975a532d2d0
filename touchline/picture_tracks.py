"""Which of a file's picture tracks is looked at, where it holds several.

Belongs here: the choice, as players make it, and the sentence that tells of it. Opening and decoding is the business of
`touchline/video.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Final

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from touchline.errors import BadInputError

_COVER: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_STILL: Final = Disposition.still_image | Disposition.dependent
_PICTURE_CODECS: Final = {"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpegls", "jpeg2000", "ppm", "targa"}
"""Codecs of single pictures: beside a track in another codec theirs is a poster or a preview."""
_SHORT: Final = Fraction(1, 10)
"""A track that announces less than this share of the longest one's length is a poster."""
_SLOW: Final = Fraction(1, 8)
"""A track with less than this share of the pictures a second of the quickest is one of thumbnails."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The track that is looked at, its place (from 1) among `of` picture tracks, and what is to be said of the others.

    Cover art is no track here. `note` is empty where the others are stills.
    """

    stream: VideoStream
    number: int
    of: int
    note: str


def choose_track(container: InputContainer, path: PurePath) -> Choice:
    """The track of moving pictures that a player would show.

    Moving pictures go before posters, previews and thumbnails; then what decodes here, what is marked as the default
    (or, in MP4, enabled), the larger picture, the first. Raises BadInputError if there is none, or none that decodes.
    """
    tracks = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if not tracks:
        raise BadInputError(f"{path}: the file holds no moving picture (sound only?). Give the video file.")
    moving = [track for track in tracks if not _is_still(track, tracks)] or tracks
    chosen = min(moving, key=_rank)
    if _undecodable(chosen):
        raise BadInputError(f"{path}: its picture is in a codec that cannot be decoded here. Convert it to H.264.")
    numbers = {track.index: number for number, track in enumerate(tracks, 1)}
    others = [track for track in moving if track is not chosen]
    note = ""
    if others:
        note = (
            f"{path.name}: of its {len(tracks)} picture tracks number {numbers[chosen.index]} ({_words(chosen)}) was "
            f"looked at, not {', '.join(f'number {numbers[track.index]} ({_words(track)})' for track in others)}. "
            "To have another one looked at, save it as a file of its own."
        )
    return Choice(chosen, numbers[chosen.index], len(tracks), note)


def _rank(track: VideoStream) -> tuple[bool, bool, int, int]:
    area = 0 if _undecodable(track) else track.codec_context.width * track.codec_context.height
    return _undecodable(track), not track.disposition & Disposition.default, -area, track.index


def _undecodable(track: VideoStream) -> bool:
    return track.codec_context is None


def _words(track: VideoStream) -> str:
    if _undecodable(track):
        return "in a codec that cannot be decoded here"
    return f"{track.codec_context.width} x {track.codec_context.height} px"


def _is_still(track: VideoStream, tracks: Sequence[VideoStream]) -> bool:
    """Whether a track is a poster, a preview or thumbnails beside the others: by its mark, codec, length or rate."""
    others = [other for other in tracks if other is not track]
    if not others:
        return False
    if track.disposition & _STILL or track.frames == 1:
        return True
    if _is_picture_codec(track) and not all(_is_picture_codec(other) for other in others):
        return True
    length, longest = _length(track), max(_length(other) or Fraction(0) for other in others)
    if length is not None and length < _SHORT * longest:
        return True
    quickest = max((other.average_rate or Fraction(0) for other in others), default=Fraction(0))
    return (track.average_rate or Fraction(0)) < _SLOW * quickest


def _is_picture_codec(track: VideoStream) -> bool:
    return not _undecodable(track) and track.codec_context.codec.canonical_name in _PICTURE_CODECS


def _length(track: VideoStream) -> Fraction | None:
    """The length that a track announces [s]: in Matroska by a tag that most writers set."""
    for name, value in track.metadata.items():
        clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", value) if name.upper().startswith("DURATION") else None
        if clock:
            return int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
    return track.duration * track.time_base if track.duration and track.time_base else None
