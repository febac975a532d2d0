"""Which source is meant: ids, partition keys and library paths, made and checked here alone.

Belongs here: naming of sources, and the checksum of their content. Their rows are in
`touchline/library/repository/sources.py`; what is inside a video is found out by `touchline/stages/extract_frames.py`.
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
MAX_SLUG: Final = 60
"""Longest readable part of a partition key, in characters."""
WHOLE: Final = 2 * 1024**3
"""Files of up to this many bytes are read whole for their checksum; of larger ones SAMPLES blocks are read."""
SAMPLES: Final = 64
"""Blocks of a large file that are read for its checksum."""
BLOCK: Final = 1024**2
"""Bytes of such a block."""
SAMPLED: Final = "sampled:"
"""How the checksum of a large file begins."""
_SHA256: Final = re.compile("[0-9a-f]{64}")

_STROKED: Final = str.maketrans(
    {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th"}
)
"""Latin letters that Unicode does not take apart into a plain letter and a mark."""


def partition_key(path: str) -> str:
    """The partition key of a source by its path in the library: a readable slug of the file's name, then 8 hex digits.

    The digits are the head of the SHA-256 of the path. Two ways to write an accent are two files, so two sources.
    Letters a-z, digits and hyphens only: Dagster's UI and backfills trip over commas, `...`, `|` and the like.
    Raises BadInputError for a path that is empty, holds a NUL or is not valid Unicode.
    """
    digest = hashlib.sha256(_checked(path).encode()).hexdigest()[:8]
    return f"{slug(PurePosixPath(path).stem)}-{digest}"


def slug(name: str) -> str:
    """Lower case a-z, digits and single hyphens, at most MAX_SLUG characters; `source` where nothing is left."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_STROKED))
    # Marks go without a trace (è is e), everything else that is no letter or digit parts two words.
    kept = "".join(c for c in plain if not unicodedata.category(c).startswith("M"))
    return re.sub(r"[^a-z0-9]+", "-", kept).strip("-")[:MAX_SLUG].strip("-") or "source"


def source_asset_id(path: str) -> uuid.UUID:
    """The id of a source by its path in the library: UUID5 of the path, as it is spelled. Raises as `partition_key`."""
    return uuid.uuid5(NAMESPACE, _checked(path))


def composed(path: str) -> str:
    """The path with its accents in the composed form (NFC). Raises as `partition_key`.

    A library may hold sources in another form whose id and key were made from this one; they keep them.
    """
    return unicodedata.normalize("NFC", _checked(path))


def library_path(path: str | Path) -> str:
    """The library path of a local file: absolute, links resolved.

    Raises BadInputError for a name that is not valid Unicode.
    """
    return _checked(str(Path(path).expanduser().resolve()))


def checksum(path: str | Path, known: str = "") -> str:
    """The checksum of a file's content, in a form that depends on the file's size alone, never on how fast it is read.

    A file of up to WHOLE bytes: the SHA-256 of all of it, hex. A larger one: `sampled:` and the SHA-256 of its length
    and of SAMPLES blocks spread evenly over it, the first and the last BLOCK bytes among them. A video that differs at
    all differs in its index and mostly in its length.

    `known` is a checksum under which the content may be registered. It is returned if the content still has it, in
    whichever form: older versions chose the form otherwise, and what they registered has not changed.

    Raises BadInputError where the file cannot be read; its cause is the OSError.
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
