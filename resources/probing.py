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

from resources.uploads import PROBE_BYTES, read_too_much
from touchline.errors import BadInputError, ServiceError
from touchline.library.intake import Listed
from touchline.library.naming import BLOCK, SAMPLES, WHOLE
from touchline.video.opening import VideoInfo

PROBE_S: Final = 20.0
"""Seconds that a file is looked into. Its first frame takes less than one from a disk, and a few from far away. Of the
checksum, seconds without a byte that was read."""
CHECKSUM_S: Final = 600.0
"""Seconds that a checksum takes at most: 2 GiB at 3.5 MB/s."""
WATCH_S: Final = 0.5
"""Seconds between two looks at how much a process has read."""
CHECKSUM_BYTES: Final = WHOLE + SAMPLES * BLOCK
"""Bytes that are read of a file for its checksum, in both forms. More than these is a file that grows meanwhile."""
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
OWN_BYTES: Final = 64 * 1024**2
"""Bytes that the process reads for itself: libraries that it loads when they are needed."""
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

    def identify(self, place: Any, upload: Listed, known: str = "") -> tuple[str, str]:
        """`place.path(upload.key)` and `place.checksum(upload, known)`, done in the process: a disk may hang.

        Raises as `probe`; nothing is its own fault for being slow.
        """
        found, value = self._asked("identity", place, upload, known)
        match value:
            case [str(path), str(checksum)] if found == "identity":
                return path, checksum
        self.close()
        raise _astray(place.location + upload.key)

    def probe(self, place: Any, upload: Listed) -> VideoInfo:
        """What an upload is: `place.probe(upload)`, done in the process. `place` is a `uploads.Place` to be pickled.

        Raises BadInputError, with the reason, for all that is the file's own fault: it is no video, or looking into it
        raised any other exception, crashed the decoder, took too long or too much memory, or read too much of it.
        Raises ServiceError where the place was too slow or failed, or the process was killed from outside, and
        FileNotFoundError if the file went away.
        """
        found, value = self._asked("probe", place, upload)
        try:
            if found != "info":
                raise TypeError
            return VideoInfo(**value)
        except TypeError:
            self.close()
            raise _astray(place.location + upload.key) from None

    def _asked(self, what: str, place: Any, upload: Listed, known: str = "") -> tuple[str, Any]:
        """What the process answers: a kind and a value."""
        name = place.location + upload.key
        process = self._started()
        probing = what == "probe"
        watch = _Watch(process.pid, self._limit_s, probing)
        request = pickle.dumps((what, place, upload, known))
        try:
            assert process.stdin is not None
            process.stdin.write(struct.pack("!I", len(request)) + request)
            process.stdin.flush()
            line = _line(process, watch)
            # A file is not let through for having been read faster than it was watched.
            watch.check()
        except TimeoutError:
            busy = probing and _busy_s(process.pid) - watch.busy_s >= BUSY * self._limit_s
            self.close()
            if busy:
                raise BadInputError(
                    f"{name}: its first frame was not found within {self._limit_s:.0f} s of work. The file is damaged, "
                    "or made to keep a decoder busy; export it again."
                ) from None
            raise ServiceError(
                f"{name} could not be looked into within {watch.waited_s():.0f} s, most of them spent waiting: the "
                "disk or the server is slow, or a decoder stands still. It is tried again, after all others"
            ) from None
        except _ReadTooMuchError:
            self.close()
            if probing:
                raise BadInputError(read_too_much(name)) from None
            raise ServiceError(f"{name} grows while it is read. It is tried again, after all others") from None
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
        with suppress(subprocess.TimeoutExpired):
            # One that waits for a disk in the kernel ends when the disk answers, and not before.
            process.wait(END_S)
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
                _line(self._process, _Watch(self._process.pid, START_S, probing=True))
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
    if kind in ("info", "identity"):
        return kind, value
    if kind == "gone":
        raise FileNotFoundError(value)
    if kind == "trouble":
        raise ServiceError(value if name in value else f"{name} could not be looked into: {value}")
    raise BadInputError(value)


class _ReadTooMuchError(Exception):
    """The process has read more than a file gives reason for."""


class _Watch:
    """How long a process takes over one file, and how much it reads."""

    def __init__(self, pid: int, limit_s: float, probing: bool) -> None:
        """`limit_s`: seconds for all of it where it is `probing`, else without a byte that was read."""
        self._pid, self._limit_s, self._probing = pid, limit_s, probing
        self._began = self._moved = time.monotonic()
        self._before = self._read = _bytes_read(pid)
        self.busy_s: Final = _busy_s(pid)
        """Seconds for which the process had worked before."""

    def left_s(self) -> float:
        """Seconds that are left."""
        now = time.monotonic()
        if self._probing:
            return self._began + self._limit_s - now
        return min(self._moved + self._limit_s, self._began + CHECKSUM_S) - now

    def waited_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raises _ReadTooMuchError. Where the system does not tell what is read, time alone is bounded."""
        read = _bytes_read(self._pid)
        if read is None or self._before is None:
            self._moved = time.monotonic()
            return
        if read != self._read:
            self._read, self._moved = read, time.monotonic()
        if read - self._before > (PROBE_BYTES if self._probing else CHECKSUM_BYTES) + OWN_BYTES:
            raise _ReadTooMuchError


def _bytes_read(pid: int) -> int | None:
    """Bytes that a process has read from files; nothing where that cannot be told, or the process is gone."""
    try:
        return int(psutil.Process(pid).io_counters().read_chars)
    except (psutil.Error, AttributeError, OSError):
        return None


def _line(process: subprocess.Popen[bytes], watch: _Watch) -> bytes:
    """The next line that the process writes. Raises TimeoutError, EOFError where it ended, and as `_Watch.check`."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    arrived = select.poll()
    arrived.register(descriptor, select.POLLIN | select.POLLHUP)
    line = b""
    while not line.endswith(b"\n"):
        left = watch.left_s()
        if left <= 0:
            raise TimeoutError
        if not arrived.poll(min(left, WATCH_S) * 1000):
            watch.check()
            continue
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


def _look(what: str, place: Any, upload: Listed, known: str, memory: int) -> tuple[str, Any]:
    """What `place` says of an upload, or why it said nothing."""
    from av import FFmpegError

    name = place.location + upload.key
    try:
        if what == "identity":
            # In this order: the path of what is not there would be a guess.
            checksum = str(place.checksum(upload, known))
            return "identity", (str(place.path(upload.key)), checksum)
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
    _confine(memory)
    answers.write(b"ready\n")
    while head := requests.read(4):
        what, place, upload, known = pickle.loads(requests.read(struct.unpack("!I", head)[0]))  # noqa: S301 (from our parent)
        # Should the parent die while a decoder spins, nobody else would end this.
        used = time.process_time()
        with suppress(ValueError, OSError):
            most = int(used) + 2 * CORES * limit_s
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        answers.write(json.dumps(_look(what, place, upload, known, memory)).encode() + b"\n")


def main() -> None:
    """Serves on standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, answers, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
