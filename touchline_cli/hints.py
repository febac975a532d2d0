"""Commands that messages name, as whoever reads them can type them.

Belongs here: how this `touchline` was called, and putting that into texts. Messages are written with "`touchline ...`".
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
    """What to type for `touchline`: its name where that is found, else the path it was called by."""
    called = Path(sys.argv[0])
    if called.parent.name == "touchline_cli":
        return f"{shlex.quote(sys.executable)} -m touchline_cli"
    if called.name != NAME:
        return NAME
    found = shutil.which(NAME)
    return NAME if found and Path(found).resolve() == called.resolve() else shlex.quote(str(called))


def fitted(text: str) -> str:
    """A message whose "`touchline ...`" are commands that work here."""
    return _HINT.sub(lambda _: f"`{program()} ", text)
