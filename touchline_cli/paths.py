"""Paths given on the command line that are no paths of this machine: addresses.

Belongs here: refusing them in words that say what to do instead. Whether a file is a video is found out elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from touchline.errors import BadInputError

# A Path has one of two slashes left.
ADDRESS: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def videos(texts: list[str]) -> list[Path]:
    """The paths of videos or pictures. Raises BadInputError for an address, saying how what is there can be used."""
    for text in texts:
        found = _address(text)
        if found is None:
            continue
        scheme, address = found
        if scheme == "file":
            raise BadInputError(f"{address}: addresses are not taken; give the path, {unquote(urlsplit(address).path)}")
        if scheme == "s3":
            raise BadInputError(
                f"{address}: objects are not read from here. One under uploads/ of Touchline's own bucket is processed "
                f"by `touchline serve`, and once it is a source `touchline replay {address} --from extract_frames` "
                "works on it again; any other must be copied to this machine first"
            )
        raise BadInputError(
            f"{address}: addresses are not fetched; download the video first, then give the path of its file"
        )
    return [Path(text) for text in texts]


def local(path: Path | None) -> Path | None:
    """A path of this machine, as it is. Raises BadInputError for an address: a folder of that name would be made."""
    if path is not None and (found := _address(str(path))):
        raise BadInputError(f"{found[1]}: addresses are neither read nor written; expected a path of this machine")
    return path


def _address(text: str) -> tuple[str, str] | None:
    """Scheme and whole address of a text that is one, and no file that is there."""
    match = ADDRESS.fullmatch(text)
    if match is None or Path(text).exists():
        return None
    scheme = match["scheme"].lower()
    return scheme, f"{scheme}://{'/' if scheme == 'file' else ''}{match['rest']}"
