"""The choice of the picture track to analyse, for files with several.

Belongs here: the choice, as players make it, and the sentence that tells of it. Opening and decoding is the business of
`touchline/video/opening.py`.
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
_POSTER_S: Final = Fraction(1)
"""A track that announces less than this length [s] is a poster beside others that are longer."""
_SHORT: Final = Fraction(1, 10)
"""A track of less than this share of the longest one's length goes behind it: an inset, or a loop of a menu."""
_SLOW: Final = Fraction(1, 8)
"""A track of less than this share of the quickest one's pictures a second goes behind it: slides, or thumbnails."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The track that is looked at, its place (from 1) among `of` picture tracks, and what is to be said of the others.

    Cover art is no track here. `note` is empty where the others are posters and previews.
    """

    stream: VideoStream
    number: int
    of: int
    note: str


def choose_track(container: InputContainer, path: PurePath) -> Choice:
    """The track of moving pictures that a player would show.

    Moving pictures go before posters and previews; then what decodes here, what is not far shorter or slower than
    another, what is marked as the default (or, in MP4, enabled), the larger picture, the first. Raises BadInputError if
    there is none, or none that decodes.
    """
    tracks = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if not tracks:
        raise BadInputError(f"{path}: the file holds no moving picture (sound only?). Give the video file.")
    moving = [track for track in tracks if not _is_poster(track, tracks)] or tracks
    chosen = min(moving, key=lambda track: (_undecodable(track), _is_minor(track, moving), *_rank(track)))
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


def _rank(track: VideoStream) -> tuple[bool, int, int]:
    area = 0 if _undecodable(track) else track.codec_context.width * track.codec_context.height
    return not track.disposition & Disposition.default, -area, track.index


def _undecodable(track: VideoStream) -> bool:
    return track.codec_context is None


def _words(track: VideoStream) -> str:
    if _undecodable(track):
        return "in a codec that cannot be decoded here"
    return f"{track.codec_context.width} x {track.codec_context.height} px"


def _is_poster(track: VideoStream, tracks: Sequence[VideoStream]) -> bool:
    """Whether a track is a poster or a preview beside the others: by its mark, its codec, or one picture in it."""
    others = [other for other in tracks if other is not track]
    if not others:
        return False
    if track.disposition & _STILL or track.frames == 1:
        return True
    if _is_picture_codec(track) and not all(_is_picture_codec(other) for other in others):
        return True
    length = _length(track)
    if length is not None and length < min(_POSTER_S, max(_length(other) or 0 for other in others)):
        return True
    # A rate cannot be found where one picture comes.
    return not track.average_rate and any(other.average_rate for other in others)


def _is_minor(track: VideoStream, tracks: Sequence[VideoStream]) -> bool:
    """Whether a track is far shorter, or has far fewer pictures a second, than another one."""
    lengths = [_length(other) or 0 for other in tracks]
    rates = [other.average_rate or 0 for other in tracks]
    length = _length(track)
    return (length is not None and length < _SHORT * max(lengths)) or (track.average_rate or 0) < _SLOW * max(rates)


def _is_picture_codec(track: VideoStream) -> bool:
    return not _undecodable(track) and track.codec_context.codec.canonical_name in _PICTURE_CODECS


def _length(track: VideoStream) -> Fraction | None:
    """The length that a track announces [s]: in Matroska by a tag that most writers set."""
    for name, value in track.metadata.items():
        clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", value) if name.upper().startswith("DURATION") else None
        if clock:
            return int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
    return track.duration * track.time_base if track.duration and track.time_base else None
