"""Ids, partition keys, library paths and checksums of sources.

Belongs here: how they are made and validated. Rows of sources are in `touchline/library/repository/sources.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import uuid
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Final

from touchline.errors import BadInputError

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://touchline/source")
"""Namespace of the UUID5 ids of sources."""
MAX_SLUG: Final = 60
"""Maximum length of the readable part of a partition key [characters]."""
WHOLE: Final = 2 * 1024**3
"""Size up to which a file is hashed whole [bytes]. Of a larger file SAMPLES blocks are hashed."""
SAMPLES: Final = 64
"""Number of blocks that are hashed of a file larger than WHOLE."""
BLOCK: Final = 1024**2
"""Size of a block that is hashed of a file larger than WHOLE [bytes]."""
SAMPLED: Final = "sampled:"
"""Prefix of the checksum of a file larger than WHOLE."""
_SHA256: Final = re.compile("[0-9a-f]{64}")

_STROKED: Final = str.maketrans(
    {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"}
)
"""Latin letters that Unicode does not decompose into a base letter and a combining mark."""


def partition_key(path: str) -> str:
    """The partition key of a source: a slug of the file's name, then the first 8 hex digits of the path's SHA-256.

    Two spellings of an accent are two files, so two sources. The key has letters a-z, digits and hyphens only:
    Dagster's UI and backfills mishandle commas, `...` and `|`.
    Raises BadInputError if the path is empty, holds a NUL or is not valid Unicode.
    """
    digest = hashlib.sha256(_checked(path).encode()).hexdigest()[:8]
    return f"{slug(PurePosixPath(path).stem)}-{digest}"


def slug(name: str) -> str:
    """A name as lower case a-z, digits and single hyphens, at most MAX_SLUG characters; `source` if none are left."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_STROKED))
    # Combining marks are removed (è is e). Any other character that is no letter or digit becomes a hyphen.
    kept = "".join(c for c in plain if not unicodedata.category(c).startswith("M"))
    return re.sub(r"[^a-z0-9]+", "-", kept).strip("-")[:MAX_SLUG].strip("-") or "source"


def source_asset_id(path: str) -> uuid.UUID:
    """The id of a source: the UUID5 of its library path, as it is spelled. Raises as `partition_key`."""
    return uuid.uuid5(NAMESPACE, _checked(path))


def composed(path: str) -> str:
    """The path in Unicode's composed form (NFC). Raises as `partition_key`.

    Earlier versions made id and key from this form. Such sources keep them.
    """
    return unicodedata.normalize("NFC", _checked(path))


def library_path(path: str | Path) -> str:
    """The library path of a local file: absolute, links resolved.

    Raises BadInputError for a name that is not valid Unicode.
    """
    return _checked(str(Path(path).expanduser().resolve()))


def content_mark(path: str | Path) -> str:
    """A mark that changes with a file's content, from its metadata alone: size, mtime, ctime and inode, hex.

    The ctime cannot be set back, so a copy that keeps the mtime, or new content of the same length, has another mark.
    The mark may also change while the content stays the same. Raises OSError.
    """
    found = Path(path).stat()
    return "-".join(f"{mark:x}" for mark in (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))


def checksum(path: str | Path, known: str = "") -> str:
    """The checksum of a file's content. Its form depends on the file's size alone.

    A file of up to WHOLE bytes: the SHA-256 of its content, hex. A larger one: `sampled:` and the SHA-256 of its size
    and of SAMPLES evenly spaced blocks, including the first and the last BLOCK bytes. Videos that differ have different
    indexes and mostly different sizes.

    `known` is a registered checksum. It is returned if the content still has it, in either form: earlier versions chose
    the form by another rule.

    Raises BadInputError if the file cannot be read; its cause is the OSError.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            sampled = size > WHOLE
            found = _sampled(file, size) if sampled else _whole(file)
            if sampled and _SHA256.fullmatch(known):
                return known if known == _whole(file) else found
            if not sampled and known.startswith(SAMPLED):
                return known if known == _sampled(file, size) else found
            return found
    except OSError as error:
        reason = error.strerror or error
        raise BadInputError(f"{path} cannot be read: {reason}. Expected a video or image file.") from error


def _whole(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _sampled(file: BufferedReader, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for number in range(SAMPLES):
        file.seek(max(0, size - BLOCK) * number // (SAMPLES - 1))
        digest.update(file.read(BLOCK))
    return SAMPLED + digest.hexdigest()


def _checked(path: str) -> str:
    if not path or "\0" in path:
        raise BadInputError(f"expected the path of a video or image, got {path!r}")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"the path {path!r} is not valid UTF-8; rename the file and try again") from error
    return path
