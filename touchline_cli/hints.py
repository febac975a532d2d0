"""Commands in messages, in the form in which this `touchline` can be called.

Belongs here: replacing "`touchline ...`" in messages by the path that the command was called by.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "touchline"
_HINT: Final = re.compile(rf"`{NAME} (?=[a-z-])")


def program() -> str:
    """How to call `touchline`: by its name if it is on the PATH, else by the path it was called by."""
    called = Path(sys.argv[0])
    if called.parent.name == "touchline_cli":
        return f"{shlex.quote(sys.executable)} -m touchline_cli"
    if called.name != NAME:
        return NAME
    found = shutil.which(NAME)
    return NAME if found and Path(found).resolve() == called.resolve() else shlex.quote(str(called))


def with_program(text: str) -> str:
    """A message in which "`touchline ...`" are commands that work in the user's shell."""
    return _HINT.sub(lambda _: f"`{program()} ", text)
