"""The URL of a Postgres database with the driver that is installed. Belongs here: that one rule."""

import re
from typing import Final

DRIVER: Final = "postgresql+psycopg2"
_SCHEME: Final = re.compile(r"^postgres(?:ql)?(?:\+\w+)?(?=://)")


def with_driver(url: str) -> str:
    """The URL with psycopg2 as its driver; what is no URL of Postgres is left as it is.

    SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3, which is not installed.

    >>> with_driver("postgres://user@host/name")
    'postgresql+psycopg2://user@host/name'
    """
    return _SCHEME.sub(DRIVER, url)
