"""Probe untrusted files in a child process: a crash, a hang or excessive memory ends that process only.

Belongs here: the child process, its protocol, and what its end means for the file. Probing itself is in `uploads.py`
and `touchline/video/opening.py`.

Requests are pickled: they come from this process. Answers are JSON: a compromised decoder may write them.
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
"""Time limit of a probe, and of a checksum the time without a byte read [s]. A first frame takes less than 1 s from a
local disk and a few seconds from a remote one."""
CHECKSUM_S: Final = 600.0
"""Time limit of a checksum [s]: 2 GiB at 3.5 MB/s."""
CHECK_S: Final = 0.5
"""Time between two checks of the bytes that the process has read [s]."""
CHECKSUM_BYTES: Final = WHOLE + SAMPLES * BLOCK
"""Maximum number of bytes that a checksum reads, in both of its forms. A file that grows exceeds it."""
START_S: Final = 20.0
"""Time limit for the start of the process [s]."""
BUSY: Final = 0.5
"""CPU time, as a share of the time limit, above which a timeout is the fault of the file instead of a slow disk."""
MEMORY: Final = 4 * 1024**3
"""Memory limit of the process [bytes]: ten times that of the first frame of an 8K film on CORES cores."""
CORES: Final = 4
"""Number of cores that the process may use: decoders allocate memory for each."""
LONGEST: Final = 1 << 20
"""Maximum length of an answer [bytes]. A longer one is invalid."""
OWN_BYTES: Final = 64 * 1024**2
"""Bytes that the process may read besides the file: libraries that it loads on demand."""
END_S: Final = 5.0
"""Time limit for the end of the process, after it has closed its output or was killed [s]."""


class Prober:
    """A child process that probes uploads in sequence. Started at the first request; a context manager.

    `limit_s` is the time limit of a probe [s], `memory` the memory limit of the process [bytes].
    """

    def __init__(self, *, limit_s: float = PROBE_S, memory: int = MEMORY) -> None:
        self._limit_s, self._memory = limit_s, memory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def identify(self, uploads: Any, upload: Listed, known: str = "") -> tuple[str, str]:
        """`uploads.path(upload.key)` and `uploads.checksum(upload, known)`, called in the child process.

        Raises as `probe`, but always ServiceError if it takes too long.
        """
        found, value = self._asked("identity", uploads, upload, known)
        match value:
            case [str(path), str(checksum)] if found == "identity":
                return path, checksum
        self.close()
        raise _invalid_answer(uploads.location + upload.key)

    def probe(self, uploads: Any, upload: Listed) -> VideoInfo:
        """`uploads.probe(upload)`, called in the child process. `uploads` is a picklable `UploadLocation`.

        Raises BadInputError, with the reason, for faults of the file: it is no video, or the probe raised another
        exception, crashed, or exceeded its limit of CPU time, memory or bytes. Raises ServiceError if the location is
        too slow or fails or the process was killed, and FileNotFoundError if the file was removed or replaced.
        """
        found, value = self._asked("probe", uploads, upload)
        try:
            if found != "info":
                raise TypeError
            return VideoInfo(**value)
        except TypeError:
            self.close()
            raise _invalid_answer(uploads.location + upload.key) from None

    def _asked(self, what: str, uploads: Any, upload: Listed, known: str = "") -> tuple[str, Any]:
        """The answer of the process: a kind and a value."""
        name = uploads.location + upload.key
        process = self._started()
        probing = what == "probe"
        limits = _Limits(process.pid, self._limit_s, probing)
        request = pickle.dumps((what, uploads, upload, known))
        try:
            assert process.stdin is not None
            process.stdin.write(struct.pack("!I", len(request)) + request)
            process.stdin.flush()
            line = _line(process, limits)
            # The answer may come before the first check of the bytes read.
            limits.check()
        except TimeoutError:
            busy = probing and _busy_s(process.pid) - limits.busy_s >= BUSY * self._limit_s
            self.close()
            if busy:
                raise BadInputError(
                    f"{name}: its first frame was not found within {self._limit_s:.0f} s of work. The file is damaged, "
                    "or made to keep a decoder busy; export it again."
                ) from None
            raise ServiceError(
                f"{name} could not be probed within {limits.waited_s():.0f} s, most of them spent waiting: the "
                "disk or the server is slow, or a decoder hangs. It is tried again, after all others"
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
            raise _invalid_answer(name) from None

    def close(self) -> None:
        """Kills the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            # A process in uninterruptible sleep ends when its disk answers.
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
                # The folder of the packages, for a checkout that is not installed. Ctrl-C is handled in this process.
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,
            )
            try:
                _line(self._process, _Limits(self._process.pid, START_S, probing=True))
            except (TimeoutError, EOFError) as error:
                self.close()
                raise ServiceError("the process that probes uploads did not start; its messages are above") from error
        return self._process

    def _ended(self, name: str, process: subprocess.Popen[bytes]) -> NoReturn:
        """Raises the error for a process that ended without an answer."""
        try:
            code = process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise _invalid_answer(name) from None
        finally:
            self.close()
        if -code == signal.SIGKILL:
            raise ServiceError(
                f"the process that probed {name} was killed: the system may be short of memory. It is tried again, "
                "after all others"
            )
        how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        raise BadInputError(
            f"{name}: the decoder {how} during the probe. The file is damaged or malicious; export it again."
        )


