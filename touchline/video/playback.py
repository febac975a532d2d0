"""One way through a video: its packets decoded in order, on one steady clock, and what was not whole about them.

Belongs here: the order of demuxing, leaving out and decoding, and the account of damage. Opening files is the business
of `touchline/video/opening.py`, the clock that of `touchline/video/stream_clock.py`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Final, NamedTuple, cast

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from touchline.video.awaited_pictures import AwaitedPictures
from touchline.video.field_pictures import FieldPictures
from touchline.video.field_pictures import Holds as PacketHolds
from touchline.video.other_pictures import CodingWatch
from touchline.video.predicted_pictures import Role
from touchline.video.stream_clock import Clock, Holds, Span

_TRIES: Final = 8
"""How often in a row reading may fail before a file counts as ended."""
_WITH_ALPHA: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that give out transparency, by codec."""
_AWAITED: Final = (PacketHolds.FRAME, PacketHolds.UNKNOWN)
"""Of what packets hold, that of which one frame comes. What is unknown is a picture whose header is damaged."""
_AT_SEAM: Final = 3
"""Packets before a step of the clock that the demuxer may mark for it."""
_LOST_TAIL_S: Final = 1.0
"""How much earlier than announced pictures may end before it is told [s]: containers round."""
_MATROSKA_TIME: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


class Shown(NamedTuple):
    """A decoded frame: its presentation time in the steady clock [s], how long it is shown [s], the frame."""

    time: Fraction
    length: Fraction
    frame: VideoFrame


