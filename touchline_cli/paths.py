"""Refuses addresses where the command line expects paths.

Belongs here: recognising addresses, and messages that say what to do instead. Files are probed elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from touchline.errors import BadInputError

# `Path` reduces two slashes to one.
ADDRESS: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def videos(texts: list[str]) -> list[Path]:
    """The paths of videos or pictures. Raises BadInputError for an address; the message says how to use its content."""
    for text in texts:
        found = _address(text)
        if found is None:
            continue
        scheme, address = found
        if scheme == "file":
            path = unquote(urlsplit(address).path)
            raise BadInputError(f"{address}: expected a path, not an address; give the path, {path}")
        if scheme == "s3":
            raise BadInputError(
                f"{address}: objects are not read from here. `touchline serve` processes objects under uploads/ of "
                f"Touchline's own bucket, and `touchline replay {address} --from extract_frames` runs a registered one "
                "again; copy any other object to this machine first"
            )
        raise BadInputError(
            f"{address}: addresses are not fetched; download the video first, then give the path of its file"
        )
    return [Path(text) for text in texts]


def local(path: Path | None) -> Path | None:
    """The path unchanged. Raises BadInputError for an address, which would become a folder of that name."""
    if path is not None and (found := _address(str(path))):
        raise BadInputError(f"{found[1]}: addresses are neither read nor written; expected a path of this machine")
    return path


def _address(text: str) -> tuple[str, str] | None:
    """Scheme and complete address of a text that is an address and not an existing file."""
    match = ADDRESS.fullmatch(text)
    if match is None or Path(text).exists():
        return None
    scheme = match["scheme"].lower()
    return scheme, f"{scheme}://{'/' if scheme == 'file' else ''}{match['rest']}"
