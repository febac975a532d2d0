"""Lists of brands for single runs, kept in the object store under the SHA-256 of their content.

Belongs here: storing a file as such a list, and reading one by its reference. What a list means is in
`touchline/brands/registry.py`.
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


def store_list(objects: ObjectStore, path: Path) -> str:
    """Stores a CSV file of brands and returns its reference, `sha256:HEX`. The same content is stored once.

    Raises BadInputError for a file that is no such list, ServiceError if the object store fails.
    """
    raw = content_of(path)
    parse(raw, str(path))
    digest = hashlib.sha256(raw).hexdigest()
    if not objects.exists(_key(digest)):
        objects.put(_key(digest), raw)
    return f"sha256:{digest}"


def stored_list(objects: ObjectStore, reference: str) -> list[BrandEntry]:
    """The brands of a list that was stored.

    Raises BadInputError for what is no reference, and for a list that is not there or is damaged; ServiceError.
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
