"""Which pictures the decoder has yet to give out: what is due and does not come is lost.

Belongs here: the account of packets whose frames are due. What a lost picture means is the business of
`touchline/video/playback.py`.
"""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from touchline.video.predicted_pictures import PredictedPictures, Role


class Due(NamedTuple):
    """A picture that a packet holds: when it is shown [s], the packet's time stamp, and what it is to others."""

    time: Fraction
    stamp: int
    role: Role


class AwaitedPictures:
    """Follows packets in the order of decoding, and frames in the order in which they come out.

    `extradata` are the headers of the stream, which is coded in `codec` (FFmpeg's name).
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._pictures = PredictedPictures(codec, extradata)
        self._is_on = self._pictures.is_known
        self._due: list[Due] = []
        self._latest: Fraction | None = None
        self._shown: Fraction | None = None
        self._only_rises = True

    def role(self, packet: Packet[VideoStream] | None) -> Role | None:
        """What the packet's picture is to others; none where the codec does not tell."""
        return self._pictures.role(bytes(packet)) if packet is not None and self._pictures.is_known else None

    def add(self, packet: Packet[VideoStream], time: Fraction, role: Role | None, *, is_left_out: bool) -> None:
        """The next packet, whose picture is shown at `time` [s]. One that is left out comes if others need it."""
        if self._latest is not None and time < self._latest:
            self._only_rises = False
        self._latest = time if self._latest is None else max(time, self._latest)
        is_awaited = role is Role.REFERENCED or (role is not Role.ONE_FIELD and not is_left_out)
        if self._is_on and role is not None and packet.pts is not None and is_awaited:
            heapq.heappush(self._due, Due(time, packet.pts, role))

    def until(self, time: Fraction) -> list[Due]:
        """Takes out the pictures that are due at `time` [s] or before."""
        due = []
        while self._due and self._due[0].time <= time:
            due.append(heapq.heappop(self._due))
        return due

    def are_guessed(self, time: Fraction) -> bool:
        """With the next frame, shown at `time` [s], frames turn out to be reordered though packets' times are not.

        Such times are guesses (AVI stores none): nothing is awaited any more.
        """
        goes_back = self._shown is not None and time < self._shown
        self._shown = time if self._shown is None else max(time, self._shown)
        if not (self._is_on and self._only_rises and goes_back):
            return False
        self._is_on = False
        self._due.clear()
        return True
