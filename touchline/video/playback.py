"""One pass over a video: its packets are decoded in order, on one steady clock, and damage is recorded.

Belongs here: demuxing, skipping and decoding, and the record of damage. Files are opened in
`touchline/video/opening.py`; the clock is in `touchline/video/stream_clock.py`.
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
"""Number of read errors in a row after which a file counts as ended."""
_WITH_ALPHA: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that return transparency, by codec (FFmpeg's names)."""
_AWAITED: Final = (PacketHolds.FRAME, PacketHolds.UNKNOWN)
"""Contents of packets for which the decoder returns one frame. UNKNOWN is a picture whose header is damaged."""
_AT_SEAM: Final = 3
"""Number of packets before a step of the clock that the demuxer may mark as corrupt because of the step."""
_LOST_TAIL_S: Final = 1.0
"""Time by which pictures may end earlier than announced without a warning, because containers round durations [s]."""
_MATROSKA_TIME: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


class Shown(NamedTuple):
    """A decoded frame: presentation time by the steady clock [s], display duration [s], and the frame."""

    time: Fraction
    length: Fraction
    frame: VideoFrame


class Damage:
    """Time spans of damaged pictures: those that the decoder marks as corrupt, and those predicted from them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._is_open = False
        self._is_sure = False
        self._reached = Fraction(0)

    def covers(self, time: Fraction) -> bool:
        """Whether the last frame, at `time` [s], is damaged."""
        return bool(self.spans) and time < self.spans[-1].start + self.spans[-1].length

    def see(self, shown: Shown, *, is_corrupt: bool, role: Role | None) -> None:
        """Adds the next frame in presentation order. `role` is its role in prediction; None if unknown.

        After a gap, a decoder may return frames too late. Their damage counts from the time already reached, because
        earlier spans have been reported.
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
            # Usually, no frame is predicted from a B-frame.
            self._is_open = self._is_open or shown.frame.pict_type != PictureType.B
        else:
            self._is_open = self._is_open or role is not Role.UNREFERENCED

    def fail(self, time: Fraction, length: Fraction) -> None:
        """Adds a frame at `time` [s] of the given length [s] for which the decoder raised an error."""
        self._is_sure = True
        self.miss(time, length, Role.UNKNOWN)

    def miss(self, time: Fraction, length: Fraction, role: Role) -> None:
        """Adds a frame at `time` [s] of the given length [s] that the decoder did not return."""
        if not self._is_open:
            self.spans.append(Span(max(time, self._reached), length))
        self._is_open = self._is_open or role is not Role.UNREFERENCED

    def retract(self) -> None:
        """Removes missed frames, which turned out not to be lost, unless other damage is certain."""
        if not self._is_sure:
            self.spans.clear()
            self._is_open = False

    def end(self, time: Fraction) -> None:
        """Ends the last span at `time` [s], the end of the pictures, if no keyframe ended it before."""
        if self._is_open:
            self._extend(time)

    def _extend(self, end: Fraction) -> None:
        start, length = self.spans[-1]
        self.spans[-1] = Span(start, max(length, end - start))


