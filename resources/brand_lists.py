"""Brand lists of single runs, stored in the object store by the SHA-256 of their content.

Belongs here: storing and reading a list. Its format is in `touchline/brands/registry.py`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from resources.object_store import ObjectStore
from touchline.brands import BrandEntry, content_of, parse
from touchline.errors import BadInputError, CheckpointError
from touchline.library.retention import BRAND_LISTS

REFERENCE: Final = re.compile("sha256:([0-9a-f]{64})")
"""Pattern of the reference of a stored list."""


def store_list(objects: ObjectStore, path: Path) -> str:
    """Stores a CSV file of brands, unless it is stored already, and returns its reference, `sha256:HEX`.

    Raises BadInputError if the file is not a brand list, ServiceError if the object store fails.
    """
    raw = content_of(path)
    parse(raw, str(path))
    digest = hashlib.sha256(raw).hexdigest()
    if not objects.exists(_key(digest)):
        objects.put(_key(digest), raw)
    return f"sha256:{digest}"


def stored_list(objects: ObjectStore, reference: str) -> list[BrandEntry]:
    """The brands of a stored list.

    Raises BadInputError if the reference is invalid or the list is missing or damaged; ServiceError.
    """
    found = REFERENCE.fullmatch(reference)
    remedy = "`touchline brands store FILE` stores a list and prints its reference"
    if found is None:
        raise BadInputError(f"run_settings.brands: expected sha256: and 64 hex digits; {remedy}")
    try:
        raw = objects.get(_key(found[1]))
    except CheckpointError:
        raise BadInputError(f"run_settings.brands: no list {reference} is stored; {remedy}") from None
    if hashlib.sha256(raw).hexdigest() != found[1]:
        raise BadInputError(f"run_settings.brands: the stored list {reference} is damaged; store the file again")
    return parse(raw, reference)


def _key(digest: str) -> str:
    return f"{BRAND_LISTS}/{digest}.csv"
