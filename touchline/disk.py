"""A disk that is full or takes no writes: noticing it, and naming it in one sentence.

Belongs here: what of the operating system's errors concerns a disk as a whole, and how much room there is. Who writes
what is the business of those who do.
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
"""Errors that any write to the same disk would meet."""
SHORT_BYTES: Final = 32 * 1024 * 1024
"""With less room than this the embedded Postgres, which takes 16 MiB at a time, cannot work [bytes]."""
SHORT_SHARE: Final = 0.01
"""Below this share of the disk the embedded object store takes no writes [0-1]."""
REMEDY: Final = "make room there, then run the same again: finished work is kept"


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk takes no more writes, or comes from one that does."""
    return _of_disk(error) is not None


def told(error: BaseException) -> str:
    """One sentence on the disk that an error for which `is_full` says yes is about, with the room left and a remedy.

    Where the error does not name a file, the disk is that of the home, of temporary files or of the working folder,
    whichever is short of room.
    """
    # Most commands never need it, and it would cost each of them a hundredth of a second.
    import tempfile

    found = _of_disk(error)
    number, named = (found.errno, found.filename) if found is not None else (None, None)
    folders = [Path(os.fsdecode(named)).parent] if named else [home(), Path(tempfile.gettempdir()), Path.cwd()]
    where = next((folder for folder in folders if shortage(folder)), folders[0])
    if number == errno.EROFS:
        return f"the disk of {where} takes no writes (read-only file system); {REMEDY.replace('make room', 'mend it')}"
    state = "is used up to your quota" if number == errno.EDQUOT else "is full"
    return f"the disk of {where} {state} ({_room(where)}); {REMEDY}"


def shortage(folder: Path) -> str:
    """A sentence on the disk of a folder if it is so short of room that servers on it fail; empty if it is not."""
    free, total = _usage(folder)
    if not total or free >= max(SHORT_BYTES, SHORT_SHARE * total):
        return ""
    return f"the disk of {folder} is full ({_room(folder)}); {REMEDY}"


def _of_disk(error: BaseException) -> OSError | None:
    """The operating system's error behind an error, if it is one of a full disk."""
    return next((one for one in causes(error) if isinstance(one, OSError) and one.errno in FULL), None)


def _room(folder: Path) -> str:
    free, total = _usage(folder)
    return f"{free:,} of {total:,} bytes free"


def _usage(folder: Path) -> tuple[int, int]:
    """Bytes free for us and bytes in all, of the disk that a folder is or would be on; zeros if they are not told."""
    for existing in (folder, *folder.parents):
        try:
            usage = shutil.disk_usage(existing)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return usage.free, usage.total
    return 0, 0
