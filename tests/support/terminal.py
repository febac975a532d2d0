"""A command at a terminal of its own, 80 columns wide: what it shows, and answers typed into it.

Belongs here: what tests of prompts and tables share.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

COLUMNS = 80


def at_terminal(*words: object, answer: str = "", columns: int = COLUMNS) -> tuple[int, str]:
    """Exit code and all that `touchline` shows; `answer` is typed once it asks ("[y/N]")."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "touchline_cli", *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(theirs)
    shown, typed, deadline = b"", False, time.monotonic() + 240
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 1.0)
            if not ready:
                continue
            try:
                more = os.read(ours, 65536)
            except OSError:
                # The other end is closed: the process has ended.
                break
            shown += more
            if not more:
                break
            if answer and not typed and b"[y/N]" in shown:
                os.write(ours, f"{answer}\n".encode())
                typed = True
        code = process.wait(30)
    finally:
        process.kill()
        os.close(ours)
    return code, shown.decode("utf-8", "replace").replace("\r\n", "\n")
