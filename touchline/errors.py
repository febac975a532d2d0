"""The errors Touchline raises on purpose. Each says what was expected, what came, and what to do next.

Belongs here: exception classes, and how they are put into words. Code that raises them lives where the fault is
noticed.
"""

from __future__ import annotations

import re
from typing import Final

from touchline.disk import is_full, told

_CLASS: Final = re.compile(r"^touchline\.errors\.\w+: ")


class TouchlineError(Exception):
    """A fault with a message meant for the person running Touchline. `exit_code` is what the CLI returns."""

    exit_code = 1


class BadInputError(TouchlineError):
    """The request itself cannot be carried out (a file, a profile, a setting): refused before any work starts."""

    exit_code = 2


class CheckpointError(TouchlineError):
    """A stored checkpoint is missing, damaged, of another stage or of an unknown format. The message names its key."""


class ServiceError(TouchlineError):
    """A server that is needed (Postgres, the object store) is not configured, not reachable, or did not start."""


class ModelUnavailableError(TouchlineError):
    """A model or engine that was asked for is not installed, has no weights, or has weights with another checksum."""


class JobStoppedError(TouchlineError):
    """The job was asked to stop between two chunks. What is journalled stays and the job can be resumed."""

    exit_code = 130


def in_words(error: BaseException) -> str:
    """What to tell a person of an exception: the message of one that is raised on purpose, as it is.

    Of others the operating system's words with the file's name, or, for a fault nobody foresaw, its kind and message.
    """
    if isinstance(error, TouchlineError):
        return str(error)
    if isinstance(error, OSError) and is_full(error):
        return told(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def without_class(message: str) -> str:
    """A message as Dagster keeps it, without the name of our class before it."""
    return _CLASS.sub("", message.strip(), count=1)
