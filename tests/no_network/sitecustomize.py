"""Refuses every connection beyond this machine and writes it down; on the path of processes that a test starts.

Belongs here: an audit hook that Python runs before it opens a socket, a name or a URL, in this process and its
children. What native code does by itself is not seen.
"""

import os
import sys
from pathlib import Path

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")  # noqa: S104 (what counts as this machine)


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Writes down and refuses what is not for this machine."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):
            return
        host = address[0]
    elif event == "urllib.Request":
        host = str(arguments[0]).partition("//")[2].split("/")[0].rpartition("@")[2]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if name.strip("[]").startswith(LOOPBACK):
        return
    with Path(os.environ["NO_NETWORK_LOG"]).open("a", encoding="utf-8") as log:
        log.write(f"{name}\t{event}\t{' '.join(sys.argv)[:200]}\n")
    raise ConnectionRefusedError(f"{event} to {name} was refused by the test")


sys.addaudithook(watch)
