"""Values as a JSONB or text column takes them.

Belongs here: what Postgres refuses and Python does not, made storable. Nothing about any one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np


def plain_text(text: str) -> str:
    """A text without what Postgres cannot hold: NUL characters and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def plain_json(value: Any) -> Any:
    """A value as strict JSON: keys become text, tuples, sets and arrays lists, NumPy scalars numbers.

    What JSON lacks (NaN, infinity) becomes null, what it does not know (ids, times, paths) text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, np.generic | np.ndarray):
        return plain_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain_json(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((plain_json(item) for item in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain_json(item) for item in value]
    return plain_text(str(value))
