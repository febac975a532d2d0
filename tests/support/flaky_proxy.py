"""A proxy in front of a server, for tests: it passes bytes on, or answers with an error, or never.

Belongs here: faults of the way to a server. Requests are passed on as they came, so that their signatures hold.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import Self

PATIENCE_S = 1.0
"""Without a byte for so long [s], a body whose length is not known is taken to be over."""


class FlakyProxy:
    """Listens on a port of its own for the server at `target` (http://host:port).

    `fault` is "" (passes everything on), an HTTP status such as "503", "hang" (takes requests and never answers) or
    "refuse" (closes each connection at once). Connections that are open feel it with their next bytes. With `only` it
    befalls requests alone that hold those bytes. `refused` counts what was not passed on.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.fault = ""
        self.only = b""
        self.refused = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._close(self._server)
        for connection in list(self._open):
            self._close(connection)
        for thread in self._threads:
            thread.join(5)

    def heal(self) -> None:
        """Passes everything on again; requests that hang stay without an answer."""
        self.fault = ""

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            self._open.add(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            while data := client.recv(65536):
                if self.fault and self.only in data:
                    self.refused += 1
                    self._disturb(client, data)
                    return
                if server is None:
                    server = socket.create_connection(self._target)
                    self._open.add(server)
                    self._start(self._answers, server, client)
                server.sendall(data)
        except OSError:
            return
        finally:
            for one in (client, server):
                if one is not None:
                    self._close(one)

    def _disturb(self, client: socket.socket, data: bytes) -> None:
        """What happens to a request, of which `data` came, instead of being passed on."""
        fault = self.fault
        if fault.isdecimal():
            # The body is taken first: an answer before its end would reach the client as a broken connection.
            client.settimeout(PATIENCE_S)
            with suppress(TimeoutError):
                left = _left_of(data)
                while left is None or left > 0:
                    if not (more := client.recv(65536)):
                        break
                    left = left - len(more) if left is not None else None
            client.settimeout(None)
            client.sendall(f"HTTP/1.1 {fault} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        elif fault == "hang":
            while client.recv(65536):
                continue

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        self._close(server)
        self._close(client)

    def _close(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
        self._open.discard(one)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _left_of(data: bytes) -> int | None:
    """Bytes that are still to come of a request that begins so; None where it does not tell, or waits for a word."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not end or b"100-continue" in head.lower():
        return None
    return int(length[1]) - len(body) if length else 0 if head.startswith((b"GET", b"HEAD", b"DELETE")) else None
