"""Conversion of Python values for JSONB and text columns.

Belongs here: what Postgres refuses and Python allows. Nothing about any one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np


def plain_text(text: str) -> str:
    """The text without characters that Postgres cannot store: NUL is removed, lone surrogates become question marks."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def plain_json(value: Any) -> Any:
    """The value as strict JSON.

    Keys become text; tuples, sets and arrays become lists; NumPy scalars become numbers; NaN and infinity become null;
    other types (ids, times, paths) become text.
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
