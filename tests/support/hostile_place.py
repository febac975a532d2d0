"""A folder of uploads whose files do, when they are looked into, what their names say.

Belongs here: harm that no file can be trusted to do to every version of a decoder. It must be importable by the process
that looks into uploads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass

import av
import numpy as np

from resources.uploads import FolderUploads
from touchline.errors import BadInputError, ServiceError
from touchline.library.intake import Listed
from touchline.video.opening import VideoInfo


@dataclass(frozen=True)
class HostileUploads(FolderUploads):
    """As FolderUploads, but for files that are named for what they do."""

    def checksum(self, upload: Listed, known: str = "") -> str:
        match upload.key.partition(".")[0]:
            case "unread":
                raise ServiceError(f"{upload.key} cannot be read")
            case "stuck":
                time.sleep(600)
        return super().checksum(upload, known)

    def probe(self, upload: Listed) -> VideoInfo:
        match upload.key.partition(".")[0]:
            case "crash":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "spin":
                while True:
                    pass
            case "sleep":
                time.sleep(600)
            case "eat":
                held = []
                while True:
                    held.append(np.empty(1 << 24))
            case "greedy":
                with open("/dev/zero", "rb") as endless:  # noqa: PTH123
                    while endless.read(1 << 20):
                        pass
            case "odd":
                raise KeyError("an error of a class that nobody listed")
            case "disk":
                raise OSError(5, "Input/output error", upload.key)
            case "ffmpeg":
                raise av.error.OSError(5, "Input/output error")
            case "long":
                raise BadInputError("no end of it" * 200_000)
            case "chatter":
                print('["info", {}]', flush=True)
                sys.stdout.write("nonsense\n")
        return super().probe(upload)
