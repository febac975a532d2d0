"""Detection of lost pictures: packets whose frames are due but are not returned by the decoder.

Belongs here: the queue of packets whose frames are due. `touchline/video/playback.py` counts lost pictures as damage.
"""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from touchline.video.predicted_pictures import PredictedPictures, Role


class Due(NamedTuple):
    """The picture of a packet: presentation time [s], the packet's time stamp, and its role in prediction."""

    time: Fraction
    stamp: int
    role: Role


class AwaitedPictures:
    """Compares packets, in decoding order, with frames, in the order in which the decoder returns them.

    `codec` is FFmpeg's name of the stream's codec, `extradata` the stream's headers.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._pictures = PredictedPictures(codec, extradata)
        self._is_on = self._pictures.is_known
        self._due: list[Due] = []
        self._latest: Fraction | None = None
        self._shown: Fraction | None = None
        self._only_rises = True

    def role(self, packet: Packet[VideoStream] | None) -> Role | None:
        """The role of the packet's picture; None if it cannot be read for this codec."""
        return self._pictures.role(bytes(packet)) if packet is not None and self._pictures.is_known else None

    def add(self, packet: Packet[VideoStream], time: Fraction, role: Role | None, *, is_left_out: bool) -> None:
        """Adds the next packet, with its presentation time [s]. A skipped picture is decoded only if others need it."""
        if self._latest is not None and time < self._latest:
            self._only_rises = False
        self._latest = time if self._latest is None else max(time, self._latest)
        is_awaited = role is Role.REFERENCED or (role is not Role.ONE_FIELD and not is_left_out)
        if self._is_on and role is not None and packet.pts is not None and is_awaited:
            heapq.heappush(self._due, Due(time, packet.pts, role))

    def until(self, time: Fraction) -> list[Due]:
        """Removes and returns the pictures that are due at or before `time` [s]."""
        due = []
        while self._due and self._due[0].time <= time:
            due.append(heapq.heappop(self._due))
        return due

    def are_guessed(self, time: Fraction) -> bool:
        """Whether the next frame, at `time` [s], is reordered although packets' times rise: these are guesses then.

        AVI, for example, stores no presentation times. Afterwards no frame is expected any more.
        """
        goes_back = self._shown is not None and time < self._shown
        self._shown = time if self._shown is None else max(time, self._shown)
        if not (self._is_on and self._only_rises and goes_back):
            return False
        self._is_on = False
        self._due.clear()
        return True
