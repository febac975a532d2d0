"""Detection of pictures that are not decoded: those in another codec than the first ones, or in another track.

Belongs here: finding them by their packets, and the warning on them.
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
"""Dispositions of streams that are cover art or thumbnails."""


class OtherPictures(NamedTuple):
    """A time span [s] whose pictures are not decoded, with their codec and that of the pictures before them.

    `is_track`: they are in another track.
    """

    span: Span
    codec: str
    before: str
    is_track: bool

    def sentence(self) -> str:
        """The warning for the report."""
        start, length = self.span
        where = f"from {float(start):.2f} s on, {float(length):.2f} s of the stream are"
        how = (
            f"in another picture track ({self.codec})"
            if self.is_track
            else f"coded as {self.codec}, no longer as {self.before}"
        )
        return (
            f"{where} {how}, and are not analysed; no picture counts for that time. Cut the recording there, and give "
            "that part as a separate file."
        )


class CodingWatch:
    """Follows the packets of a file, of `stream` and of others. The codec can change only in transport streams."""

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
        """Whether the next packet of `stream` is in another codec than its first packets."""
        if self._tables is not None and packet.pos is not None:
            self._now = self._tables.codec(packet.pos)
            self._first = self._first or self._now
        return self._now != self._first

    def add(self, time: Fraction, length: Fraction) -> None:
        """Adds the last packet of `is_other`, in another codec: presentation time and duration by the clock [s].

        Time in which decoded pictures are shown as well does not count.
        """
        start, until = max(time, self._end), max(time + length, self._end)
        codec = self._now or ""
        if self._goes_on and self._found[-1].codec == codec:
            last = self._found.pop().span
            start, until = min(start, last.start), max(until, last.start + last.length)
        self._found.append(OtherPictures(Span(start, until - start), codec, self._first or "", False))
        self._goes_on = True

    def follow(self, time: Fraction, length: Fraction) -> None:
        """Adds the next packet in the codec of the first ones: presentation time and duration by the clock [s]."""
        self._end = max(self._end, time + length)
        if self._goes_on:
            self._resumed[time] = self._found[-1].span.start
        self._goes_on = False

    def missing_since(self, time: Fraction) -> Fraction | None:
        """Begin of the undecoded time before the frame shown at `time` [s]; None if there is none."""
        return self._resumed.get(time)

    def begins(self, after: Fraction) -> Fraction | None:
        """Begin of the first undecoded time after a time [s], among the packets so far; None if there is none."""
        return min((other.span.start for other in self._found if other.span.start > after), default=None)

    def see(self, packet: Packet[Stream]) -> None:
        """Adds the next packet of any track."""
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
        """All undecoded spans, after the last packet. `end` is the end of the pictures, by the packets' clock [s]."""
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