def _invalid_answer(name: str) -> BadInputError:
    return BadInputError(
        f"{name}: the process that probed the file gave an invalid answer. The file is damaged or malicious; "
        "export it again."
    )


def _answer(name: str, line: bytes) -> tuple[str, Any]:
    kind, value = json.loads(line)
    if kind in ("info", "identity"):
        return kind, value
    if kind == "gone":
        raise FileNotFoundError(value)
    if kind == "trouble":
        raise ServiceError(value if name in value else f"{name} could not be probed: {value}")
    raise BadInputError(value)


class _ReadTooMuchError(Exception):
    """The process has read more bytes than a probe or checksum needs."""


class _Limits:
    """The time and the bytes read that the process spends on one file."""

    def __init__(self, pid: int, limit_s: float, probing: bool) -> None:
        """`limit_s` is the time limit [s]: of the whole request if `probing`, else without a byte read."""
        self._pid, self._limit_s, self._probing = pid, limit_s, probing
        self._began = self._moved = time.monotonic()
        self._before = self._read = _bytes_read(pid)
        self.busy_s: Final = _busy_s(pid)
        """CPU time of the process before this request [s]."""

    def left_s(self) -> float:
        """Time until the limit [s]."""
        now = time.monotonic()
        if self._probing:
            return self._began + self._limit_s - now
        return min(self._moved + self._limit_s, self._began + CHECKSUM_S) - now

    def waited_s(self) -> float:
        """Time since the request [s]."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raises _ReadTooMuchError. Without I/O counters of the system only the time is limited."""
        read = _bytes_read(self._pid)
        if read is None or self._before is None:
            self._moved = time.monotonic()
            return
        if read != self._read:
            self._read, self._moved = read, time.monotonic()
        if read - self._before > (PROBE_BYTES if self._probing else CHECKSUM_BYTES) + OWN_BYTES:
            raise _ReadTooMuchError


def _bytes_read(pid: int) -> int | None:
    """Bytes that a process has read from files; None if unknown."""
    try:
        return int(psutil.Process(pid).io_counters().read_chars)
    except (psutil.Error, AttributeError, OSError):
        return None


def _line(process: subprocess.Popen[bytes], limits: _Limits) -> bytes:
    """The next line of the process's output. Raises TimeoutError, EOFError if it ended, and as `_Limits.check`."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    arrived = select.poll()
    arrived.register(descriptor, select.POLLIN | select.POLLHUP)
    line = b""
    while not line.endswith(b"\n"):
        left = limits.left_s()
        if left <= 0:
            raise TimeoutError
        if not arrived.poll(min(left, CHECK_S) * 1000):
            limits.check()
            continue
        block = os.read(descriptor, 65536)
        if not block or len(line) > LONGEST:
            raise EOFError
        line += block
    return line


def _busy_s(pid: int) -> float:
    """CPU time of a process, including its time in the run queue if known [s]; 0 if it is gone."""
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


def _answer_to(what: str, uploads: Any, upload: Listed, known: str, memory: int) -> tuple[str, Any]:
    """The answer to a request: the result, or the kind and message of the error."""
    from av import FFmpegError

    name = uploads.location + upload.key
    try:
        if what == "identity":
            # In this order: the checksum raises if the upload is missing.
            checksum = str(uploads.checksum(upload, known))
            return "identity", (str(uploads.path(upload.key)), checksum)
        return "info", dataclasses.asdict(uploads.probe(upload))
    except BadInputError as error:
        return "refused", str(error)
    except ServiceError as error:
        return "trouble", str(error)
    except MemoryError:
        return (
            "refused",
            f"{name}: the probe took more than {memory / 1024**3:.1f} GiB of memory; export it again.",
        )
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, FileNotFoundError) and not isinstance(error, FFmpegError):
            return "gone", str(error)
        # Faults of disks, mounts or this installation. FFmpegError, which may be an OSError, is a fault of the file.
        if isinstance(error, OSError | ImportError) and not isinstance(error, FFmpegError):
            return "trouble", what
        return "refused", f"{name}: it could not be probed ({what}). Export the file again."


def _confine(memory: int) -> None:
    """Limits cores and memory, and makes this process the first victim of the OOM killer."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _serve(requests: IO[bytes], answers: IO[bytes], memory: int, limit_s: int) -> None:
    """Main loop of the child process: answers requests until the pipe is closed."""
    _confine(memory)
    answers.write(b"ready\n")
    while head := requests.read(4):
        what, uploads, upload, known = pickle.loads(requests.read(struct.unpack("!I", head)[0]))  # noqa: S301 (from our parent)
        # Ends this process if the parent dies while a decoder loops.
        used = time.process_time()
        with suppress(ValueError, OSError):
            most = int(used) + 2 * CORES * limit_s
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        answers.write(json.dumps(_answer_to(what, uploads, upload, known, memory)).encode() + b"\n")


def main() -> None:
    """Serves on standard input and output. Output of libraries goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, answers, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
