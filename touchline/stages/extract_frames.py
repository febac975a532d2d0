"""Node 0: takes frames out of a video or an image, at true presentation times, as JPEGs in chunks.

Belongs here: the stage's settings, which frames are taken, how they are stored and cut into chunks. Opening, decoding
and refusing files is the business of `touchline/video.py`; where JPEGs are kept, that of the `save` function.

Sample k is the first frame whose time, counted from the first frame of the video, is at least k / `sample_fps`. A
frame that is first for several k is taken once and carries the largest of them, so sequence numbers rise but may have
gaps in a video with fewer frames than samples. Sequence and chunk depend on the frame's time alone, which is what lets
an interrupted extraction go on in the middle of a file.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
from pydantic import Field

from touchline.config import StageConfig
from touchline.errors import TouchlineError
from touchline.upright import resized
from touchline.values import Image, SampledFrame
from touchline.video import (
    TimedFrame,
    VideoInfo,
    decoded_frames,
    open_video,
    picture_stream,
    probe,
    read_image,
    seek,
)

__all__ = ["VERSION", "ExtractFrames", "ExtractFramesConfig", "VideoInfo", "deserialize", "probe", "serialize"]

VERSION: Final = "2"

Save = Callable[[int, bytes], str]
"""Stores the JPEG of one sequence number and returns its key."""

_PENDING: Final = 8
"""Frames that may wait to be encoded and saved: bounds memory whatever the length of the video."""
_REORDERED: Final = 32
"""Frames of which the one shown before another is sought: coded pictures are reordered over 16 at most (H.264)."""
_WHOLE_S: Final = 1
"""Of so much of a video's end [s] every frame is decoded: the last one tells how long the video is."""
_SEEK_BACK_S: Final = (0, 2, 10, 30)
"""How much before a chunk to seek [s], in turn: containers without an index land only roughly, and what lands too late
would lose samples. Where none lands in time, decoding starts anew."""
_LOST_TAIL_S: Final = 1.0
"""How much earlier than announced a video may end before it is said to break off (containers round, audio runs on)."""


_STRIP: Final = 25
"""Ratio of a picture's sides from which text may be lost: read at 40, not at 50, where letters fill the height."""


class ExtractFramesConfig(StageConfig):
    """Settings of `extract_frames`."""

    sample_fps: float = Field(default=2.0, gt=0, le=60, description="Frames taken per second of video [1/s]")
    chunk_s: float = Field(
        default=60.0, ge=1, le=3600, description="Length of a chunk, the unit of journalling and resuming [s]"
    )
    jpeg_quality: int = Field(default=92, ge=50, le=100, description="JPEG quality of stored frames [0-100]")
    max_side: int = Field(
        default=1920, ge=64, le=7680, description="Frames whose longer side exceeds this are scaled down to it [px]"
    )


