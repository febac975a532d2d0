"""From a decoded frame to the picture that a viewer sees: see-through parts filled, pixels made square, turned upright.

Belongs here: what a player does with a picture between the decoder and the screen. Decoding is the business of
`touchline/video/opening.py` and `touchline/video/stills.py`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from touchline.values import Image

_GROUNDS: Final = (255, 0, 128)
"""Greys that may be laid under a picture that can be seen through: white, as paper, where several serve as well."""
_CONTRAST: Final = 64
"""Difference of luma (0-255) from the ground beyond which nothing can be read any better."""


class Orientation(NamedTuple):
    """How a stored picture is turned to be shown: rows and columns swapped, then mirrored left to right, then top to
    bottom.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @property
    def is_mirror(self) -> bool:
        """Whether the picture is shown as in a mirror, besides being turned."""
        return sum(self) % 2 == 1

    def applied(self, image: Image) -> Image:
        """The image (H x W x 3) so turned."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)


def orientation(frame: VideoFrame) -> Orientation:
    """How the frame's display matrix has it shown, to the nearest quarter turn: one of eight ways."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    # 3 x 3 int32, row by row; a point (column, row) is a row vector that stands before it.
    matrix = np.frombuffer(cast(bytes, side_data), np.int32)
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def upright(frame: VideoFrame, aspect: Fraction) -> Image:
    """The frame as it is shown: BGR, H x W x 3 uint8. `aspect` is the width of a pixel over its height.

    The shorter direction of a pixel is stretched, so that none is lost.
    """
    if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
        image = flattened(cast(NDArray[np.uint8], frame.to_ndarray(format="bgra")))
    else:
        image = cast(Image, frame.to_ndarray(format="bgr24"))
    height, width = image.shape[:2]
    if aspect > 1:
        image = resized(image, round(width * aspect), height)
    elif aspect < 1:
        image = resized(image, width, round(height / aspect))
    return orientation(frame).applied(image)


def resized(image: Image, width: int, height: int) -> Image:
    """The BGR image at `width` x `height` px: averaged where it shrinks, cubic where it grows."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    return cast(Image, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def flattened(image: NDArray[np.uint8]) -> Image:
    """A BGRA image (H x W x 4 uint8, alpha not multiplied in) laid on the ground on which it can be seen best.

    A logo is made for a ground that its file does not hold. Of white, black and middle grey the one is taken that has
    most contrast with what is not see-through, white where they are equal. A picture that is see-through everywhere is
    taken for one whose alpha says nothing: its colours come as they are.
    """
    colours, alpha = image[..., :3], image[..., 3]
    if not alpha.any() or alpha.min() == 255:
        return np.ascontiguousarray(colours)
    luma = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_BGR2GRAY)
    weights = np.bincount(luma.ravel(), weights=alpha.ravel(), minlength=256)
    levels = np.arange(256)
    ground = max(_GROUNDS, key=lambda grey: float((np.minimum(abs(levels - grey), _CONTRAST) * weights).sum()))
    share = alpha[..., None].astype(np.float32) / 255
    return np.round(colours * share + ground * (1 - share)).astype(np.uint8)
