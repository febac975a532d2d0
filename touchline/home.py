"""Where Touchline keeps its data on this machine, according to the environment.

Belongs here: the folder that `TOUCHLINE_HOME` names, its default, and folders of libraries that may hold weights. No
other module of the domain reads environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The home according to `environment` (default: that of the process), as an absolute path. It need not exist."""
    env = os.environ if environment is None else environment
    return Path(env.get("TOUCHLINE_HOME") or default_home(env)).expanduser().absolute()


def cache_before(environment: Mapping[str, str] | None = None) -> Path | None:
    """The cache folder of earlier versions if TOUCHLINE_HOME is not set, otherwise None."""
    env = os.environ if environment is None else environment
    if env.get("TOUCHLINE_HOME"):
        return None
    return Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "touchline"


def given_folder(variable: str, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder that a library's own environment variable names; None if it is not set."""
    env = os.environ if environment is None else environment
    return Path(given) if (given := env.get(variable)) else None


def default_home(environment: Mapping[str, str]) -> Path:
    """The home if TOUCHLINE_HOME is not set.

    For root it is under /var/lib: Postgres does not run as root, and other users cannot read root's home directory.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/touchline")
    return Path(environment.get("XDG_DATA_HOME") or "~/.local/share") / "touchline"
