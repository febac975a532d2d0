"""Opening and decoding videos and images: what may be opened, what a frame's time is, which way up it stands.

Belongs here: everything that speaks to PyAV to read, and the refusals of bad input. Which frames are taken and where
they go is the business of `touchline/stages/extract_frames.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import IO, Final, NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from touchline.errors import BadInputError, TouchlineError
from touchline.values import Image, SampledFrame
from touchline.video.file_tail import Tail, boxes, unread_tail
from touchline.video.picture_tracks import choose_track
from touchline.video.playback import Playback, announced_duration, frame_rate
from touchline.video.stills import Still, read_still
from touchline.video.upright import orientation, upright

_CONTAINERS: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,h264,hevc,m4v,gxf,dv,ivf,nut,rm,gif,apng,wtv,obu,"
    "av1,vvc,mjpeg,yuv4mpegpipe,rawvideo,jpeg_pipe"
)
"""Demuxers that may be used: files of pictures. Playlists (which open other files) and text (which FFmpeg draws as a
terminal) are left out."""
_REDUCED: Final = (
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (8, cv2.IMREAD_REDUCED_COLOR_8),
)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What `probe` found. `duration_s` and `fps` are what the file announces (0 for an image, or where it says none).

    `width` and `height` are those of the upright picture with square pixels, before any scaling down. `rotation` is
    the counter-clockwise turn in degrees that the file asks for, `is_mirrored` whether it asks for a mirror image
    besides (as of front cameras). `track` of `tracks` is looked at, counted from 1. `notes` are sentences for the
    report on what of the file is not looked at.
    """

    duration_s: float
    fps: float
    width: int
    height: int
    codec: str
    rotation: int
    is_image: bool
    is_mirrored: bool = False
    track: int = 1
    tracks: int = 1
    notes: tuple[str, ...] = ()


def probe(path: Path) -> VideoInfo:
    """Open `path`, decode its first frame and say what it is.

    Raises BadInputError, with the remedy, for a missing file, a directory, an empty or unreadable file, a file that is
    no video, has no picture stream, or holds not a single frame that decodes.
    """
    _check_file(path)
    with _refusing(path):
        with path.open("rb") as file:
            if (still := read_still(file, path)) is not None:
                return _still_info(still)
        with open_video(path) as container:
            return _video_info(container, path)


def probe_file(file: IO[bytes], path: PurePath) -> VideoInfo:
    """As `probe`, of an open file that can be read and sought in; `path` is its name. Reads no more than it must.

    Raises BadInputError as `probe` does, and what `file` raises: OSError, or an error of Touchline's.
    """
    if not file.read(1):
        raise BadInputError(f"{path}: the file is empty (0 bytes). The copy or upload failed; copy it again.")
    with _refusing(path, reads=OSError):
        if (still := read_still(file, path)) is not None:
            return _still_info(still)
    file.seek(0)
    with _refusing(path, reads=OSError), _opened(file, path) as container:
        return _video_info(container, path)


def _still_info(still: Still) -> VideoInfo:
    height, width = still.image.shape[:2]
    return VideoInfo(0.0, 0.0, width, height, still.format, 0, True, notes=still.notes)


