"""The token that lets a browser or a script in: where it is kept, and telling whether somebody has it.

Belongs here: the token, the cookie made of it, and comparing them. What is asked for where is in `guard.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from resources.embedded.processes import write_for_owner
from resources.settings import Settings
from touchline.errors import BadInputError

FILE: Final = "token"
"""In the home: the token, readable by its owner alone. It is made once and survives restarts; remove it for another."""
SHORTEST: Final = 16
"""Characters of a token that is set by hand."""


def token_of(settings: Settings) -> str:
    """The token: TOUCHLINE_TOKEN, else what TOUCHLINE_TOKEN_FILE holds, else the home's own, made if there is none.

    Raises BadInputError for one that is too short, has other characters than visible ASCII ones, or cannot be read.
    """
    found = known_token(settings)
    if found:
        return found
    made = secrets.token_urlsafe(32)
    path = settings.home / FILE
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        write_for_owner(path, made + "\n")
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be written ({error.strerror}); set TOUCHLINE_HOME to a folder of yours"
        ) from error
    return made


def known_token(settings: Settings) -> str:
    """The token as `token_of` finds it, without making one; empty if there is none yet."""
    if settings.token:
        return _checked(settings.token, "TOUCHLINE_TOKEN")
    path, name = settings.home / FILE, str(settings.home / FILE)
    if settings.token_file:
        path, name = Path(settings.token_file), f"TOUCHLINE_TOKEN_FILE {settings.token_file}"
    try:
        text = path.read_text("ascii").strip()
        if not settings.token_file and path.stat().st_mode & 0o077:
            # Copied or put back from a backup under another umask.
            path.chmod(0o600)
    except FileNotFoundError as error:
        if settings.token_file:
            raise BadInputError(f"{name}: no such file") from error
        return ""
    except (OSError, UnicodeError) as error:
        raise BadInputError(
            f"{name} cannot be read ({getattr(error, 'strerror', None) or 'it is not ASCII'})"
        ) from error
    return _checked(text, name)


def _checked(token: str, name: str) -> str:
    # What is wrong is told, the token never is.
    if len(token) < SHORTEST:
        raise BadInputError(f"{name}: expected a token of at least {SHORTEST} characters, got {len(token)}")
    if not all(33 <= ord(letter) <= 126 for letter in token):
        raise BadInputError(f"{name}: expected a token of visible ASCII characters without spaces, got others")
    return token


class Access:
    """Who may come in. `port`: that of the webserver, because browsers send cookies to every port of a host."""

    def __init__(self, token: str, port: int) -> None:
        self._token = token.encode()
        self.cookie = f"touchline-{port}"
        # Whoever sees the cookie does not have the token; another token makes all cookies void.
        self.cookie_value = hmac.new(self._token, self.cookie.encode(), hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)

    def bears(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries the token as `Bearer TOKEN`."""
        scheme, _, given = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def remembers(self, cookies: str | None) -> bool:
        """Whether a Cookie header carries what a login sets. Others on this host may set cookies of the same name."""
        wanted = self.cookie_value.encode()
        pairs = (part.strip().partition("=") for part in (cookies or "").split(";"))
        given = [value for name, _, value in pairs if name == self.cookie]
        return any(hmac.compare_digest(value.encode("utf-8", "surrogateescape"), wanted) for value in given)


def without_token() -> dict[str, str]:
    """The environment of this process without the token: of its children only the webserver needs it."""
    return {
        name: value for name, value in os.environ.items() if name not in ("TOUCHLINE_TOKEN", "TOUCHLINE_TOKEN_FILE")
    }
