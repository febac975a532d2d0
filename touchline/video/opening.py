"""Opening and decoding of videos and images with PyAV.

Belongs here: allowed containers, probing, decoding, and the refusal of bad input. `touchline/stages/extract_frames.py`
selects and stores frames.
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
"""Names of FFmpeg's demuxers that may be used. Playlists, which open other files, and text, which FFmpeg renders as a
terminal, are not among them."""
_REDUCED: Final = (
    (2, cv2.IMREAD_REDUCED_COLOR_2),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (8, cv2.IMREAD_REDUCED_COLOR_8),
)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The result of `probe`.

    `duration_s` [s] and `fps` [1/s] are those of the file's headers, and 0 for an image or if unknown. `width` and
    `height` are those of the upright picture with square pixels, before scaling [px]. `rotation` is the file's
    counter-clockwise rotation [degrees]; `is_mirrored` says whether the picture is mirrored as well (front cameras).
    `track` of `tracks` is analysed, counted from 1. `notes` are warnings for the report on parts of the file that are
    not analysed.
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
    """Opens a video or image and decodes its first frame.

    Raises BadInputError, with a remedy, for a missing, empty or unreadable file, for a directory, and for a file that
    is not a video or image, has no video stream, or has no frame that decodes.
    """
    _check_file(path)
    with _refusing(path):
        with path.open("rb") as file:
            if (still := read_still(file, path)) is not None:
                return _still_info(still)
        with open_video(path) as container:
            return _video_info(container, path)


def probe_file(file: IO[bytes], path: PurePath) -> VideoInfo:
    """As `probe`, for an open seekable file with the name `path`. Reads no more than needed.

    Raises BadInputError as `probe` does, and what `file` raises: OSError or a TouchlineError.
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
    """Context that turns errors into a BadInputError for this file, except those that reading may raise (`reads`)."""
    try:
        yield
    except TouchlineError:
        raise
    except Exception as error:
        if isinstance(error, reads) and not isinstance(error, av.FFmpegError):
            raise
        raise BadInputError(
            f"{path}: expected a video or an image, but reading it failed ({type(error).__name__}: {error}). "
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
            "truncated at the very start, or encrypted; export it again."
        )
    return first


class TimedFrame(NamedTuple):
    """One decoded frame: presentation time in the stream [s], display duration [s], and pixel aspect ratio."""

    time: Fraction
    length: Fraction
    frame: VideoFrame
    aspect: Fraction

    def image(self) -> Image:
        """The picture as a viewer sees it: H x W x 3, BGR, uint8, upright, with square pixels."""
        return upright(self.frame, self.aspect)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadInputError(f"{path}: expected a video or image file, found a directory. Name the files in it.")
    if not path.exists():
        raise BadInputError(f"{path}: no such file. Check the path.")
    if not path.is_file():
        raise BadInputError(f"{path}: expected a regular file. Copy the video into a file first.")
    if not os.access(path, os.R_OK):
        raise BadInputError(f"{path}: no permission to read the file. Change its permissions.")
    if path.stat().st_size == 0:
        raise BadInputError(f"{path}: the file is empty (0 bytes). The copy or upload failed; copy it again.")


def read_image(path: Path) -> Image:
    """The picture of an image file (H x W x 3, BGR, uint8, upright). Raises BadInputError if it does not decode."""
    with path.open("rb") as file:
        still = read_still(file, path)
    if still is None:
        raise BadInputError(f"{path}: expected an image, found none. The file may have been replaced; run again.")
    return still.image


def decode_frame(data: bytes, frame: SampledFrame, lines: int | None = None) -> Image | None:
    """The picture of a stored JPEG (H x W x 3, BGR, uint8); None if it does not decode. `lines` as in `FrameLoader`."""
    shorter = min(frame.width, frame.height)
    # Reduced decoding is fast: the inverse DCT of each 8 x 8 block leaves out the high frequencies.
    flag = cv2.IMREAD_COLOR
    for divisor, reduced in _REDUCED:
        if lines is not None and shorter >= divisor * lines:
            flag = reduced
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return None if image is None else image.astype(np.uint8, copy=False)


def open_video(path: Path) -> InputContainer:
    """Opens a video. Only files in allowed containers are opened. Raises BadInputError, with a remedy."""
    _check_file(path)
    return _opened(str(path.absolute()), path)


def _opened(file: str | IO[bytes], path: PurePath) -> InputContainer:
    try:
        # Metadata is not used, and it is often in another encoding than the container's.
        options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
        return av.open(file, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise BadInputError(
            f"{path}: expected a video (mp4, mov, mkv, ts, avi...) or an image (png, jpg...), but its content is "
            f"neither, or it is truncated before its index ({error.strerror}). Check what the file is; if it is an "
            "unfinished copy, copy it again."
        ) from error


def picture_stream(container: InputContainer, path: PurePath) -> VideoStream:
    """The stream that `choose_track` selects, set to decode on all cores. Raises BadInputError as that does."""
    stream = choose_track(container, path).stream
    stream.thread_type = "AUTO"
    return stream


def announced_fps(stream: VideoStream) -> float:
    """Frame rate in the file's headers [1/s]; 0 if unknown."""
    return round(float(frame_rate(stream)), 6)


def breaks_off(path: Path) -> bool:
    """Whether a file of the MP4 family is truncated: it ends within a box. False for other files."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = max((box.start + box.length for box in boxes(file, size)), default=0)
    return end > size


def unread(path: Path, reached: int) -> Tail | None:
    """The data after the last packet, which ends at byte `reached`, as `unread_tail` returns it."""

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
    """Every frame that decodes, in presentation order. `playback`, if given, records damage and other faults.

    `needed` and `first` are those of `Playback.frames`: which frames may be skipped, and the first packet.
    """
    playback = playback or Playback(container, stream)
    # Without a value in the container, the pixel aspect ratio is that of the coded stream, and may change within it.
    declared = stream.sample_aspect_ratio
    is_coded = declared == stream.codec_context.sample_aspect_ratio
    aspect = None if is_coded else declared
    is_first = True
    for time, length, frame in playback.frames(needed, first):
        if is_coded and (frame.key_frame or is_first):
            # The decoder is ahead of the frames that it returns. The aspect ratio changes only at keyframes.
            aspect = playback.decoder.sample_aspect_ratio
        is_first = False
        # Values far from 1 are errors of a muxer.
        usual = aspect is not None and Fraction(1, 4) <= aspect <= 4
        yield TimedFrame(time, length, frame, Fraction(aspect) if aspect and usual else Fraction(1))
