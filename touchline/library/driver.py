"""Select the installed driver in the URL of a Postgres database."""

import re
from typing import Final

DRIVER: Final = "postgresql+psycopg2"
"""SQLAlchemy dialect and driver in the URL of a Postgres database."""
_SCHEME: Final = re.compile(r"^postgres(?:ql)?(?:\+\w+)?(?=://)")


def with_driver(url: str) -> str:
    """The URL with psycopg2 as its driver. A URL of another kind is returned unchanged.

    SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3, which is not installed.

    >>> with_driver("postgres://user@host/name")
    'postgresql+psycopg2://user@host/name'
    """
    return _SCHEME.sub(DRIVER, url)
