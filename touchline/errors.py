"""The errors that Touchline raises on purpose. Each says what was expected, what came, and what to do next.

Belongs here: exception classes, and the messages made of exceptions.
"""

from __future__ import annotations

import re
from typing import Final

from touchline.disk import is_full, told

_CLASS: Final = re.compile(r"^touchline\.errors\.\w+: ")


class TouchlineError(Exception):
    """An error with a message for the user. `exit_code` is what the command line returns."""

    exit_code = 1


class BadInputError(TouchlineError):
    """The request is invalid (a file, a profile, a setting). It is refused before any work starts."""

    exit_code = 2


class CheckpointError(TouchlineError):
    """A stored checkpoint is missing, damaged, of another stage, or of an unknown format. The message has its key."""


class ServiceError(TouchlineError):
    """A required server (Postgres, the object store) is not configured, is not reachable, or did not start."""


class ModelUnavailableError(TouchlineError):
    """A requested model or engine is not installed, has no weights, or has weights with another checksum."""


class JobStoppedError(TouchlineError):
    """The job was stopped between two chunks on request. Journalled chunks are kept, and the job can be resumed."""

    exit_code = 130


def in_words(error: BaseException) -> str:
    """An exception as a message for the user.

    A TouchlineError gives its own message, an OSError the system's message with the file's name, and any other
    exception its class and message.
    """
    if isinstance(error, TouchlineError):
        return str(error)
    if isinstance(error, OSError) and is_full(error):
        return told(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def without_class(message: str) -> str:
    """A message as Dagster stores it, without the class name of a Touchline error before it."""
    return _CLASS.sub("", message.strip(), count=1)
