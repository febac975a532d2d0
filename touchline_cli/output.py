"""What the two outputs of a command bear, set once before anything is printed.

Belongs here: encodings. What is printed is in `session.py` and the commands.
"""

from __future__ import annotations

import io
import sys


def bear_any_text() -> None:
    """Lets both outputs take every text: letters that their encoding lacks are written as backslash and number.

    A name with such a letter, or one that is no text at all, must not cost the work whose result is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