class Playback:
    """Decodes the pictures of an open file once.

    The decoder's output for damaged pictures depends on its threads. With `is_damaged`, it has only one, so that the
    output is the same on every machine if decoding begins with the first packet.

    `starts` is the start of the file's first stream [s]. `is_suspect`: corrupt packets were read, so frames of other
    packets may be damaged as well. After the last frame: `clock`, `holds`, `damage` and `coding` are complete;
    `breaks_off`: the file ends within a packet; `reached`: end of the last packet of any stream [bytes].
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
        """The announced duration of the pictures [s], if they end well before it; otherwise None.

        `end` is the end of the last picture, counted from the first [s]. Transport streams announce no duration.
        """
        if self.clock.steps or self._may_jump:
            return None
        # The announced duration may be that of the longest stream, such as the audio.
        missing = self._length - float(end) if self._announces_pictures else self._announced_end - float(self._end)
        return self._length if missing > _LOST_TAIL_S else None

    def is_doubtful(self, time: Fraction) -> bool:
        """Whether the last frame, at `time` [s], may depend on the first packet and on the decoder's threads."""
        return self.is_suspect or self.damage.covers(time)

    def keyframes(self, until: Fraction) -> list[int]:
        """Packet numbers of the keyframes shown at or before `until` [s]. Reads the file up to there, without decoding.

        The object cannot be used afterwards.
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

        Frames whose time [s] is not `needed` are skipped, without decoding, if no other frame is predicted from them
        (mostly B-frames). `needed` is called in decoding order. Fields are never skipped, because both fields of a
        picture are needed.
        """
        context = self.decoder
        for index, packet in enumerate(self._packets()):
            if packet is not None and index < first:
                continue
            shown_at, holds, role = _shown_at(packet), self._holds(packet), self._awaited.role(packet)
            may_be_skipped = holds is PacketHolds.FRAME and role is not Role.UNKNOWN
            skip = shown_at is not None and may_be_skipped and not needed(shown_at)
            context.skip_frame = "NONREF" if skip else "DEFAULT"
            if packet is not None and shown_at is not None and holds in _AWAITED:
                self._awaited.add(packet, shown_at, role, is_left_out=skip)
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
            frame.time_base = self._stream.time_base  # frames that are flushed at the end have none
        base = frame.time_base
        stamp = frame.pts if frame.pts is not None else frame.dts
        # Raw streams have no time stamps: their frames follow each other at the announced rate.
        time = self._follows if stamp is None or not base else stamp * base
        length = frame.duration * base if frame.duration and base else self._step
        if self._awaited.are_guessed(time):
            self.damage.retract()
        role = self._miss(time)
        shown = Shown(time, length, frame)
        self._follows = time + length
        # Not all decoders pass on that the demuxer marked a packet as corrupt.
        is_corrupt = frame.is_corrupt or (frame.pts is not None and frame.pts in self._corrupt)
        self.damage.see(shown, is_corrupt=is_corrupt and frame.pts not in self._at_seams, role=role)
        return shown

    def _miss(self, time: Fraction) -> Role | None:
        """Records frames that were due before the next frame, at `time` [s], as lost. Returns the next frame's role."""
        if self._first is None:
            self._first = time
        role = None
        for due in self._awaited.until(time):
            if due.time == time:
                role = due.role
            # Frames before the first decoded one are predicted from pictures before the recording.
            elif due.time > self._first and due.stamp not in self._at_seams:
                self.damage.miss(due.time, self._step, due.role)
        return role

    def _holds(self, packet: Packet[VideoStream] | None) -> PacketHolds:
        """What a packet holds. The duration of a packet with one field is set to that of the picture."""
        if packet is None or self._fields is None:
            return PacketHolds.FRAME
        holds = self._fields.holds(bytes(packet))
        if holds is PacketHolds.ONE_FIELD:
            packet.duration = 2 * (packet.duration or 0)
        return holds

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The stream's packets, then None, which flushes the decoder."""
        held: deque[Packet[VideoStream]] = deque()
        for packet in self._demuxed():
            is_other = self.coding.is_other(packet)
            if self.clock.correct(packet):
                # Where two recordings are joined, packet counters are not continuous, but nothing is missing.
                self._at_seams.update(one.pts for one in (*held, packet) if one.pts is not None)
            shown_at, length = _shown_at(packet), self._length_of(packet)
            if shown_at is not None:
                (self.coding.add if is_other else self.coding.follow)(shown_at, length)
            if is_other:
                continue
            held.append(packet)
            if len(held) > _AT_SEAM:
                yield self._recorded(held.popleft())
        while held:
            packet = held.popleft()
            # Packets of transport streams may be marked as corrupt because of earlier losses.
            self.breaks_off = not held and packet.is_corrupt and not self._may_jump
            # A truncated last picture is left out, unless it is the only one.
            if not self.breaks_off or self._first is None:
                yield self._recorded(packet)
        yield None

    def _length_of(self, packet: Packet[VideoStream]) -> Fraction:
        return packet.duration * packet.time_base if packet.duration and packet.time_base else self._step

    def _recorded(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """The packet, after its corruption and its display time are recorded."""
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
                    identity = (packet.pos, packet.dts) if packet.pos is not None and packet.dts is not None else None
                    if identity is not None and identity == first:
                        return  # The index of concatenated files may lead to the first packet again.
                    first = first or identity
                    yield cast("Packet[VideoStream]", packet)
                return
            except av.EOFError:
                return
            except av.BlockingIOError:
                # No packets for a while, for example in space that a recorder preallocated.
                failures += 1
            except av.FFmpegError:
                failures += 1
                self._fail()

    def _fail(self) -> None:
        """Records the next picture as unreadable. Pictures before the first decoded frame do not count."""
        if self._first is not None:
            self.damage.fail(self._follows, self._step)


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder: libvpx for VP8 and VP9 with transparency, which FFmpeg's own decoders drop."""
    own = stream.codec_context
    name = _WITH_ALPHA.get(own.name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return own
    decoder = cast(VideoCodecContext, CodecContext.create(name, "r"))
    decoder.thread_type = "AUTO"
    return decoder


def may_jump(container: InputContainer) -> bool:
    """Whether time stamps of this container may be discontinuous, according to FFmpeg (transport streams)."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def frame_length(stream: VideoStream) -> Fraction:
    """Display duration of frames that have none of their own [s]."""
    rate = frame_rate(stream)
    return 1 / rate if rate else Fraction(1, 25)


def frame_rate(stream: VideoStream) -> Fraction:
    """Frame rate in the file's headers [1/s]; 0 if unknown."""
    # For raw streams, the average rate is that of the clock's ticks, so the lower one is right.
    rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    return min(rates, default=Fraction(0))


def announces_pictures(stream: VideoStream) -> bool:
    """Whether the file announces the duration of the video stream, and not only that of its longest stream."""
    return bool(stream.duration) or _tagged_end(stream) is not None


def announced_duration(container: InputContainer, stream: VideoStream) -> float:
    """Duration of the pictures in the file's headers [s]; 0 if unknown."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    tagged = _tagged_end(stream)
    return max(0.0, (announced_end(container) if tagged is None else tagged) - max(0.0, begin))


def announced_end(container: InputContainer) -> float:
    """End of the longest stream in the file's headers, by the file's clock [s]; 0 if unknown."""
    if not container.duration:
        return 0.0
    # In Matroska and FLV the duration counts from 0, and not from the first frame.
    counts_from_0 = "matroska" in container.format.name or container.format.name == "flv"
    start = 0 if counts_from_0 else container.start_time
    return (container.duration + (start or 0)) / av.time_base


def _tagged_end(stream: VideoStream) -> float | None:
    """End of the pictures [s] by the tag DURATION, which Matroska muxers write for each stream; None without it."""
    tag = _MATROSKA_TIME.fullmatch(stream.metadata.get("DURATION", ""))
    return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) if tag else None


def _shown_at(packet: Packet[VideoStream] | None) -> Fraction | None:
    """Presentation time of a packet [s]; None if it has none, or if its frame is not shown."""
    if packet is None or packet.pts is None or packet.time_base is None or packet.is_discard:
        return None
    return packet.pts * packet.time_base
