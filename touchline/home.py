"""Where Touchline keeps its data on this machine, by the environment alone.

Belongs here: the folder that `TOUCHLINE_HOME` names, its default, and the folders of others that may hold weights. It
is the domain's only look at the environment. What lies in the folders is the business of those who put it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The home by `environment` (the process's own by default), absolute. It need not exist."""
    env = os.environ if environment is None else environment
    return Path(env.get("TOUCHLINE_HOME") or default_home(env)).expanduser().absolute()


def cache_before(environment: Mapping[str, str] | None = None) -> Path | None:
    """The cache in which earlier versions kept what they fetched, if TOUCHLINE_HOME was not set; else nothing."""
    env = os.environ if environment is None else environment
    if env.get("TOUCHLINE_HOME"):
        return None
    return Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "touchline"


def given_folder(variable: str, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder that a library's own variable names; nothing where it is not set."""
    env = os.environ if environment is None else environment
    return Path(given) if (given := env.get(variable)) else None


def default_home(environment: Mapping[str, str]) -> Path:
    """Where data lies when nothing is said.

    Postgres refuses to run as root, and root's own home is closed to other users: root's data is under /var/lib.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/touchline")
    return Path(environment.get("XDG_DATA_HOME") or "~/.local/share") / "touchline"
