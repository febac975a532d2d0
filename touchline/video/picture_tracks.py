"""Selection of the video track to analyse, for files with several.

Belongs here: the selection, as players make it, and the note on it. `touchline/video/opening.py` opens and decodes.
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
"""Dispositions of streams that are cover art or thumbnails."""
_STILL: Final = Disposition.still_image | Disposition.dependent
"""Dispositions of streams that are still pictures or depend on another stream."""
_PICTURE_CODECS: Final = {"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpegls", "jpeg2000", "ppm", "targa"}
"""FFmpeg's names of codecs of single pictures. With a track in another codec, such a track is a poster or a preview."""
_POSTER_S: Final = Fraction(1)
"""Duration below which a track is a poster if another track is longer [s]."""
_SHORT: Final = Fraction(1, 10)
"""Share of the longest track's duration below which a track ranks behind others: an inset, or a menu's loop [0-1]."""
_SLOW: Final = Fraction(1, 8)
"""Share of the highest frame rate below which a track ranks behind others: slides, or thumbnails [0-1]."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The analysed track, its number (from 1) of all `of` video tracks without cover art, and a note on the others.

    `note` is empty if the others are posters and previews.
    """

    stream: VideoStream
    number: int
    of: int
    note: str


def choose_track(container: InputContainer, path: PurePath) -> Choice:
    """Selects the video track that a player would show.

    Posters and previews rank last. Then, in this order: tracks that decode here, that are not far shorter or slower
    than another, that are marked as default (or, in MP4, as enabled), with the larger picture, that come first. Raises
    BadInputError if there is no video track, or none that decodes.
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
            f"{path.name}: of its {len(tracks)} video tracks, number {numbers[chosen.index]} ({_words(chosen)}) was "
            f"analysed, not {', '.join(f'number {numbers[track.index]} ({_words(track)})' for track in others)}. "
            "To have another one analysed, save it as a separate file."
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
    """Whether a track is a poster or a preview: by its disposition, its codec, or because it has only one picture."""
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
    # A track of one picture has no frame rate.
    return not track.average_rate and any(other.average_rate for other in others)


def _is_minor(track: VideoStream, tracks: Sequence[VideoStream]) -> bool:
    """Whether a track has a far shorter duration or a far lower frame rate than another."""
    lengths = [_length(other) or 0 for other in tracks]
    rates = [other.average_rate or 0 for other in tracks]
    length = _length(track)
    return (length is not None and length < _SHORT * max(lengths)) or (track.average_rate or 0) < _SLOW * max(rates)


def _is_picture_codec(track: VideoStream) -> bool:
    return not _undecodable(track) and track.codec_context.codec.canonical_name in _PICTURE_CODECS


def _length(track: VideoStream) -> Fraction | None:
    """The duration in a track's headers [s], in Matroska by the tag DURATION; None if unknown."""
    for name, value in track.metadata.items():
        clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", value) if name.upper().startswith("DURATION") else None
        if clock:
            return int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
    return track.duration * track.time_base if track.duration and track.time_base else None
