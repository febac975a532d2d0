"""The time stamps of a video stream: correction of steps, and detection of gaps.

Belongs here: rules on the time stamps of packets. `touchline/video/playback.py` reads the packets.
"""

from __future__ import annotations

import heapq
from array import array
from fractions import Fraction
from statistics import median
from typing import Final, NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

_JUMP_S: Final = 10
"""Largest jump forward of the clock that is a gap in the recording and not a step, in containers that may be
discontinuous. It is FFmpeg's own threshold, `dts_delta_threshold` [s]."""
_BACK_S: Final = Fraction(1, 10)
"""Largest jump back of decoding times that is rounding and not a step, as in FFmpeg [s]."""
_REORDERED: Final = 32
"""Number of packets among which the next displayed picture is searched. H.264 reorders at most 16 pictures."""
_NEIGHBOURS: Final = 25
"""Number of pictures before a picture, and after it, whose median display time is the usual one."""
_FAR_LONGER: Final = 10
"""Factor of the usual display time above which a picture is held far longer than its neighbours."""
_HELD_S: Final = Fraction(3, 2)
"""Shortest time without a new picture that is reported [s]."""
_ASKED_TO_HOLD_S: Final = 10
"""Shortest time without a new picture that is reported if the packet itself has that duration: slides, animations
[s]."""


class Span(NamedTuple):
    """A time span in the stream: start and length [s]."""

    start: Fraction
    length: Fraction

    def holds(self, time: Fraction) -> bool:
        """Whether a time [s] is in the span, including its ends."""
        return self.start <= time <= self.start + self.length


class Clock:
    """Corrects the time stamps of a stream's packets, in file order, so that they do not step.

    A packet whose decoding time goes back or, with `may_jump`, far ahead is moved to the end of all earlier packets, as
    in players, and later packets are moved with it. `step` is the duration of packets that have none [s]. `steps` has
    the presentation time of each step by the corrected clock, and its size (negative: back) [s].
    """

    def __init__(self, *, may_jump: bool, step: Fraction) -> None:
        self.steps: list[Span] = []
        self._may_jump = may_jump
        self._step = step
        self._shift = 0
        self._last: int | None = None
        self._next = 0
        self._shown_until = 0

    def correct(self, packet: Packet[VideoStream]) -> bool:
        """Corrects the packet's time stamps in place. Returns whether the clock stepped before it."""
        base = packet.time_base
        if not base:
            return False
        length = packet.duration or round(self._step / base)
        stepped = False
        if packet.dts is not None:
            ahead = packet.dts + self._shift - self._next
            stepped = self._last is not None and (
                packet.dts + self._shift < self._last - _BACK_S / base or (self._may_jump and ahead > _JUMP_S / base)
            )
            if stepped:
                if packet.is_keyframe and packet.pts is not None:
                    # The first picture after the step: no other is shown before it.
                    ahead = packet.pts + self._shift - self._shown_until
                self._shift -= ahead
                shown = packet.dts if packet.pts is None else packet.pts
                self.steps.append(Span((shown + self._shift) * base, ahead * base))
            self._last = packet.dts = packet.dts + self._shift
            self._next = self._last + length
        if packet.pts is not None:
            packet.pts += self._shift
            if self._may_jump and packet.dts is not None and abs(packet.pts - packet.dts) > _JUMP_S / base:
                packet.pts = packet.dts  # no picture is shown so long after it is decoded: the time stamp is damaged
            self._shown_until = max(self._shown_until, packet.pts + length)
        elif packet.dts is not None:
            self._shown_until = max(self._shown_until, packet.dts + length)
        return stepped


class Holds:
    """Finds pictures that are shown far longer than their neighbours: gaps in the recording, or lost packets.

    `end` is the end of the last picture that was added [s]. `misdated` are pictures that came long after others with
    later presentation times.
    """

    def __init__(self) -> None:
        self.end = Fraction(0)
        self.misdated: list[Span] = []
        self._pending: list[tuple[Fraction, Fraction]] = []
        self._before: tuple[Fraction, Fraction] | None = None
        self._lengths = array("d")
        self._long: list[tuple[int, Span]] = []

    def add(self, shown_at: Fraction, length: Fraction) -> None:
        """Adds the next picture in decoding order: presentation time and its own duration [s]."""
        self.end = max(self.end, shown_at + length)
        heapq.heappush(self._pending, (shown_at, length))
        if len(self._pending) > _REORDERED:
            self._follow(*heapq.heappop(self._pending))

    def found(self) -> list[Span]:
        """The spans of pictures that are shown far longer than their neighbours. Call it after the last picture."""
        while self._pending:
            self._follow(*heapq.heappop(self._pending))
        return [span for index, span in self._long if span.length > _FAR_LONGER * self._usual(index)]

    def _follow(self, shown_at: Fraction, length: Fraction) -> None:
        if self._before is not None:
            start, asked = self._before
            if shown_at < start:
                self.misdated.append(Span(shown_at, length))
                return
            held = shown_at - start
            self._lengths.append(float(held))
            if held > (_ASKED_TO_HOLD_S if asked >= Fraction(9, 10) * held else _HELD_S):
                self._long.append((len(self._lengths) - 1, Span(start, held)))
        self._before = shown_at, length

    def _usual(self, index: int) -> float:
        around = [*self._lengths[max(0, index - _NEIGHBOURS) : index], *self._lengths[index + 1 :][:_NEIGHBOURS]]
        return median(around) if around else float("inf")
