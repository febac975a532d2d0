"""From a decoded frame to the displayed picture: transparency is filled, pixels are made square, rotation is applied.

Belongs here: what a player does between the decoder and the screen. `touchline/video/opening.py` and
`touchline/video/stills.py` decode.
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
"""Grey levels that may be the background of a transparent picture, the preferred one first [0-255]."""
_CONTRAST: Final = 64
"""Difference of luma from the background above which legibility does not improve [0-255]."""


class Orientation(NamedTuple):
    """How a stored picture is displayed: transposed, then mirrored left to right, then flipped top to bottom."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @property
    def is_mirror(self) -> bool:
        """Whether the picture is mirrored, apart from its rotation."""
        return sum(self) % 2 == 1

    def applied(self, image: Image) -> Image:
        """The displayed image of a stored one (H x W x 3)."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)


def orientation(frame: VideoFrame) -> Orientation:
    """The orientation in the frame's display matrix, to the nearest quarter turn."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    # 3 x 3 int32, row by row; it is multiplied from the right to a row vector (column, row).
    matrix = np.frombuffer(cast(bytes, side_data), np.int32)
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def upright(frame: VideoFrame, aspect: Fraction) -> Image:
    """The displayed picture of a frame: H x W x 3, BGR, uint8. `aspect` is a pixel's width over its height.

    Pixels are made square by enlarging their shorter side, so that no detail is lost.
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
    """The image (H x W x 3, BGR, uint8) at `width` x `height` px: area interpolation to shrink, cubic to enlarge."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    return cast(Image, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def flattened(image: NDArray[np.uint8]) -> Image:
    """An image (H x W x 4, BGRA, uint8, straight alpha) on the background with most contrast: H x W x 3, BGR, uint8.

    The background is white, black or middle grey, because the file of a logo does not say for which background it was
    made. With equal contrast it is white. The alpha channel of a fully transparent picture is ignored.
    """
    colours, alpha = image[..., :3], image[..., 3]
    if not alpha.any() or alpha.min() == 255:
        return np.ascontiguousarray(colours)
    luma = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_BGR2GRAY)
    weights = np.bincount(luma.ravel(), weights=alpha.ravel(), minlength=256)
    levels = np.arange(256)
    background = max(_GROUNDS, key=lambda grey: float((np.minimum(abs(levels - grey), _CONTRAST) * weights).sum()))
    share = alpha[..., None].astype(np.float32) / 255
    return np.round(colours * share + background * (1 - share)).astype(np.uint8)
