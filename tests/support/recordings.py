"""Makes recordings that are odd on purpose, and plays them whole and in parts.

Belongs here: what several tests of reading videos share. The tests say what is right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

from touchline.stages.extract_frames import ExtractFrames, ExtractFramesConfig
from touchline.values import Image, SampledFrame

TS_PACKET = 188
_OF_THE_ATTEMPT = ("decoded", "sampled", "resumed_after")


def noise(count: int, size: tuple[int, int] = (64, 48)) -> list[Image]:
    """Pictures of which every part matters, so that damage anywhere is seen."""
    rng = np.random.default_rng(5)
    return [rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]


def write(
    path: Path,
    images: Sequence[Image],
    *,
    start_s: float = 0.0,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    sound_s: float = 0.0,
) -> Path:
    """Images from `start_s` on, 25 a second or at `times` [s]; with so much silence from 0 on, before the pictures."""
    stamps = [start_s + i / 25 for i in range(len(images))] if times is None else times
    base = Fraction(1, 1000) if times is not None else Fraction(1, 25)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        sound = container.add_stream("aac", rate=16000) if sound_s else None
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        crf = {"crf": "4"} if codec == "libx264" else {}
        stream.options = dict[str, object]({"g": "12", "bf": "2", **crf, **(options or {})})
        if times is not None:
            stream.codec_context.time_base = base
        if sound is not None:
            for index in range(int(sound_s * 16000) // 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 16000, 1024 * index
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        for image, stamp in zip(images, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(Fraction(stamp) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """The files one after the other, byte by byte, as a recorder leaves them that was started again."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def without_packets(path: Path, lost: Sequence[int]) -> Path:
    """A transport stream without some of its packets."""
    data = path.read_bytes()
    kept = [data[at : at + TS_PACKET] for at in range(0, len(data), TS_PACKET) if at // TS_PACKET not in set(lost)]
    path.write_bytes(b"".join(kept))
    return path


def with_bit_errors(path: Path, begin: float, end: float, count: int) -> Path:
    """A file some bytes of which, between two shares of its length, are wrong."""
    data = bytearray(path.read_bytes())
    chosen = random.Random(2)
    for _ in range(count):
        data[chosen.randrange(int(begin * len(data)), int(end * len(data)))] ^= 0xFF
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """The first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def extract(
    path: Path, after: int | None = None, earlier: dict[str, Any] | None = None, **settings: Any
) -> tuple[list[SampledFrame], dict[int, dict[str, Any]], dict[str, Any], dict[int, bytes]]:
    """(frames, stats as they were at the end of each chunk, stats at the end, JPEGs by sequence)."""
    kept: dict[int, bytes] = {}

    def save(sequence: int, jpeg: bytes) -> str:
        assert sequence not in kept
        kept[sequence] = jpeg
        return f"frames/{sequence:06d}.jpg"

    worker = ExtractFrames(path, ExtractFramesConfig(**settings), save=save)
    frames: list[SampledFrame] = []
    states = {}
    for chunk_id, chunk in worker.chunks(after, earlier):
        frames += chunk
        states[chunk_id] = worker.stats()
    return frames, states, worker.stats(), kept


def played(path: Path, *, chunk_s: float = 2.0) -> tuple[list[SampledFrame], dict[str, Any], dict[int, bytes]]:
    """(frames, stats, JPEGs) of a whole run; asserts that going on after any chunk gives the very same."""
    whole, states, stats, pictures = extract(path, chunk_s=chunk_s)
    for after, earlier in list(states.items())[:-1]:
        rest, _, again, _ = extract(path, after, earlier, chunk_s=chunk_s)
        assert rest == [frame for frame in whole if frame.chunk_id > after]
        for name, value in stats.items():
            assert name in _OF_THE_ATTEMPT or again[name] == value, name
    return whole, stats, pictures
