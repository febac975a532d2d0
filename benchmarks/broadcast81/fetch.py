"""`python -m benchmarks fetch`: the benchmark's media, by git from where it lies, into a folder of the user's.

Belongs here: one shallow fetch for each repository and commit, of the named files alone, and their checksums. Files
that are there with the right checksum are not fetched again: a fetch that was broken off is taken up by starting it
once more.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from benchmarks.broadcast81 import GIT, NONE, RENDERED, Item, chosen, items, rendered

SERVER: Final = "https://github.com"
"""Address of the server that has the repositories."""
TIMEOUT_S: Final = 300.0
"""Time limit of one git command [s]."""
POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""How a file begins that git keeps in place of one in Git LFS."""
UNFINISHED: Final = ".fetching-"
"""How folders begin in which a fetch is at work."""
SETTINGS: Final = (
    # No credentials of the user's: all sources are public.
    "credential.helper=",
    # A server that sends less than 1000 bytes a second for half a minute hangs.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "gc.auto=0",
)
OTHER_REPOSITORY: Final = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_WORK_TREE",
)
"""Variables that point git at a repository, as they are set where a hook starts a command."""


class FetchError(Exception):
    """An item or source that could not be had, and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: `there` (had before), `fetched`, `left out` or `failed`, and why."""

    item: Item
    state: str
    why: str = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where to (default: %(default)s)")
    parser.add_argument(
        "--source", default="", metavar="FILTER", help="only repositories or files with this in the name"
    )
    parser.add_argument(
        "--server", default=SERVER, metavar="URL", help="where the repositories lie (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS", help="of one git command (default: %(default)g)"
    )


def main(options: argparse.Namespace) -> int:
    """Fetch and tell. 0: all that can be had is there; 1: some is not; 2: the request makes no sense."""
    everything = items()
    wanted = chosen(everything, options.source)
    if not wanted:
        repos = "\n  ".join(sorted({item.repo for item in everything if item.repo}))
        return _refused(f"--source {options.source}: expected a part of a file's name or of one of these:\n  {repos}")
    address = urlsplit(options.server)
    if address.username or address.password:
        return _refused("--server: expected an address without user and password; all sources are public")
    if options.timeout <= 0:
        return _refused(f"--timeout {options.timeout:g}: expected more than 0 seconds")
    if shutil.which("git") is None and any(item.origin == GIT for item in wanted):
        return _refused("git is not installed; install it (on Debian: apt-get install git) and start the fetch again")
    outcomes = []
    try:
        for outcome in fetch(wanted, options.folder, options.server, options.timeout):
            outcomes.append(outcome)
            print(f"{outcome.state:<9} {outcome.item.file}{': ' * bool(outcome.why)}{outcome.why}", flush=True)
    except OSError as error:
        return _refused(f"--folder {options.folder}: expected a folder to write into: {error.strerror}")
    except KeyboardInterrupt:
        print("Broken off. What was fetched stays; start the same command again for the rest.", file=sys.stderr)
        return 130
    count = {state: sum(o.state == state for o in outcomes) for state in ("there", "fetched", "left out", "failed")}
    print(f"{options.folder}: {', '.join(f'{number} {state}' for state, number in count.items())}")
    if count["failed"]:
        print("Start the same command again to try what failed once more.", file=sys.stderr)
    return 1 if count["failed"] else 0


def default_folder() -> Path:
    """The folder of media where none is named."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "touchline" / "broadcast81"


def fetch(wanted: Iterable[Item], folder: Path, server: str, timeout_s: float) -> Iterator[Outcome]:
    """Bring the items into `folder`, source by source; what cannot be had stops nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    # The media is other people's: it is not to slip into a commit where the folder lies in a working tree.
    (folder / ".gitignore").write_text("*\n", "utf-8")
    with alone(folder):
        # What a fetch that was killed has left.
        for unfinished in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
        yield from _missing_of(wanted, folder, server, timeout_s)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder of media against other fetches; the system lets go of it however this one ends."""
    with (folder / ".gitignore").open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(error.errno, "another fetch is at work in it; wait for its end") from error
        yield


def _missing_of(wanted: Iterable[Item], folder: Path, server: str, timeout_s: float) -> Iterator[Outcome]:
    missing = []
    for item in wanted:
        if digest(folder / item.file) == item.sha256:
            yield Outcome(item, "there")
        elif item.origin == NONE:
            yield Outcome(item, "left out", "it lies nowhere in public; no brand is in it")
        else:
            missing.append(item)
    for (repo, commit), group in groupby(sorted(missing, key=_source), key=_source):
        yield from _of_source(list(group), folder, f"{server.rstrip('/')}/{repo}.git", commit, timeout_s)


def digest(path: Path) -> str:
    """SHA-256 of a file, hex; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _source(item: Item) -> tuple[str, str]:
    return item.repo, item.commit


