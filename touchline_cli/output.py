"""Encoding errors of standard output and standard error.

Belongs here: encodings. `session.py` and the commands print.
"""

from __future__ import annotations

import io
import sys


def escape_unencodable() -> None:
    """Writes characters that an output's encoding lacks as backslash escapes.

    A file name with such a character must not fail a command that has done its work.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