class Damage:
    """Stretches of time whose pictures are not as they were sent: marked by the decoder or predicted from such ones."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._is_open = False
        self._is_sure = False
        self._reached = Fraction(0)

    def covers(self, time: Fraction) -> bool:
        """Whether the frame at `time` [s], which was seen last, is damaged."""
        return bool(self.spans) and time < self.spans[-1].start + self.spans[-1].length

    def see(self, shown: Shown, *, is_corrupt: bool, role: Role | None) -> None:
        """The next frame in the order of presentation. `role` is what it is to others; none where that is unknown.

        Behind a gap a decoder may give frames out too late. What is damaged then counts from the time that was reached:
        of no stretch that has passed is anything told afterwards.
        """
        self._reached = time = max(shown.time, self._reached)
        self._is_sure |= is_corrupt
        if not is_corrupt and not self._is_open:
            return
        if not is_corrupt and shown.frame.key_frame:
            self._extend(time)
            self._is_open = False
            return
        if not self._is_open:
            self.spans.append(Span(time, Fraction(0)))
        self._extend(time + shown.length)
        if role is None or role is Role.UNKNOWN:
            # From a B-frame nothing is predicted, as a rule.
            self._is_open = self._is_open or shown.frame.pict_type != PictureType.B
        else:
            self._is_open = self._is_open or role is not Role.UNREFERENCED

    def fail(self, time: Fraction, length: Fraction) -> None:
        """Of the frame at `time` nothing could be decoded, as the decoder says."""
        self._is_sure = True
        self.miss(time, length, Role.UNKNOWN)

    def miss(self, time: Fraction, length: Fraction, role: Role) -> None:
        """The frame at `time` does not come. `role` is what it was to others."""
        if not self._is_open:
            self.spans.append(Span(max(time, self._reached), length))
        self._is_open = self._is_open or role is not Role.UNREFERENCED

    def retract(self) -> None:
        """What was missed comes after all."""
        if not self._is_sure:
            self.spans.clear()
            self._is_open = False

    def end(self, time: Fraction) -> None:
        """The pictures end at `time`: what was lost last and never made good goes on until then."""
        if self._is_open:
            self._extend(time)

    def _extend(self, end: Fraction) -> None:
        start, length = self.spans[-1]
        self.spans[-1] = Span(start, max(length, end - start))


class Playback:
    """Plays the pictures of an open file once.

    What a decoder makes of damaged pictures depends on how many threads it has, and on which one is first. Where
    `is_damaged` it has one, so that they are the same on every machine, if played from the first packet on.

    `decoder` is what decodes the pictures, `starts` is when the first of the file's streams begins [s]. After the last
    frame: `clock.steps`, `holds` and `damage` as their classes say; `breaks_off`: the file ends within a packet;
    `reached`: the byte where the last packet of any stream ends; `coding`: what pictures could not be decoded. Before:
    `is_suspect`: packets were damaged, so that frames may be whose own packets were not.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, is_damaged: bool = False) -> None:
        self.decoder = decoder_of(stream)
        if is_damaged:
            self.decoder.thread_type, self.decoder.thread_count = "NONE", 1
        self._container = container
        self._stream = stream
        self._step = frame_length(stream)
        self._may_jump = may_jump(container)
        self._length = announced_duration(container, stream)
        self._announced_end = announced_end(container)
        self._announces_pictures = announces_pictures(stream)
        self.clock = Clock(may_jump=self._may_jump, step=self._step)
        self.holds = Holds()
        self.coding = CodingWatch(container, stream)
        self.damage = Damage()
        self.starts = Fraction(container.start_time or 0, av.time_base)
        self.breaks_off = False
        self.is_suspect = False
        self.reached = 0
        context = stream.codec_context
        self._fields = FieldPictures(bytes(context.extradata or b"")) if context.name == "h264" else None
        self._awaited = AwaitedPictures(context.name, bytes(context.extradata or b""))
        self._corrupt: set[int] = set()
        self._is_begun = False
        self._at_seams: set[int] = set()
        self._follows = Fraction(0)
        self._first: Fraction | None = None
        self._end = Fraction(0)

    def announced(self, end: Fraction) -> float | None:
        """The length that the file announces for its pictures [s], if they end well before it; else none.

        `end` is when the last one ends [s], counted from the first. Clocks of transport streams announce nothing.
        """
        if self.clock.steps or self._may_jump:
            return None
        # What is announced may be the longest stream only, such as the sound.
        missing = self._length - float(end) if self._announces_pictures else self._announced_end - float(self._end)
        return self._length if missing > _LOST_TAIL_S else None

    def is_doubtful(self, time: Fraction) -> bool:
        """Whether the frame at `time` [s], which was seen last, may depend on where decoding began, and on threads."""
        return self.is_suspect or self.damage.covers(time)

    def keyframes(self, until: Fraction) -> list[int]:
        """The places, counted in packets, of the keyframes that are shown at `until` [s] or before; reads on to there.

        Decodes nothing. The object is used up.
        """
        found = []
        for index, packet in enumerate(self._packets()):
            shown_at = _shown_at(packet)
            if packet is None or shown_at is None:
                continue
            if packet.is_keyframe and shown_at <= until:
                found.append(index)
            if packet.dts is not None and packet.time_base and packet.dts * packet.time_base > until:
                break
        return found

    def frames(self, needed: Callable[[Fraction], bool] = lambda _: True, first: int = 0) -> Iterator[Shown]:
        """Every frame that decodes, in presentation order, from packet `first` on.

        Frames for whose time [s] `needed` says no are left out where no other is predicted from them (B-frames,
        mostly): they need not be decoded. It is asked in the order of decoding. Fields are never left out: both of a
        picture are needed, or none.
        """
        context = self.decoder
        for index, packet in enumerate(self._packets()):
            if packet is not None and index < first:
                continue
            shown_at, holds, role = _shown_at(packet), self._holds(packet), self._awaited.role(packet)
            may_be_left_out = holds is PacketHolds.FRAME and role is not Role.UNKNOWN
            leave_out = shown_at is not None and may_be_left_out and not needed(shown_at)
            context.skip_frame = "NONREF" if leave_out else "DEFAULT"
            if packet is not None and shown_at is not None and holds in _AWAITED:
                self._awaited.add(packet, shown_at, role, is_left_out=leave_out)
            try:
                frames = context.decode(packet)
            except av.EOFError:
                break
            except av.FFmpegError:
                self._fail()
                continue
            yield from map(self._shown, frames)
        if self._first is not None:
            self._miss(max(self.holds.end, self._follows))
        self.damage.end(self.holds.end)

    def _shown(self, frame: VideoFrame) -> Shown:
        if frame.time_base is None and self._stream.time_base is not None:
            frame.time_base = self._stream.time_base  # frames that come out at the end lack it
        base = frame.time_base
        stamp = frame.pts if frame.pts is not None else frame.dts
        # Raw streams carry no clock: their frames follow each other at the announced rate.
        time = self._follows if stamp is None or not base else stamp * base
        length = frame.duration * base if frame.duration and base else self._step
        if self._awaited.are_guessed(time):
            self.damage.retract()
        role = self._miss(time)
        shown = Shown(time, length, frame)
        self._follows = time + length
        # Not all decoders pass on what the demuxer says of a packet.
        is_corrupt = frame.is_corrupt or (frame.pts is not None and frame.pts in self._corrupt)
        self.damage.see(shown, is_corrupt=is_corrupt and frame.pts not in self._at_seams, role=role)
        return shown

    def _miss(self, time: Fraction) -> Role | None:
        """The next frame is shown at `time`: packets whose frames were due before, and did not come, are lost.

        Returns what the frame is to others, if its packet was awaited.
        """
        if self._first is None:
            self._first = time
        role = None
        for due in self._awaited.until(time):
            if due.time == time:
                role = due.role
            # What is shown before the first frame that decodes lacks what came before the recording.
            elif due.time > self._first and due.stamp not in self._at_seams:
                self.damage.miss(due.time, self._step, due.role)
        return role

    def _holds(self, packet: Packet[VideoStream] | None) -> PacketHolds:
        """What a packet holds. Of one that holds a field, the length becomes the picture's."""
        if packet is None or self._fields is None:
            return PacketHolds.FRAME
        holds = self._fields.holds(bytes(packet))
        if holds is PacketHolds.ONE_FIELD:
            packet.duration = 2 * (packet.duration or 0)
        return holds

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The stream's packets, then none, which makes the decoder give out the frames that it still holds."""
        held: deque[Packet[VideoStream]] = deque()
        for packet in self._demuxed():
            is_other = self.coding.is_other(packet)
            if self.clock.correct(packet):
                # Where two recordings meet, their packets' numbers do not follow each other: nothing is missing.
                self._at_seams.update(one.pts for one in (*held, packet) if one.pts is not None)
            shown_at, length = _shown_at(packet), self._length_of(packet)
            if shown_at is not None:
                (self.coding.add if is_other else self.coding.follow)(shown_at, length)
            if is_other:
                continue
            held.append(packet)
            if len(held) > _AT_SEAM:
                yield self._noted(held.popleft())
        while held:
            packet = held.popleft()
            # A transport stream's packets may be marked for what was lost before them.
            self.breaks_off = not held and packet.is_corrupt and not self._may_jump
            # Of a picture that is not all there, less would be seen.
            if not self.breaks_off or self._first is None:
                yield self._noted(packet)
        yield None

    def _length_of(self, packet: Packet[VideoStream]) -> Fraction:
        return packet.duration * packet.time_base if packet.duration and packet.time_base else self._step

    def _noted(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        if packet.is_corrupt and packet.pts is not None:
            self._corrupt.add(packet.pts)
            self.is_suspect |= self._is_begun and packet.pts not in self._at_seams
        self._is_begun |= packet.is_keyframe
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and packet.time_base is not None and not packet.is_discard:
            self.holds.add(stamp * packet.time_base, self._length_of(packet))
        return packet

    def _demuxed(self) -> Iterator[Packet[VideoStream]]:
        failures = 0
        first: tuple[int, int] | None = None
        while failures < _TRIES:
            try:
                for packet in self._container.demux():
                    if not packet.size:
                        continue
                    failures = 0
                    self.reached = max(self.reached, (packet.pos or 0) + packet.size)
                    if packet.pts is not None and packet.time_base is not None:
                        self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.coding.see(packet)
                    if packet.stream_index != self._stream.index:
                        continue
                    place = (packet.pos, packet.dts) if packet.pos is not None and packet.dts is not None else None
                    if place is not None and place == first:
                        return  # The index of a file that is joined from several leads to the first one again.
                    first = first or place
                    yield cast("Packet[VideoStream]", packet)
                return
            except av.EOFError:
                return
            except av.BlockingIOError:
                # No packets for a while, as in room that a recorder reserved at the end.
                failures += 1
            except av.FFmpegError:
                failures += 1
                self._fail()

    def _fail(self) -> None:
        """What is shown next could not be read or decoded. Pictures before the first that decodes are not missed."""
        if self._first is not None:
            self.damage.fail(self._follows, self._step)


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """What decodes the stream: of VP8 and VP9 with transparency, which FFmpeg's own decoders leave out, libvpx."""
    own = stream.codec_context
    name = _WITH_ALPHA.get(own.name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return own
    decoder = cast(VideoCodecContext, CodecContext.create(name, "r"))
    decoder.thread_type = "AUTO"
    return decoder


def may_jump(container: InputContainer) -> bool:
    """Whether the clock of such a container may be discontinuous, by FFmpeg's account (transport streams and such)."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def frame_length(stream: VideoStream) -> Fraction:
    """How long a frame is shown that does not say so itself [s]."""
    rate = frame_rate(stream)
    return 1 / rate if rate else Fraction(1, 25)


def frame_rate(stream: VideoStream) -> Fraction:
    """Frames per second by the file's own account; 0 where it gives none."""
    # Of raw streams the average is that of a clock's ticks.
    rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    return min(rates, default=Fraction(0))


def announces_pictures(stream: VideoStream) -> bool:
    """Whether the file says how long its pictures go on, and not only how long the longest of its streams."""
    return bool(stream.duration) or _tagged_end(stream) is not None


def announced_duration(container: InputContainer, stream: VideoStream) -> float:
    """Length of the pictures in seconds by the file's own account; 0 where it gives none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    tagged = _tagged_end(stream)
    return max(0.0, (announced_end(container) if tagged is None else tagged) - max(0.0, begin))


def announced_end(container: InputContainer) -> float:
    """When the longest of the streams ends, in the file's own clock [s], by its own account; 0 where it gives none."""
    if not container.duration:
        return 0.0
    # Matroska and FLV announce when the last frame ends, counted from 0 rather than from the first frame.
    counts_from_0 = "matroska" in container.format.name or container.format.name == "flv"
    start = 0 if counts_from_0 else container.start_time
    return (container.duration + (start or 0)) / av.time_base


def _tagged_end(stream: VideoStream) -> float | None:
    """When the pictures end by the tag that Matroska's muxers write for each stream [s]."""
    tag = _MATROSKA_TIME.fullmatch(stream.metadata.get("DURATION", ""))
    return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) if tag else None


def _shown_at(packet: Packet[VideoStream] | None) -> Fraction | None:
    """When the frame of a packet is shown, by the packet [s]; none where it does not say, or its frame is not shown."""
    if packet is None or packet.pts is None or packet.time_base is None or packet.is_discard:
        return None
    return packet.pts * packet.time_base
