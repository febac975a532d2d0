"""The pictures of a recording that are coded otherwise than its first ones, or lie in another track from there on.

Belongs here: noticing them by packets, and the sentence that tells of them. They are not decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from touchline.video.programme_tables import ProgrammeTables
from touchline.video.stream_clock import Span

_GOES_ON: Final = 1
"""Least time by which another track must be longer than the analysed one to be reported [s]."""
_MOVES: Final = 10
"""Least number of pictures of another track to be reported: a poster or a slide is not part of the recording."""
_COVER: Final = Disposition.attached_pic | Disposition.timed_thumbnails


class OtherPictures(NamedTuple):
    """A stretch of time [s] whose pictures are not decoded, how they are coded, and how those before it were.

    `is_track`: they lie in a track of their own.
    """

    span: Span
    codec: str
    before: str
    is_track: bool

    def sentence(self) -> str:
        """What an analyst must know."""
        start, length = self.span
        where = f"from {float(start):.2f} s on, {float(length):.2f} s of the stream are"
        how = (
            f"in another picture track ({self.codec})"
            if self.is_track
            else f"coded as {self.codec}, no longer as {self.before}"
        )
        return (
            f"{where} {how}, and are not looked at; no picture counts for that time. Cut the recording there, and give "
            "that part as a file of its own."
        )


class CodingWatch:
    """Follows the packets of a file, those of `stream` and others. Only of transport streams may the coding change."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._stream = stream
        self._tables: ProgrammeTables | None = None
        if container.format.name == "mpegts" and container.file is None:
            self._tables = ProgrammeTables(Path(container.name), stream.id)
        self._first: str | None = None
        self._now: str | None = None
        self._goes_on = False
        self._end = Fraction(0)
        self._resumed: dict[Fraction, Fraction] = {}
        self._found: list[OtherPictures] = []
        self._tracks: dict[int, _Track] = {}

    def is_other(self, packet: Packet[VideoStream]) -> bool:
        """Whether the next packet of `stream` is coded otherwise than its first ones."""
        if self._tables is not None and packet.pos is not None:
            self._now = self._tables.codec(packet.pos)
            self._first = self._first or self._now
        return self._now != self._first

    def add(self, time: Fraction, length: Fraction) -> None:
        """The packet that `is_other` was asked of last: when its picture is shown, and how long, by the clock [s].

        What is shown at the same time as pictures that decode is not missing.
        """
        start, until = max(time, self._end), max(time + length, self._end)
        codec = self._now or ""
        if self._goes_on and self._found[-1].codec == codec:
            last = self._found.pop().span
            start, until = min(start, last.start), max(until, last.start + last.length)
        self._found.append(OtherPictures(Span(start, until - start), codec, self._first or "", False))
        self._goes_on = True

    def follow(self, time: Fraction, length: Fraction) -> None:
        """The next packet of `stream` is coded as its first ones: when its picture is shown, and how long [s]."""
        self._end = max(self._end, time + length)
        if self._goes_on:
            self._resumed[time] = self._found[-1].span.start
        self._goes_on = False

    def missing_since(self, time: Fraction) -> Fraction | None:
        """From when on what precedes the frame shown at `time` [s] is not decoded; none where nothing is missing."""
        return self._resumed.get(time)

    def begins(self, after: Fraction) -> Fraction | None:
        """When the first of them that are shown after a time [s] begin, as far as packets were followed."""
        return min((other.span.start for other in self._found if other.span.start > after), default=None)

    def see(self, packet: Packet[Stream]) -> None:
        """The next packet of any track."""
        track = packet.stream
        if packet.stream_index == self._stream.index or not isinstance(track, VideoStream):
            return
        if track.disposition & _COVER or packet.pts is None or packet.time_base is None:
            return
        time = packet.pts * packet.time_base
        known = self._tracks.setdefault(packet.stream_index, _Track(_name(track), [], time))
        known.end = max(known.end, time + (packet.duration or 0) * packet.time_base)
        known.last = [*known.last[1 - _MOVES :], time]

    def found(self, end: Fraction) -> list[OtherPictures]:
        """All of them, after the last packet. The pictures of `stream` end at `end` [s] of the packets' clock."""
        for track in self._tracks.values():
            if len(track.last) == _MOVES and track.end - end > _GOES_ON and min(track.last) >= end:
                self._found.append(OtherPictures(Span(end, track.end - end), track.codec, "", True))
        self._tracks.clear()
        return self._found


@dataclass(slots=True)
class _Track:
    codec: str
    last: list[Fraction]
    end: Fraction


def _name(track: VideoStream) -> str:
    return track.codec_context.name if track.codec_context is not None else "unknown"
