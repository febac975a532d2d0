"""Weights of models on this machine: where they lie, the checksum that they must have, whether a fetch can be tried.

Belongs here: what all models share before they are loaded. Loading, and the libraries that fetch their own weights,
are in `touchline/vision/objects.py` and `touchline/ocr/doctr_engine.py`.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from touchline.errors import ModelUnavailableError

PROBE_S: Final = 3.0
"""How long a closed network may cost [s]: a name server that never answers holds a plain request for half a minute."""


def models_folder() -> Path:
    """Where fetched weights are kept: TOUCHLINE_HOME/models, else touchline/models in the user's cache. Not created."""
    if home := os.environ.get("TOUCHLINE_HOME"):
        return Path(home).expanduser().absolute() / "models"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "touchline" / "models"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex, lower case."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, sha256: str, remedy: str) -> str:
    """The checksum of `path`, which must be `sha256` (hex, any case).

    Raises ModelUnavailableError if no checksum is given (ending with `remedy`: where to set it), if the file is
    missing, unreadable or another one.
    """
    if not sha256:
        raise ModelUnavailableError(
            f"{path} is not loaded without its SHA-256, because loading a .pt file can run code; {remedy}"
        )
    try:
        came = sha256_of(path)
    except OSError as error:
        raise ModelUnavailableError(f"weights at {path} cannot be read ({error.strerror}); {remedy}") from error
    if came != sha256.lower():
        raise ModelUnavailableError(
            f"{path} has SHA-256 {came}, expected {sha256.lower()}; it is not loaded. "
            f"Put the right file there, or {remedy}"
        )
    return came


@lru_cache(maxsize=32)
def reachable(host: str, port: int = 443) -> bool:
    """Whether `host` (or the proxy that stands before it) accepts a connection within PROBE_S seconds.

    Asked once a process, so that many sources on a closed network wait once. Nothing is sent.
    """
    proxy = urllib.request.getproxies().get("https", "")
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = parts.hostname or host, parts.port or 80
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_S).close()
        except OSError:
            return
        answered.set()

    # Looking up a name knows no time limit, so a thread does it that may be left behind.
    thread = threading.Thread(target=connect, name=f"reach {host}", daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return answered.is_set()
