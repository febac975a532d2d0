"""Reading still pictures: which files are stills, and what a viewer of one sees.

Belongs here: image files of one picture, and the refusal of those that are damaged or cannot be shown truly. Animations
are read as videos.
"""

from __future__ import annotations

import struct
import sys
import warnings
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Final, cast

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, TiffImagePlugin, UnidentifiedImageError

from touchline.errors import BadInputError
from touchline.values import Image
from touchline.video.heif import is_heif, read_heif
from touchline.video.upright import flattened

_OPEN: Final = getattr(sys.modules.get("ultralytics.utils.patches"), "_image_open", Pillow.open)
"""Pillow's own. ultralytics, once imported, puts another in its place, which asks for a package more where a file is no
image."""
_FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "AVIF")
_BY_OPENCV: Final = frozenset({"PNG", "JPEG", "MPO", "BMP", "TIFF"})
"""Formats that OpenCV reads upright and in all their modes (16 bits a channel, CMYK)."""
_MOVING: Final = frozenset({"PNG", "GIF", "AVIF"})
"""Formats whose animations are read as videos."""
_SIGNATURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF8")
_MOTION_JPEG: Final = {".mjpg", ".mjpeg"}
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error)
"""What Pillow raises for a damaged file."""
_NEW_SUBFILE_TYPE: Final = 254
_REDUCED: Final = 1
"""TIFF's tag, and the bit in it that says that the picture is a smaller copy of another one in the file."""


@dataclass(frozen=True, slots=True)
class Still:
    """A still picture: BGR, H x W x 3 uint8, upright, and `notes`: sentences on what of the file is not looked at."""

    image: Image
    format: str
    notes: tuple[str, ...] = ()


def read_still(file: IO[bytes], path: PurePath) -> Still | None:
    """The picture in an open image file that can be sought in; none if it is no still that is read here.

    That is what is no image at all, an animation (PNG, GIF, AVIF), and Motion JPEG by its name. Orientation by
    EXIF is applied; see-through parts are filled as `flattened` does. Raises BadInputError, with the remedy, for an
    image that is cut off, damaged or too large, for animated WebP, and for a raw file whose picture is a mere preview.
    """
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    if path.suffix.lower() in _MOTION_JPEG:
        return None
    try:
        # Pillow warns of damaged EXIF data, and of half as many pixels as it refuses: neither asks for anything.
        with warnings.catch_warnings(action="ignore"), _OPEN(file, formats=_FORMATS) as opened:
            return _read(opened, file, path)
    except Pillow.DecompressionBombError as error:
        raise BadInputError(f"{path}: the picture is too large ({error}). Save it at a smaller size.") from error
    except _BROKEN as error:
        if is_heif(head):
            return Still(read_heif(file, path), "heic")
        if isinstance(error, UnidentifiedImageError) and not head.startswith(_SIGNATURES):
            return None
        # A sound picture may have data beside it that Pillow does not take.
        if head.startswith(_SIGNATURES) and (image := _by_opencv(file)) is not None:
            return Still(image, path.suffix.lstrip(".").lower() or "image")
        raise _broken(path, error) from error


def _read(opened: Pillow.Image, file: IO[bytes], path: PurePath) -> Still | None:
    kind = opened.format or ""
    if kind != "MPO" and kind != "TIFF" and getattr(opened, "is_animated", False):
        if kind in _MOVING:
            return None
        raise BadInputError(f"{path}: animated WebP cannot be read. Convert it to MP4, GIF or animated PNG.")
    notes: tuple[str, ...] = ()
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        if int(opened.tag_v2.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED:
            raise BadInputError(
                f"{path}: its first picture is only a preview of another one, as in a camera's raw file. "
                "Export it as JPEG or PNG."
            )
        if (pages := opened.n_frames) > 1:
            notes = (
                f"{path.name}: only the first of its {pages} pages was looked at; save the others as files of their "
                "own to have them looked at.",
            )
    # A colour that is declared see-through in a picture of 16 bits is left as it is: Pillow cannot convert those.
    see_through = opened.has_transparency_data and not opened.mode.startswith(("I", "F"))
    image = None if see_through or kind not in _BY_OPENCV else _by_opencv(file)
    return Still(_by_pillow(opened, see_through) if image is None else image, kind.lower(), notes)


def _by_opencv(file: IO[bytes]) -> Image | None:
    at = file.tell()
    file.seek(0)
    image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    file.seek(at)
    return cast(Image | None, image)


def _by_pillow(opened: Pillow.Image, see_through: bool) -> Image:
    opened.load()
    try:
        turned = ImageOps.exif_transpose(opened)
    except _BROKEN:
        # What EXIF data says that cannot be read is not known; the picture is.
        turned = opened
    if see_through:
        return flattened(np.asarray(turned.convert("RGBA"))[..., [2, 1, 0, 3]])
    if turned.mode.startswith("I;16"):
        turned = Pillow.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
    return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[..., ::-1])


def _broken(path: PurePath, error: Exception) -> BadInputError:
    return BadInputError(
        f"{path}: expected a whole picture, but it is cut off or damaged ({error}). Copy it again, or save it again as "
        "PNG or JPEG."
    )