def _of_source(group: Sequence[Item], folder: Path, url: str, commit: str, timeout_s: float) -> Iterator[Outcome]:
    """The items of one commit, or those that are rendered."""
    # Beside the files, so that a finished file is moved and not copied.
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as name:
        work = Path(name)
        git = Git(work / "repository.git", timeout_s)
        try:
            if commit:
                git.shallow(url, commit)
        except FetchError as error:
            yield from (Outcome(item, "failed", str(error)) for item in group)
            return
        for item in group:
            try:
                part = work / f"file{Path(item.file).suffix}"
                if item.origin == RENDERED:
                    rendered.render(item.stem, part)
                else:
                    git.content(f"{commit}:{item.path}", part)
                _check(part, item)
                target = folder / item.file
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
                yield Outcome(item, "fetched")
            except (FetchError, OSError) as error:
                yield Outcome(item, "failed", str(error))


def _check(path: Path, item: Item) -> None:
    came = digest(path)
    if came == item.sha256:
        return
    with path.open("rb") as content:
        if content.read(len(POINTER)) == POINTER:
            raise FetchError(f"{item.repo} keeps it in Git LFS, and git has a pointer alone; get it from there by hand")
    where = "this version of OpenCV" if item.origin == RENDERED else f"{item.repo} at {item.commit[:12]}"
    raise FetchError(
        f"expected SHA-256 {item.sha256} ({item.size} bytes), {where} has {came} ({path.stat().st_size} bytes); "
        "it is not kept"
    )


class Git:
    """A bare repository that is fetched into, shallow and without contents until they are asked for."""

    def __init__(self, place: Path, timeout_s: float) -> None:
        self._place = place
        self._timeout_s = timeout_s

    def shallow(self, url: str, commit: str) -> None:
        """Fetch one commit without its files. Raises FetchError."""
        self._run("init", "--quiet", "--bare", str(self._place), here=False)
        self._run("remote", "add", "origin", url)
        self._run("fetch", "--quiet", "--depth", "1", "--no-tags", "--filter=blob:none", "origin", commit)

    def content(self, name: str, path: Path) -> None:
        """Write the file `COMMIT:PATH` to `path`, byte for byte as it was committed. Raises FetchError."""
        with path.open("wb") as target:
            self._run("cat-file", "blob", name, out=target)

    def _run(self, *arguments: str, here: bool = True, out: BinaryIO | None = None) -> None:
        place = ["-C", str(self._place)] if here else []
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        started = subprocess.Popen(
            ["git", *place, *settings, *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=out or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(os.environ),
            # git's helpers hold its pipes: they end with it, or reading would wait for them.
            start_new_session=True,
        )
        try:
            said = started.communicate(timeout=self._timeout_s)[1]
        except subprocess.TimeoutExpired:
            raise FetchError(f"git {arguments[0]}: no end after {self._timeout_s:g} s; see --timeout") from None
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.communicate()
        if started.returncode:
            lines = said.decode("utf-8", "replace").splitlines()
            causes = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
            raise FetchError(f"git {arguments[0]}: {' '.join(causes) or f'exit {started.returncode}'}")


def environment(outer: Mapping[str, str]) -> dict[str, str]:
    """The environment for git: it asks nothing, speaks English, and knows of no other repository."""
    kept = {name: value for name, value in outer.items() if name not in OTHER_REPOSITORY}
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GCM_INTERACTIVE": "never",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "LC_ALL": "C",
    }


def _refused(why: str) -> int:
    print(why, file=sys.stderr)
    return 2