class ExtractFrames:
    """The worker. `save(sequence, jpeg)` stores one frame and returns its key; it is called from threads."""

    def __init__(self, path: Path, config: ExtractFramesConfig, *, save: Save) -> None:
        self._path = path
        self._config = config
        self._save = save
        self._rate = Fraction(config.sample_fps).limit_denominator(100_000)
        self._chunk = Fraction(config.chunk_s).limit_denominator(100_000)
        self._announced_s = 0.0
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
        """Counts of this attempt (`decoded`: not all that there are; `sampled`), and of the whole video once it ended:

        `duration_s` (until which the last sample stands), `fps`, stored `width` and `height` [px], `codec`, `rotation`
        [degrees], `is_mirrored`, `is_image`, which picture `track` of how many `tracks` was taken, `resumed_after`
        (chunk id or none), and `warnings`, sentences for the report.
        """
        return self._stats | {"warnings": list(self._warnings)}

    def chunks(self, after: int | None = None) -> Iterator[tuple[int, list[SampledFrame]]]:
        """Yield (chunk id, its frames) for all chunks after the finished chunk `after` (none: from the start).

        A chunk without a frame is left out. A video that breaks off yields what decoded and leaves a warning in
        `stats()`. Raises BadInputError as `probe` does, and whatever `save` raises.
        """
        info = probe(self._path)
        self._announced_s = info.duration_s
        self._stats |= {"fps": info.fps, "codec": info.codec, "rotation": info.rotation, "is_image": info.is_image}
        self._stats |= {"is_mirrored": info.is_mirrored, "track": info.track, "tracks": info.tracks}
        self._warnings += info.notes
        if max(info.width, info.height) >= _STRIP * min(info.width, info.height):
            self._warnings.append(
                f"{self._path.name}: a picture of {info.width} x {info.height} px is so long that it is searched at a "
                "small fraction of its size, at which text may not be seen. Cut it into pieces that are at most "
                "ten times as long as high."
            )
        self._stats["resumed_after"] = after
        if info.is_image:
            if after is None:
                yield 0, [self._image()]
            return
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="frames") as pool:
            yield from self._video_chunks(after, pool)

    def _image(self) -> SampledFrame:
        frame = self._stored(0, 0, (Fraction(0), Fraction(0)), 0, Fraction(1), read_image(self._path))
        self._stats |= {"decoded": 1, "sampled": 1, "width": frame.width, "height": frame.height}
        return frame

    def _video_chunks(self, after: int | None, pool: ThreadPoolExecutor) -> Iterator[tuple[int, list[SampledFrame]]]:
        pending: deque[Future[SampledFrame]] = deque()
        chunk_id: int | None = None
        done: list[SampledFrame] = []
        try:
            for sequence, time, until, timed in self._samples(after):
                current = int(time // self._chunk)
                if chunk_id is not None and current != chunk_id:
                    done.extend(future.result() for future in pending)
                    pending.clear()
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

    def _samples(self, after: int | None) -> Iterator[tuple[int, Fraction, Fraction, TimedFrame]]:
        """(sequence, time since the video's first frame, until when it is shown, frame) of the frames to be stored."""
        start = (after + 1) * self._chunk if after is not None else Fraction(0)
        last, end = -1, Fraction(0)
        damage: list[str] = []
        shown = [Fraction(-1)]
        left_out: list[Fraction] = []  # the times of frames that are not decoded, rising
        held: tuple[int, Fraction, TimedFrame] | None = None

        def needed(time: Fraction) -> bool:
            """Whether a frame is the first after a moment at which one is taken, or among the last of all."""
            at = bisect_left(shown, time)
            before = shown[at - 1] if at else Fraction(-1)
            shown.insert(at, time)
            del shown[:-_REORDERED]
            due = math.floor(time * self._rate) > math.floor(before * self._rate)
            if due or time >= self._announced_s - _WHOLE_S:
                return True
            insort(left_out, time)
            return False

        for time, timed in self._from(start, damage, needed):
            self._stats["decoded"] += 1
            end = max(end, time + timed.length)
            # What was left out between two frames that are given out went into the decoder before the second one.
            if held is not None:
                after_held = bisect_right(left_out, held[1])
                follows = left_out[after_held] if after_held < len(left_out) else time
                yield *held[:2], max(held[1], min(follows, time)), held[2]
                held = None
            del left_out[: bisect_right(left_out, time)]
            sequence = math.floor(time * self._rate)
            if sequence > last:
                last = sequence
                if time >= start:
                    held = (sequence, time, timed)
        if held is not None:
            yield *held[:2], end, held[2]
        self._stats["duration_s"] = round(float(end), 6)
        name = self._path.name
        if damage:
            self._warnings.append(
                f"{name}: the video is damaged; {len(damage)} place(s) were skipped (first: {damage[0]}), "
                "what decoded is kept."
            )
        if self._announced_s - float(end) > _LOST_TAIL_S:
            self._warnings.append(
                f"{name}: the video breaks off at {float(end):.2f} s of the {self._announced_s:.2f} s it announces; "
                "what decoded is kept. Copy the file again if it should be complete."
            )

    def _from(
        self, start: Fraction, damage: list[str], needed: Callable[[Fraction], bool]
    ) -> Iterator[tuple[Fraction, TimedFrame]]:
        """(time since the video's first frame, frame), from the last sample due before `start` or earlier.

        `needed` says of times since the first frame what `decoded_frames` asks.
        """
        origin: Fraction | None = None

        def asked(time: Fraction) -> bool:
            return origin is None or needed(time - origin)

        due = math.floor(start * self._rate) / self._rate
        if due > 0:
            with open_video(self._path) as container:
                stream = picture_stream(container, self._path)
                first = next(decoded_frames(container, stream, damage), None)
                origin = first.time if first else None
                for back in _SEEK_BACK_S:
                    if origin is None or not seek(container, stream, origin + due - back):
                        break
                    frames = decoded_frames(container, stream, damage, asked)
                    landed = next(frames, None)
                    if landed is not None and landed.time - origin <= due:
                        yield landed.time - origin, landed
                        for timed in frames:
                            yield timed.time - origin, timed
                        return
        damage.clear()
        origin = None
        with open_video(self._path) as container:
            for timed in decoded_frames(container, picture_stream(container, self._path), damage, asked):
                origin = timed.time if origin is None else origin
                yield timed.time - origin, timed

    def _store(self, sequence: int, chunk_id: int, time: Fraction, until: Fraction, timed: TimedFrame) -> SampledFrame:
        pts, base = timed.frame.pts, timed.frame.time_base
        # A stream without a clock gets one of microseconds.
        stamp = (pts, base) if pts is not None and base else (round(time * 1_000_000), Fraction(1, 1_000_000))
        return self._stored(sequence, chunk_id, (time, until), *stamp, timed.image())

    def _stored(
        self, sequence: int, chunk_id: int, shown: tuple[Fraction, Fraction], pts: int, base: Fraction, picture: Image
    ) -> SampledFrame:
        time, until = shown
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
        )


def fit(image: Image, max_side: int) -> Image:
    """The BGR image scaled down so that its longer side is at most `max_side` px; itself if it already is."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    return image if scale >= 1 else resized(image, max(1, round(width * scale)), max(1, round(height * scale)))


def serialize(document: SampledFrame) -> dict[str, Any]:
    """One sampled frame as a BSON document."""
    return asdict(document) | {"time_base": list(document.time_base)}


def deserialize(document: dict[str, Any]) -> SampledFrame:
    """The sampled frame that `serialize` wrote."""
    base = document["time_base"]
    return SampledFrame(**{**document, "time_base": (int(base[0]), int(base[1]))})
