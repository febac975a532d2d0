"""Reading of still pictures: which files are stills, and the picture that a viewer sees.

Belongs here: image files of one picture, and the refusal of damaged and unsupported ones. Animations are read as
videos.
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
"""Pillow's own `open`. Once imported, ultralytics replaces it by one that needs another package for files that are not
images."""
_FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "AVIF")
"""Pillow's names of the formats that may be opened."""
_BY_OPENCV: Final = frozenset({"PNG", "JPEG", "MPO", "BMP", "TIFF"})
"""Pillow's names of the formats that OpenCV reads upright and in all modes (16 bits per channel, CMYK)."""
_MOVING: Final = frozenset({"PNG", "GIF", "AVIF"})
"""Pillow's names of the formats whose animations are read as videos."""
_SIGNATURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF8")
"""First bytes of files of PNG, JPEG, TIFF (two byte orders) and GIF."""
_MOTION_JPEG: Final = {".mjpg", ".mjpeg"}
"""Suffixes of Motion JPEG files, which are videos."""
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error)
"""Errors that Pillow raises for a damaged file."""
_NEW_SUBFILE_TYPE: Final = 254
"""Number of the tag of TIFF that has the kind of a picture."""
_REDUCED: Final = 1
"""Bit of NewSubfileType in TIFF that is set if the picture is a smaller copy of another one in the file."""


@dataclass(frozen=True, slots=True)
class Still:
    """A still picture (H x W x 3, BGR, uint8, upright), its format, and `notes` on parts that are not analysed."""

    image: Image
    format: str
    notes: tuple[str, ...] = ()


def read_still(file: IO[bytes], path: PurePath) -> Still | None:
    """The picture of an open seekable image file; None for animations (PNG, GIF, AVIF), Motion JPEG and other files.

    EXIF orientation is applied; transparent parts are filled as in `flattened`. Raises BadInputError, with a remedy,
    for an image that is truncated, damaged or too large, for animated WebP, and for a raw file with only a preview.
    """
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    if path.suffix.lower() in _MOTION_JPEG:
        return None
    try:
        # Pillow's warnings on damaged EXIF data and on large pictures need no action.
        with warnings.catch_warnings(action="ignore"), _OPEN(file, formats=_FORMATS) as opened:
            return _read(opened, file, path)
    except Pillow.DecompressionBombError as error:
        raise BadInputError(f"{path}: the picture is too large ({error}). Save it at a smaller size.") from error
    except _BROKEN as error:
        if is_heif(head):
            return Still(read_heif(file, path), "heic")
        if isinstance(error, UnidentifiedImageError) and not head.startswith(_SIGNATURES):
            return None
        # An undamaged picture may have metadata that Pillow refuses.
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
                f"{path.name}: only the first of its {pages} pages was analysed; save the others as separate files to "
                "have them analysed.",
            )
    # The transparent colour of a 16-bit picture is ignored: Pillow cannot convert such pictures.
    transparent = opened.has_transparency_data and not opened.mode.startswith(("I", "F"))
    image = None if transparent or kind not in _BY_OPENCV else _by_opencv(file)
    return Still(_by_pillow(opened, transparent) if image is None else image, kind.lower(), notes)


def _by_opencv(file: IO[bytes]) -> Image | None:
    at = file.tell()
    file.seek(0)
    image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    file.seek(at)
    return cast(Image | None, image)


def _by_pillow(opened: Pillow.Image, transparent: bool) -> Image:
    opened.load()
    try:
        turned = ImageOps.exif_transpose(opened)
    except _BROKEN:
        # Unreadable EXIF data is ignored.
        turned = opened
    if transparent:
        return flattened(np.asarray(turned.convert("RGBA"))[..., [2, 1, 0, 3]])
    if turned.mode.startswith("I;16"):
        turned = Pillow.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
    return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[..., ::-1])


def _broken(path: PurePath, error: Exception) -> BadInputError:
    return BadInputError(
        f"{path}: expected a complete picture, but it is truncated or damaged ({error}). Copy it again, or save it "
        "again as PNG or JPEG."
    )
