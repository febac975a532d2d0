"""Node 0, `extract_frames`: samples frames of a video or an image by presentation time, as JPEGs in chunks.

Belongs here: settings, the choice of frames, their storage and the division into chunks. `touchline/video/opening.py`
opens, decodes and refuses files; the `save` function stores JPEGs.

Sample k is the first frame whose time, counted from the first frame of the video, is at least k / `sample_fps`. A
frame that is first for several k is sampled once, with the largest k as its sequence number. So sequence numbers rise,
but have gaps in a video with fewer frames than samples. Sequence and chunk depend only on the frame's time, so that an
interrupted extraction can resume in the middle of a file. Where the recording's clock steps, times and time stamps are
those of the steady clock of `touchline/video/stream_clock.py`.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
from pydantic import Field

from touchline.config import StageConfig
from touchline.errors import TouchlineError
from touchline.values import Image, SampledFrame
from touchline.video.opening import (
    TimedFrame,
    VideoInfo,
    breaks_off,
    decoded_frames,
    open_video,
    picture_stream,
    probe,
    read_image,
    unread,
)
from touchline.video.playback import Playback
from touchline.video.recording_faults import DamageTally, Faults
from touchline.video.stream_clock import Span
from touchline.video.upright import resized

__all__ = ["VERSION", "ExtractFrames", "ExtractFramesConfig", "VideoInfo", "deserialize", "probe", "serialize"]

VERSION: Final = "3"

Save = Callable[[int, bytes], str]
"""Function that stores the JPEG of a sequence number and returns its key."""

_PENDING: Final = 8
"""Largest number of frames that wait to be encoded and saved. It limits memory."""
_REORDERED: Final = 32
"""Number of presentation times among which the one before a frame is searched. H.264 reorders at most 16 frames."""
_SEEK_ATTEMPTS: Final = 3
"""Number of keyframes before a chunk that are tried as start, the last one first, because the first frame decoded from
one may be shown too late. If all fail, decoding starts at the beginning."""
_STRIP: Final = 25
"""Aspect ratio of a picture from which a warning is given that text may be missed. Text as high as the picture is read
at a ratio of 40, but not at 50."""


class ExtractFramesConfig(StageConfig):
    """Settings of `extract_frames`."""

    sample_fps: float = Field(default=2.0, gt=0, le=60, description="Frames taken per second of video [1/s]")
    chunk_s: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Length of a chunk: after each, work is saved and can be resumed [s]",
    )
    jpeg_quality: int = Field(default=92, ge=50, le=100, description="JPEG quality of stored frames [0-100]")
    max_side: int = Field(
        default=1920, ge=64, le=7680, description="Frames whose longer side exceeds this are scaled down to it [px]"
    )


class ExtractFrames:
    """The worker. `save(sequence, jpeg)` stores one frame and returns its key. It is called from several threads."""

    def __init__(self, path: Path, config: ExtractFramesConfig, *, save: Save) -> None:
        self._path = path
        self._config = config
        self._save = save
        self._rate = Fraction(config.sample_fps).limit_denominator(100_000)
        self._chunk = Fraction(config.chunk_s).limit_denominator(100_000)
        self._since = Fraction(0)
        self._origin: Fraction | None = None
        self._playback: Playback | None = None
        self._earlier = DamageTally()
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._stats: dict[str, Any] = {
            "decoded": 0,
            "sampled": 0,
            "duration_s": 0.0,
            "fps": 0.0,
            "width": 0,
            "height": 0,
        }

    def stats(self) -> dict[str, Any]:
        """Numbers of frames of this attempt (`decoded`, `sampled`), and, once the video has ended, facts on all of it.

        Facts: `duration_s` (until the end of the last frame), `fps`, stored `width` and `height` [px], `codec`,
        `rotation` [degrees], `is_mirrored`, `is_image`, the analysed `track` of all `tracks`, `resumed_after` (chunk id
        or None), and `warnings` for the report.

        For a video also [s]: `damaged_s`, `damaged_places` and `damaged_from_s` (duration, number and begin of damaged
        spans, up to the last yielded chunk), `clock_steps` (the first 20 steps of the recording's clock, [[at, by]]),
        `held_s` (time of pictures that are shown far longer than their neighbours), `misdated_s` (time of pictures that
        are skipped because they came too late), `start_s` (time of the first picture after the file's start; all times
        count from that picture), `undecoded_s` (time whose pictures use another codec or track); and `unread_bytes`
        (size of the part of the file after the recording).
        """
        return self._stats | {"warnings": list(self._warnings)}

    def chunks(
        self, after: int | None = None, earlier: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[int, list[SampledFrame]]]:
        """Yields (chunk id, its frames) for all chunks after the finished chunk `after` (None: from the start).

        `earlier` are the `stats()` of the attempt that finished that chunk: the damage that it found is included in the
        totals. Chunks without frames are left out. A damaged video yields the frames that decode, with warnings in
        `stats()`. Raises BadInputError as `probe` does, and what `save` raises.
        """
        info = probe(self._path)
        self._since = (after + 1) * self._chunk if after is not None else Fraction(0)
        self._earlier = DamageTally.of(earlier or {})
        self._stats |= {"fps": info.fps, "codec": info.codec, "rotation": info.rotation, "is_image": info.is_image}
        self._stats |= {"is_mirrored": info.is_mirrored, "track": info.track, "tracks": info.tracks}
        self._notes += info.notes
        if max(info.width, info.height) >= _STRIP * min(info.width, info.height):
            self._notes.append(
                f"{self._path.name}: a picture of {info.width} x {info.height} px is so long that it is searched at a "
                "small fraction of its size, at which text may be missed. Cut it into pieces that are at most "
                "ten times as long as high."
            )
        self._warnings = list(self._notes)
        self._stats["resumed_after"] = after
        if info.is_image:
            if after is None:
                yield 0, [self._image()]
            return
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="frames") as pool:
            yield from self._video_chunks(pool)

    def _image(self) -> SampledFrame:
        frame = self._stored(0, 0, (Fraction(0), Fraction(0), None), 0, Fraction(1), read_image(self._path))
        self._stats |= {"decoded": 1, "sampled": 1, "width": frame.width, "height": frame.height}
        return frame

    def _video_chunks(self, pool: ThreadPoolExecutor) -> Iterator[tuple[int, list[SampledFrame]]]:
        pending: deque[Future[SampledFrame]] = deque()
        chunk_id: int | None = None
        done: list[SampledFrame] = []
        try:
            for sequence, time, until, timed in self._samples():
                current = int(time // self._chunk)
                if chunk_id is not None and current != chunk_id:
                    done.extend(future.result() for future in pending)
                    pending.clear()
                    self._stats |= self._damage((chunk_id + 1) * self._chunk).stats()
                    yield chunk_id, done
                    done = []
                chunk_id = current
                if len(pending) >= _PENDING:
                    done.append(pending.popleft().result())
                pending.append(pool.submit(self._store, sequence, current, time, until, timed))
                self._stats["sampled"] += 1
            done.extend(future.result() for future in pending)
            pending.clear()
        finally:
            for future in pending:
                future.cancel()
        if chunk_id is not None:
            self._stats |= {"width": done[-1].width, "height": done[-1].height}
            yield chunk_id, done

    def _samples(self) -> Iterator[tuple[int, Fraction, Fraction, TimedFrame]]:
        """(sequence, time since the video's first frame [s], end of its display time [s], frame) of all samples."""
        taken = -1
        is_damaged = self._earlier.places > 0
        while True:
            for sequence, time, until, timed in self._firsts(is_damaged):
                if sequence <= taken or time < self._since:
                    continue
                # Before damaged frames, the time until which this frame is shown may depend on the decoder's threads.
                if not is_damaged and self._playback is not None and self._playback.is_doubtful(timed.time):
                    break
                taken = sequence
                yield sequence, time, until, timed
            else:
                return
            # The frames so far are undamaged and decode the same everywhere. The rest is decoded again as damaged.
            is_damaged = True

    def _firsts(self, is_damaged: bool) -> Iterator[tuple[int, Fraction, Fraction, TimedFrame]]:
        """As `_samples`, in one pass over the video, and with samples before the first chunk that had to be decoded."""
        last, end = -1, Fraction(0)
        shown = [Fraction(-1)]
        skipped: list[Fraction] = []  # times of frames that are not decoded, rising
        held: tuple[int, Fraction, TimedFrame] | None = None

        def needed(time: Fraction) -> bool:
            """Whether a frame is the first one after a sampling time."""
            at = bisect_left(shown, time)
            before = shown[at - 1] if at else Fraction(-1)
            shown.insert(at, time)
            del shown[:-_REORDERED]
            if math.floor(time * self._rate) > math.floor(before * self._rate):
                return True
            insort(skipped, time)
            return False

        def released(before: Fraction) -> tuple[int, Fraction, Fraction, TimedFrame]:
            """The held frame, which is shown until the next decoded frame (at `before`) or an earlier skipped one."""
            assert held is not None
            after_held = bisect_right(skipped, held[1])
            follows = skipped[after_held] if after_held < len(skipped) else before
            return held[0], held[1], max(held[1], min(follows, before, self._undecoded_after(held[1], before))), held[2]

        for time, timed in self._frames(Fraction(0) if is_damaged else self._since, needed, is_damaged):
            self._stats["decoded"] += 1
            end = max(end, time + timed.length)
            # Frames that are shown before this one and were skipped have been read before it left the decoder.
            if held is not None:
                yield released(time)
                held = None
            del skipped[: bisect_right(skipped, time)]
            sequence = math.floor(time * self._rate)
            if sequence > last:
                last = sequence
                held = (sequence, time, timed)
        end = self._ended(end)
        if held is not None:
            yield released(end)
        self._finish(end)

    def _frames(
        self, start: Fraction, needed: Callable[[Fraction], bool], is_damaged: bool
    ) -> Iterator[tuple[Fraction, TimedFrame]]:
        """(time since the video's first frame [s], frame), from the last sampling time before `start` or earlier.

        `needed` is that of `decoded_frames`, but for times since the first frame. Earlier packets are read without
        decoding them, because they show where the clock stepped.
        """
        due = math.floor(start * self._rate) / self._rate
        keyframes = self._keyframes(due) if due > 0 else []

        def is_needed(time: Fraction) -> bool:
            return self._origin is None or needed(time - self._origin)

        for packet in (*reversed(keyframes[-_SEEK_ATTEMPTS:]), 0):
            with open_video(self._path) as container:
                stream = picture_stream(container, self._path)
                self._playback = Playback(container, stream, is_damaged=is_damaged)
                frames = decoded_frames(container, stream, self._playback, is_needed, packet)
                first = next(frames, None)
                if first is None or (packet and first.time - self._begins(first) > due):
                    continue
                yield first.time - self._begins(first), first
                for timed in frames:
                    yield timed.time - self._begins(timed), timed
                return

    def _keyframes(self, due: Fraction) -> list[int]:
        """Packet numbers of the keyframes shown at or before `due` [s]."""
        with open_video(self._path) as container:
            stream = picture_stream(container, self._path)
            first = next(decoded_frames(container, stream), None)
            if first is None:
                return []
        with open_video(self._path) as container:
            stream = picture_stream(container, self._path)
            return Playback(container, stream).keyframes(self._begins(first) + due)

    def _begins(self, first: TimedFrame) -> Fraction:
        """The time of the video's first frame in the stream [s]."""
        if self._origin is None:
            self._origin = first.time
        return self._origin

    def _undecoded_after(self, time: Fraction, before: Fraction) -> Fraction:
        """Time [s] at which undecoded pictures begin after `time` [s]; `before` if there are none."""
        if self._playback is None or self._origin is None:
            return before
        begins = self._playback.coding.begins(time + self._origin)
        return before if begins is None else begins - self._origin

    def _ended(self, end: Fraction) -> Fraction:
        """The end of the video [s]. `end` is that of the last decoded frame; a skipped frame may end later."""
        if self._playback is None or self._origin is None:
            return end
        return max(end, self._playback.holds.end - self._origin)

    def _finish(self, end: Fraction) -> None:
        """Sets the stats and warnings of the whole video, which ends at `end` [s]."""
        playback, origin = self._playback, self._origin
        if playback is None or origin is None:
            return
        others = playback.coding.found(playback.holds.end)
        begins = [other.span.start for other in others]
        holds = [span for span in playback.holds.found() if not any(span.holds(time) for time in begins)]
        faults = Faults(
            steps=_counted_from(origin, playback.clock.steps),
            holds=_counted_from(origin, holds),
            misdated=_counted_from(origin, playback.holds.misdated),
            late=origin - playback.starts,
            end=end,
            breaks_off=playback.breaks_off or breaks_off(self._path),
            announced=playback.announced(end),
            others=[other._replace(span=_counted_from(origin, [other.span])[0]) for other in others],
            tail=unread(self._path, playback.reached),
        )
        tally = self._damage(None)
        self._stats |= {"duration_s": round(float(end), 6)} | tally.stats() | faults.stats()
        self._warnings = [*self._notes, *tally.sentences(self._path.name), *faults.sentences(self._path.name)]

    def _damage(self, until: Fraction | None) -> DamageTally:
        """Damage before `until` [s] (None: all), including that before this attempt's first chunk."""
        if self._playback is None or self._origin is None:
            return self._earlier
        return self._earlier.plus(_counted_from(self._origin, self._playback.damage.spans), self._since, until)

    def _store(self, sequence: int, chunk_id: int, time: Fraction, until: Fraction, timed: TimedFrame) -> SampledFrame:
        pts, base = timed.frame.pts, timed.frame.time_base
        # A stream without time stamps gets them in microseconds.
        stamp = (pts, base) if pts is not None and base else (round(time * 1_000_000), Fraction(1, 1_000_000))
        return self._stored(sequence, chunk_id, (time, until, self._missing_since(timed)), *stamp, timed.image())

    def _missing_since(self, timed: TimedFrame) -> Fraction | None:
        if self._playback is None or self._origin is None:
            return None
        since = self._playback.coding.missing_since(timed.time)
        return None if since is None else since - self._origin

    def _stored(
        self,
        sequence: int,
        chunk_id: int,
        shown: tuple[Fraction, Fraction, Fraction | None],
        pts: int,
        base: Fraction,
        picture: Image,
    ) -> SampledFrame:
        time, until, since = shown
        image = fit(picture, self._config.max_side)
        ok, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality])
        if not ok:
            raise TouchlineError(f"{self._path}: the frame at {float(time):.3f} s could not be encoded as JPEG.")
        jpeg = buffer.tobytes()
        return SampledFrame(
            sequence=sequence,
            chunk_id=chunk_id,
            timestamp=round(float(time), 6),
            pts=pts,
            time_base=(base.numerator, base.denominator),
            width=image.shape[1],
            height=image.shape[0],
            key=self._save(sequence, jpeg),
            sha256=hashlib.sha256(jpeg).hexdigest(),
            size=len(jpeg),
            shown_until=round(float(until), 6),
            missing_since=None if since is None else round(float(since), 6),
        )


def _counted_from(origin: Fraction, spans: list[Span]) -> list[Span]:
    return [Span(start - origin, length) for start, length in spans]


def fit(image: Image, max_side: int) -> Image:
    """The image (H x W x 3, BGR, uint8), scaled down if its longer side exceeds `max_side` px."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    return image if scale >= 1 else resized(image, max(1, round(width * scale)), max(1, round(height * scale)))


def serialize(document: SampledFrame) -> dict[str, Any]:
    """One sampled frame as a BSON document, without `missing_since` if that is None."""
    fields = asdict(document) | {"time_base": list(document.time_base)}
    if document.missing_since is None:
        del fields["missing_since"]
    return fields


def deserialize(document: dict[str, Any]) -> SampledFrame:
    """The sampled frame that `serialize` wrote."""
    base = document["time_base"]
    return SampledFrame(**{**document, "time_base": (int(base[0]), int(base[1]))})
