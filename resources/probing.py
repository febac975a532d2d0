"""Looking into a stranger's file in a process of its own: a crash, a hang or hunger for memory ends that process alone.

Belongs here: that process, what passes between it and this one, and what its end says of the file. What is looked for
is in `uploads.py` and `touchline/video/opening.py`.

Requests go out pickled, for they come from us. Answers come back as JSON: a decoder that was led astray may write them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NoReturn, Self

import psutil

from touchline.errors import BadInputError, ServiceError
from touchline.library.intake import Listed
from touchline.video.opening import VideoInfo

LEAST_S: Final = 5.0
"""Seconds that a file gets however little is left of a look."""
PROBE_S: Final = 20.0
"""Seconds that a file is looked into. Its first frame takes less than one from a disk, and a few from far away."""
START_S: Final = 20.0
"""Seconds that the process may take to start."""
BUSY: Final = 0.5
"""Share of the time from which on a file that was not done with kept its process busy, rather than waiting for a place.
"""
MEMORY: Final = 4 * 1024**3
"""Bytes that the process may take: ten times what the first frame of an 8K film needs on CORES cores."""
CORES: Final = 4
"""Cores that it may use: decoders take memory for each."""
LONGEST: Final = 1 << 20
"""Bytes of an answer; a longer one is none of ours."""
END_S: Final = 5.0
"""Seconds that the process may take to end after it has closed its output."""


class Prober:
    """A process that looks into uploads, one after another. Started when the first is asked about; a context."""

    def __init__(self, *, limit_s: float = PROBE_S, memory: int = MEMORY) -> None:
        self._limit_s, self._memory = limit_s, memory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def checksum(self, place: Any, upload: Listed, within_s: float | None = None) -> str:
        """`place.checksum(upload)`, done in the process: a disk may hang. Raises as `probe`; nothing is its own fault
        for being slow.
        """
        name, limit_s = place.location + upload.key, self._limit(within_s)
        found, value = self._asked("checksum", place, upload, limit_s, blamed=False)
        if found != "checksum" or not isinstance(value, str):
            self.close()
            raise _astray(name)
        return value

    def probe(self, place: Any, upload: Listed, within_s: float | None = None) -> VideoInfo:
        """What an upload is: `place.probe(upload)`, done in the process. `place` is a `uploads.Place` to be pickled.

        `within_s` [s] cuts the time for it short; a file is blamed for using up all of it alone.

        Raises BadInputError, with the reason, for all that is the file's own fault: it is no video, or looking into it
        raised any other exception, crashed the decoder, or took too long or too much memory. Raises ServiceError where
        the place was too slow or failed, or the process was killed from outside, and FileNotFoundError if the file went
        away.
        """
        name, limit_s = place.location + upload.key, self._limit(within_s)
        found, value = self._asked("probe", place, upload, limit_s, blamed=limit_s >= self._limit_s)
        try:
            if found != "info":
                raise TypeError
            return VideoInfo(**value)
        except TypeError:
            self.close()
            raise _astray(name) from None

    def _limit(self, within_s: float | None) -> float:
        return self._limit_s if within_s is None else min(self._limit_s, max(within_s, LEAST_S))

    def _asked(self, what: str, place: Any, upload: Listed, limit_s: float, *, blamed: bool) -> tuple[str, Any]:
        """What the process answers: a kind and a value. `blamed`: working for all of the time is the file's fault."""
        name = place.location + upload.key
        process = self._started()
        before = _busy_s(process.pid)
        request = pickle.dumps((what, place, upload))
        try:
            assert process.stdin is not None
            process.stdin.write(struct.pack("!I", len(request)) + request)
            process.stdin.flush()
            line = _line(process, time.monotonic() + limit_s)
        except TimeoutError:
            busy = blamed and _busy_s(process.pid) - before >= BUSY * limit_s
            self.close()
            if busy:
                raise BadInputError(
                    f"{name}: its first frame was not found within {limit_s:.0f} s of work. The file is damaged, "
                    "or made to keep a decoder busy; export it again."
                ) from None
            raise ServiceError(
                f"{name} could not be looked into within {limit_s:.0f} s, most of them spent waiting: the disk "
                "or the server is slow, or a decoder stands still. It is tried again, after all others"
            ) from None
        except (EOFError, BrokenPipeError):
            self._ended(name, process)
        try:
            return _answer(name, line)
        except (ValueError, TypeError):
            self.close()
            raise _astray(name) from None

    def close(self) -> None:
        """Ends the process, whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "resources.probing", str(self._memory), str(int(self._limit_s))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Modules are found from here, installed or not; a terminal's Ctrl-C is this process's to deal with.
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,
            )
            try:
                _line(self._process, time.monotonic() + START_S)
            except (TimeoutError, EOFError) as error:
                self.close()
                raise ServiceError(
                    "the process that looks into uploads did not start; its messages are above"
                ) from error
        return self._process

    def _ended(self, name: str, process: subprocess.Popen[bytes]) -> NoReturn:
        """Says what the end of the process says of the file."""
        try:
            code = process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise _astray(name) from None
        finally:
            self.close()
        if -code == signal.SIGKILL:
            raise ServiceError(
                f"the process that looked into {name} was killed, as systems do that are short of memory. It is tried "
                "again, after all others"
            )
        how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        raise BadInputError(
            f"{name}: the decoder {how} when it looked into the file. The file is damaged, or made to do harm; export "
            "it again."
        )


def _astray(name: str) -> BadInputError:
    return BadInputError(
        f"{name}: the process that looked into the file answered what is no answer. The file is damaged, or made to do "
        "harm; export it again."
    )


def _answer(name: str, line: bytes) -> tuple[str, Any]:
    kind, value = json.loads(line)
    if kind in ("info", "checksum"):
        return kind, value
    if kind == "gone":
        raise FileNotFoundError(value)
    if kind == "trouble":
        raise ServiceError(value if name in value else f"{name} could not be looked into: {value}")
    raise BadInputError(value)


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The next line that the process writes. Raises TimeoutError, and EOFError where it ended."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    arrived = select.poll()
    arrived.register(descriptor, select.POLLIN | select.POLLHUP)
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not arrived.poll(left * 1000):
            raise TimeoutError
        block = os.read(descriptor, 65536)
        if not block or len(line) > LONGEST:
            raise EOFError
        line += block
    return line


def _busy_s(pid: int) -> float:
    """Seconds for which a process worked or, where the system tells, was ready to and had to wait for a core.

    0 for a process that is gone.
    """
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    ready = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, ValueError):
            worked, waited, _ = thread.read_text().split()
            ready += int(worked) + int(waited)
    return max(float(times.user + times.system), ready / 1e9)


def _look(what: str, place: Any, upload: Listed, memory: int) -> tuple[str, Any]:
    """What `place.probe` or `place.checksum` says, or why it said nothing."""
    from av import FFmpegError

    name = place.location + upload.key
    try:
        if what == "checksum":
            return "checksum", str(place.checksum(upload))
        return "info", dataclasses.asdict(place.probe(upload))
    except BadInputError as error:
        return "refused", str(error)
    except ServiceError as error:
        return "trouble", str(error)
    except MemoryError:
        return (
            "refused",
            f"{name}: looking into it took more than {memory / 1024**3:.1f} GiB of memory; export it again.",
        )
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, FileNotFoundError) and not isinstance(error, FFmpegError):
            return "gone", str(error)
        # Of disks, mounts and this installation; FFmpeg's own errors, some of which are named so, are the file's.
        if isinstance(error, OSError | ImportError) and not isinstance(error, FFmpegError):
            return "trouble", what
        return "refused", f"{name}: it could not be looked into ({what}). Export the file again."


def _confine(memory: int) -> None:
    """Few cores, little memory, and the first to go where the system runs short of it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _serve(requests: IO[bytes], answers: IO[bytes], memory: int, limit_s: int) -> None:
    """The process: answers until the other end goes away."""
    import resources.uploads  # noqa: F401 (before the limits hold)

    _confine(memory)
    answers.write(b"ready\n")
    while head := requests.read(4):
        what, place, upload = pickle.loads(requests.read(struct.unpack("!I", head)[0]))  # noqa: S301 (from our parent)
        # Should the parent die while a decoder spins, nobody else would end this.
        used = time.process_time()
        with suppress(ValueError, OSError):
            most = int(used) + 2 * CORES * limit_s
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        answers.write(json.dumps(_look(what, place, upload, memory)).encode() + b"\n")


def main() -> None:
    """Serves on standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, answers, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
