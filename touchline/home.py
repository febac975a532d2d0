"""Where Touchline keeps its data on this machine, by the environment alone.

Belongs here: the folder that `TOUCHLINE_HOME` names and its default. What lies in it is the business of those who put
it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The home by `environment` (the process's own by default), absolute. It need not exist."""
    env = os.environ if environment is None else environment
    return Path(env.get("TOUCHLINE_HOME") or default_home(env)).expanduser().absolute()


def default_home(environment: Mapping[str, str]) -> Path:
    """Where data lies when nothing is said.

    Postgres refuses to run as root, and root's own home is closed to other users: root's data is under /var/lib.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/touchline")
    return Path(environment.get("XDG_DATA_HOME") or "~/.local/share") / "touchline"
