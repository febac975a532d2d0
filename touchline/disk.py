"""Full and read-only disks: recognising their errors, and the message for the user.

Belongs here: which errors of the operating system concern a whole disk, and how much space is left.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from touchline.causes import causes
from touchline.home import home

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Error numbers that any write to the same disk would raise: no space, quota exceeded, read-only file system."""
SHORT_BYTES: Final = 32 * 1024 * 1024
"""Free space below which the embedded Postgres cannot work. It allocates 16 MiB at a time [bytes]."""
SHORT_SHARE: Final = 0.01
"""Free space below which the embedded object store refuses writes [share of the disk, 0-1]."""
REMEDY: Final = "make room there, then run the same again: finished work is kept"


def is_full(error: BaseException) -> bool:
    """Whether an error, or one of its causes, says that a disk is full or read-only."""
    return _of_disk(error) is not None


def told(error: BaseException) -> str:
    """The message for an error for which `is_full` is true: the disk, the space left and a remedy.

    If the error does not name a file, the disk is that of the home, of temporary files or of the working directory,
    whichever is short of space.
    """
    # Imported late: most commands never need it, and it takes 10 ms.
    import tempfile

    found = _of_disk(error)
    number, named = (found.errno, found.filename) if found is not None else (None, None)
    folders = [Path(os.fsdecode(named)).parent] if named else [home(), Path(tempfile.gettempdir()), Path.cwd()]
    where = next((folder for folder in folders if shortage(folder)), folders[0])
    if number == errno.EROFS:
        return f"the disk of {where} takes no writes (read-only file system); {REMEDY.replace('make room', 'mend it')}"
    state = "has reached your quota" if number == errno.EDQUOT else "is full"
    return f"the disk of {where} {state} ({_room(where)}); {REMEDY}"


def shortage(folder: Path) -> str:
    """A message if the disk of a folder is so short of space that servers on it fail; otherwise empty."""
    free, total = _usage(folder)
    if not total or free >= max(SHORT_BYTES, SHORT_SHARE * total):
        return ""
    return f"the disk of {folder} is full ({_room(folder)}); {REMEDY}"


def _of_disk(error: BaseException) -> OSError | None:
    """The OSError of a full or read-only disk among an error and its causes."""
    return next((one for one in causes(error) if isinstance(one, OSError) and one.errno in FULL), None)


def _room(folder: Path) -> str:
    free, total = _usage(folder)
    return f"{free:,} of {total:,} bytes free"


def _usage(folder: Path) -> tuple[int, int]:
    """Free and total bytes of the disk that a folder is or would be on; (0, 0) if they are unknown."""
    for existing in (folder, *folder.parents):
        try:
            usage = shutil.disk_usage(existing)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return usage.free, usage.total
    return 0, 0