@contextmanager
def _refusing(path: PurePath, reads: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Whatever goes wrong inside is the refusal of this one file. `reads` is what the reading itself may raise."""
    try:
        yield
    except TouchlineError:
        raise
    except Exception as error:
        if isinstance(error, reads) and not isinstance(error, av.FFmpegError):
            raise
        raise BadInputError(
            f"{path}: expected a video or an image, but looking into it failed ({type(error).__name__}: {error}). "
            "The file is damaged or of a kind that cannot be read here; export or convert it (H.264 in MP4 works)."
        ) from error


def _video_info(container: InputContainer, path: PurePath) -> VideoInfo:
    choice = choose_track(container, path)
    stream = picture_stream(container, path)
    first = _first(container, stream, path)
    height, width = first.image().shape[:2]
    return VideoInfo(
        duration_s=announced_duration(container, stream),
        fps=announced_fps(stream),
        width=width,
        height=height,
        codec=stream.codec_context.name,
        rotation=first.frame.rotation,
        is_image=False,
        is_mirrored=orientation(first.frame).is_mirror,
        track=choice.number,
        tracks=choice.of,
        notes=(choice.note,) if choice.note else (),
    )


def _first(container: InputContainer, stream: VideoStream, path: PurePath) -> TimedFrame:
    first = next(decoded_frames(container, stream), None)
    if first is None:
        raise BadInputError(
            f"{path}: expected a video with at least one frame, found none that decodes. The recording is empty, "
            "cut off at the very start, or encrypted; export it again."
        )
    return first


class TimedFrame(NamedTuple):
    """One decoded frame: its presentation time in the stream [s], how long it is shown [s], and its pixels' shape.

    `aspect` is the width of a pixel over its height.
    """

    time: Fraction
    length: Fraction
    frame: VideoFrame
    aspect: Fraction

    def image(self) -> Image:
        """The picture as a viewer sees it: BGR, H x W x 3 uint8, upright, with square pixels."""
        return upright(self.frame, self.aspect)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadInputError(f"{path}: expected a video or image file, found a directory. Name the files in it.")
    if not path.exists():
        raise BadInputError(f"{path}: no such file. Check the path.")
    if not path.is_file():
        raise BadInputError(f"{path}: expected a regular file. Copy the video into a file first.")
    if not os.access(path, os.R_OK):
        raise BadInputError(f"{path}: the file may not be read. Change its permissions.")
    if path.stat().st_size == 0:
        raise BadInputError(f"{path}: the file is empty (0 bytes). The copy or upload failed; copy it again.")


def read_image(path: Path) -> Image:
    """The picture in an image file, BGR, upright. Raises BadInputError if there is none that decodes."""
    with path.open("rb") as file:
        still = read_still(file, path)
    if still is None:
        raise BadInputError(f"{path}: expected an image, found none. Was the file replaced meanwhile?")
    return still.image


def decode_frame(data: bytes, frame: SampledFrame, lines: int | None = None) -> Image | None:
    """The stored JPEG of a frame, BGR; none if it does not decode. `lines` as `FrameLoader` has it."""
    shorter = min(frame.width, frame.height)
    # Reduced, the decoder leaves the high frequencies of each 8 x 8 block out of its inverse DCT: no pixel is made that
    # would only be averaged away.
    flag = cv2.IMREAD_COLOR
    for divisor, reduced in _REDUCED:
        if lines is not None and shorter >= divisor * lines:
            flag = reduced
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return None if image is None else image.astype(np.uint8, copy=False)


def open_video(path: Path) -> InputContainer:
    """Open a video. Only files are read, and only containers of pictures. Raises BadInputError with the remedy."""
    _check_file(path)
    return _opened(str(path.absolute()), path)


def _opened(file: str | IO[bytes], path: PurePath) -> InputContainer:
    try:
        # Titles are of no interest, and many are in some other encoding than the container asks for.
        options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
        return av.open(file, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise BadInputError(
            f"{path}: expected a video (mp4, mov, mkv, ts, avi...) or an image (png, jpg...), but its content is "
            f"neither, or it breaks off before its index ({error.strerror}). Check what the file is; if it is an "
            "unfinished copy, copy it again."
        ) from error


def picture_stream(container: InputContainer, path: PurePath) -> VideoStream:
    """The track that `choose_track` takes, decoding on all cores. Raises BadInputError as it does."""
    stream = choose_track(container, path).stream
    stream.thread_type = "AUTO"
    return stream


def announced_fps(stream: VideoStream) -> float:
    """Frames per second by the file's own account; 0 where it gives none."""
    return round(float(frame_rate(stream)), 6)


def breaks_off(path: Path) -> bool:
    """Whether a file of the MP4 family ends within one of its boxes. False for other files."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = max((box.start + box.length for box in boxes(file, size)), default=0)
    return end > size


def unread(path: Path, reached: int) -> Tail | None:
    """What of the video lies behind its last packet, which ends at byte `reached`, as `unread_tail` has it."""

    def holds_pictures(file: IO[bytes]) -> bool:
        try:
            with _opened(file, path) as container:
                return any(packet.size for packet in container.demux(picture_stream(container, path)))
        except (BadInputError, av.FFmpegError):
            return False

    return unread_tail(path, reached, holds_pictures)


def decoded_frames(
    container: InputContainer,
    stream: VideoStream,
    playback: Playback | None = None,
    needed: Callable[[Fraction], bool] = lambda _: True,
    first: int = 0,
) -> Iterator[TimedFrame]:
    """Every frame that decodes, in presentation order. What is damaged or odd is noted in `playback`, if one is given.

    `needed` and `first` as `Playback.frames` has them: which frames may be left out, and the packet to begin with.
    """
    playback = playback or Playback(container, stream)
    # Where the container says nothing of its own the shape of pixels is the coded stream's, and may change in it.
    declared = stream.sample_aspect_ratio
    is_coded = declared == stream.codec_context.sample_aspect_ratio
    aspect = None if is_coded else declared
    is_first = True
    for time, length, frame in playback.frames(needed, first):
        if is_coded and (frame.key_frame or is_first):
            # The decoder is ahead of the frames that it gives out. The shape changes with a key picture alone.
            aspect = playback.decoder.sample_aspect_ratio
        is_first = False
        # Values far from 1 are mistakes of a muxer rather than pixels of that shape.
        usual = aspect is not None and Fraction(1, 4) <= aspect <= 4
        yield TimedFrame(time, length, frame, Fraction(aspect) if aspect and usual else Fraction(1))
