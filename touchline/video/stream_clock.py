"""The clock of a stream of pictures: made steady where it steps, and watched for times without a picture.

Belongs here: what the time stamps of packets tell. Which packets there are is the business of
`touchline/video/playback.py`.
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
"""How far the clock may run ahead of the pictures [s], in containers that may be discontinuous: FFmpeg's own threshold
(`dts_delta_threshold`). What is less is a gap in the recording."""
_BACK_S: Final = Fraction(1, 10)
"""How far decoding times may go back [s]: rounding, by FFmpeg's own measure."""
_REORDERED: Final = 32
"""Packets among which the next picture shown is sought: coded pictures are reordered over 16 at most (H.264)."""
_NEIGHBOURS: Final = 25
"""Pictures before, and after, one that is held, whose holds tell what is usual."""
_FAR_LONGER: Final = 10
"""How many times as long as its neighbours a picture is held that is held far longer."""
_HELD_S: Final = Fraction(3, 2)
"""Shortest time without a new picture that is told [s]."""
_ASKED_TO_HOLD_S: Final = 10
"""The same where the packet itself says for how long its picture is shown [s]: slides, animations."""


class Span(NamedTuple):
    """A stretch of time in the stream [s]: where it begins, and how long it is."""

    start: Fraction
    length: Fraction

    def holds(self, time: Fraction) -> bool:
        """Whether a time [s] lies in it, its ends included."""
        return self.start <= time <= self.start + self.length


class Clock:
    """Corrects the time stamps of a stream's packets, in the order of the file, so that they never step.

    A packet whose decoding time goes back, or, where `may_jump`, far ahead, begins where all before it end, as players
    show it; what follows is moved with it. `step` is the length of a packet that has none [s]. `steps` are the places
    (presentation time in the corrected clock) and by how much the clock stepped there (negative: back).
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
        """Put the packet's time stamps right; says whether the clock stepped before it."""
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
                    # The first picture of what begins here: no other is shown before it.
                    ahead = packet.pts + self._shift - self._shown_until
                self._shift -= ahead
                shown = packet.dts if packet.pts is None else packet.pts
                self.steps.append(Span((shown + self._shift) * base, ahead * base))
            self._last = packet.dts = packet.dts + self._shift
            self._next = self._last + length
        if packet.pts is not None:
            packet.pts += self._shift
            if self._may_jump and packet.dts is not None and abs(packet.pts - packet.dts) > _JUMP_S / base:
                packet.pts = packet.dts  # no picture waits so long to be shown: the stamp is damaged
            self._shown_until = max(self._shown_until, packet.pts + length)
        elif packet.dts is not None:
            self._shown_until = max(self._shown_until, packet.dts + length)
        return stepped


class Holds:
    """Finds pictures that stand far longer than their neighbours: a gap in the recording, or lost packets.

    `end` is when the last picture that was added ends [s]. `misdated` are pictures that came long after others that
    are shown later: in the order of time there is no place for them.
    """

    def __init__(self) -> None:
        self.end = Fraction(0)
        self.misdated: list[Span] = []
        self._waiting: list[tuple[Fraction, Fraction]] = []
        self._before: tuple[Fraction, Fraction] | None = None
        self._lengths = array("d")
        self._long: list[tuple[int, Span]] = []

    def add(self, shown_at: Fraction, length: Fraction) -> None:
        """The next picture in the order of decoding: when it is shown and for how long by its own account [s]."""
        self.end = max(self.end, shown_at + length)
        heapq.heappush(self._waiting, (shown_at, length))
        if len(self._waiting) > _REORDERED:
            self._follow(*heapq.heappop(self._waiting))

    def found(self) -> list[Span]:
        """After the last picture: when a picture stands for far longer than its neighbours, and how long."""
        while self._waiting:
            self._follow(*heapq.heappop(self._waiting))
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
