"""Model weights on this machine: their folders, their checksums, and whether a download host is reachable.

Belongs here: what all models share before they are loaded. Loading and downloading are in `touchline/vision/yolo.py`
and `touchline/ocr/doctr_engine.py`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import socket
import tempfile
import threading
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from touchline.errors import BadInputError, ModelUnavailableError
from touchline.home import cache_before, home

PROBE_S: Final = 3.0
"""Timeout of the check whether a host is reachable. A name server that never answers blocks a request for 30 s [s]."""


def models_folder() -> Path:
    """The folder of weights, `models` in the home. It is not created."""
    return home() / "models"


def cached_before(name: str) -> Path | None:
    """The path at which earlier versions stored downloaded weights of that name; None with TOUCHLINE_HOME set."""
    cache = cache_before()
    return cache / "models" / name if cache else None


def registered(name: str, sha256: str) -> Path | None:
    """The path of registered weights of that name and SHA-256 (hex); None without a valid checksum."""
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        return None
    return models_folder() / "registered" / sha256.lower() / name


def register(path: Path, sha256: str) -> str:
    """Copies weights into the home, where runs find them by name and SHA-256. Returns the name.

    Raises BadInputError without a checksum, or if the file is missing, has another checksum, or cannot be copied.
    """
    remedy = f"name its SHA-256 (`sha256sum {shlex.quote(str(path))}` prints it) with detect_objects.weights_sha256"
    kept = registered(path.name, sha256)
    if kept is not None and not path.exists() and kept.is_file():
        return path.name
    try:
        actual = verify(path, sha256, remedy)
    except ModelUnavailableError as error:
        raise BadInputError(str(error)) from error
    assert kept is not None
    if kept.is_file() and sha256_of(kept) == actual:
        return path.name
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".register-", dir=kept.parent) as folder:
            shutil.copyfile(path, copy := Path(folder) / path.name)
            verify(copy, sha256, remedy)
            copy.replace(kept)
    except OSError as error:
        raise BadInputError(f"{path} could not be copied to {kept}: {error.strerror or error}") from error
    return path.name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file (hex, lower case). Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, sha256: str, remedy: str) -> str:
    """The checksum of `path` (hex, lower case), which must be `sha256` (hex, any case).

    Raises ModelUnavailableError if no checksum is given, or if the file is missing, unreadable or has another
    checksum. The messages end with `remedy`, which says where to set the checksum.
    """
    if not sha256:
        raise ModelUnavailableError(
            f"{path} is not loaded without its SHA-256, because loading a .pt file can run code; {remedy}"
        )
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise ModelUnavailableError(f"weights at {path} cannot be read ({error.strerror}); {remedy}") from error
    if actual != sha256.lower():
        raise ModelUnavailableError(
            f"{path} has SHA-256 {actual}, expected {sha256.lower()}; it is not loaded. "
            f"Put the right file there, or {remedy}"
        )
    return actual


@lru_cache(maxsize=32)
def reachable(host: str, port: int = 443) -> bool:
    """Whether `host` (or the proxy before it) accepts a TCP connection within PROBE_S seconds. Nothing is sent.

    The answer is cached, so that a process without network access waits only once.
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

    # Name resolution has no timeout, so it runs in a daemon thread that may be abandoned.
    thread = threading.Thread(target=connect, name=f"reach {host}", daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return answered.is_set()
