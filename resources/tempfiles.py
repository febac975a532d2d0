"""Space for temporary files, and what to say when there is none left.

Belongs here: making temporary files of unknown size. What is written into them is the caller's business.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from touchline.errors import ServiceError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def scratch_file(what: str) -> Iterator[IO[bytes]]:
    """An open temporary file without a name, gone whatever way the process ends.

    Raises ServiceError naming `what` it was for, if the disk it is on is full.
    """
    with _room(what), tempfile.TemporaryFile() as file:
        yield file


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """A temporary folder, removed at the end. Raises ServiceError as `scratch_file` does."""
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
