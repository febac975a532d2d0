"""Temporary files and folders, with a clear error if the disk is full."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from touchline.errors import ServiceError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a full disk or an exhausted quota."""


@contextmanager
def scratch_file(what: str) -> Iterator[IO[bytes]]:
    """An open temporary file without a name, which the system deletes however the process ends.

    Raises ServiceError, with `what` it is for, if the disk is full.
    """
    with _room(what), tempfile.TemporaryFile() as file:
        yield file


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """A temporary folder, removed at the end. Raises ServiceError as `scratch_file`."""
    with _room(what), tempfile.TemporaryDirectory(prefix="touchline-") as folder:
        yield Path(folder)


@contextmanager
def _room(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ServiceError(
            f"{what}: no room in {tempfile.gettempdir()} for temporary files ({error.strerror}); make room there or "
            "name another folder in TMPDIR, then run the same again: finished work is kept"
        ) from error
