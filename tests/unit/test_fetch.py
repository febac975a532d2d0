"""`python -m benchmarks fetch` against repositories on this machine: what is had, what is told, and that it ends."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.broadcast81 import GIT, NONE, RENDERED, Item, fetch, items

CLIP = b"a clip\r\nof the benchmark\x00\xff"
STILL = b"a still"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


def item(file: str, content: bytes, repo: str = "", path: str = "", commit: str = "", origin: str = GIT) -> Item:
    return Item(file, repo, path, commit, origin, hashlib.sha256(content).hexdigest(), len(content), 1, 1, "tune")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Server:
    """A folder of bare repositories, as a server has them at owner/name.git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"

    def repository(self, name: str, files: Mapping[str, bytes]) -> str:
        """A repository with these files, and a later commit without them; returns the first commit."""
        work = self.folder / f"{name}-work"
        work.mkdir(parents=True)
        git(work, "init", "--quiet")
        for path, content in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
        git(work, "add", ".")
        git(work, "commit", "--quiet", "-m", "files")
        commit = git(work, "rev-parse", "HEAD")
        git(work, "rm", "--quiet", "-r", ".")
        git(work, "commit", "--quiet", "-m", "without them")
        git(self.folder, "clone", "--quiet", "--bare", str(work), f"{name}.git")
        git(self.folder / f"{name}.git", "config", "uploadpack.allowFilter", "true")
        shutil.rmtree(work)
        return commit


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "server")


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Fetches a list into `media`; returns the exit code and what was said."""

    def started(wanted: list[Item], *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(fetch, "items", lambda: wanted)
        parser = argparse.ArgumentParser()
        fetch.add_options(parser)
        code = fetch.main(parser.parse_args(["--folder", str(tmp_path / "media"), *arguments]))
        said = capsys.readouterr()
        return code, said.out + said.err

    return started


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_named_files_of_the_named_commit_are_fetched_byte_by_byte(
    server: Server, run: Callable, tmp_path: Path
) -> None:
    odd = "a folder/0 - [3] frame: 1.jpg"
    commit = server.repository("one/public", {"clip.mp4": CLIP, odd: STILL, "large.bin": b"not wanted"})
    wanted = [
        item("clip.mp4", CLIP, "one/public", "clip.mp4", commit),
        item("stills/still.jpg", STILL, "one/public", odd, commit),
    ]
    code, said = run(wanted, "--server", server.url)
    assert code == 0, said
    media = tmp_path / "media"
    assert files_in(media) == {".gitignore", "clip.mp4", "stills/still.jpg"}
    assert (media / "clip.mp4").read_bytes() == CLIP
    assert (media / "stills/still.jpg").read_bytes() == STILL
    assert list(media.glob(".fetching*")) == []


def test_no_content_comes_before_it_is_asked_for(server: Server, tmp_path: Path) -> None:
    commit = server.repository("one/public", {"clip.mp4": CLIP, "large.bin": b"not wanted"})
    repository = tmp_path / "here.git"
    source = fetch.Git(repository, 60)
    source.shallow(f"{server.url}/one/public.git", commit)
    listing = ("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
    assert sorted(git(repository, *listing).split()) == ["commit", "tree"]
    source.content(f"{commit}:clip.mp4", tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    assert sorted(git(repository, *listing).split()) == ["blob", "commit", "tree"]


def test_what_cannot_be_had_is_named_and_stops_nothing_else(server: Server, run: Callable, tmp_path: Path) -> None:
    commit = server.repository("one/public", {"clip.mp4": CLIP, "changed.mp4": b"other", "pointer.mp4": POINTER})
    wanted = [
        item("gone.mp4", CLIP, "gone/away", "clip.mp4", commit),
        item("changed.mp4", CLIP, "one/public", "changed.mp4", commit),
        item("nowhere.mp4", CLIP, "one/public", "nowhere.mp4", commit),
        item("pointer.mp4", CLIP, "one/public", "pointer.mp4", commit),
        item("clip.mp4", CLIP, "one/public", "clip.mp4", commit),
        item("late.mp4", CLIP, "one/public", "clip.mp4", "0" * 40),
        item("neg/none.mp4", CLIP, origin=NONE),
    ]
    code, said = run(wanted, "--server", server.url)
    assert code == 1
    told = {line.split()[1].rstrip(":"): line for line in said.splitlines() if line.startswith("failed")}
    assert told.keys() == {"gone.mp4", "changed.mp4", "nowhere.mp4", "pointer.mp4", "late.mp4"}
    assert "not appear to be a git repository" in told["gone.mp4"]
    assert f"expected SHA-256 {wanted[1].sha256}" in told["changed.mp4"]
    assert "(5 bytes); it is not kept" in told["changed.mp4"]
    assert "nowhere.mp4' does not exist" in told["nowhere.mp4"]
    assert "Git LFS" in told["pointer.mp4"]
    assert "left out  neg/none.mp4: it lies nowhere in public" in said
    assert "0 there, 1 fetched, 1 left out, 5 failed" in said
    assert files_in(tmp_path / "media") == {".gitignore", "clip.mp4"}


def test_a_second_fetch_takes_up_the_first(server: Server, run: Callable, tmp_path: Path) -> None:
    commit = server.repository("one/public", {"clip.mp4": CLIP, "other.mp4": STILL})
    wanted = [
        item("clip.mp4", CLIP, "one/public", "clip.mp4", commit),
        item("other.mp4", STILL, "one/public", "other.mp4", commit),
    ]
    assert run(wanted, "--server", server.url, "--source", "OTHER")[0] == 0
    assert files_in(tmp_path / "media") == {".gitignore", "other.mp4"}
    code, said = run(wanted, "--server", server.url)
    assert code == 0
    assert "1 there, 1 fetched" in said
    # Half a file, as a full disk leaves it, is fetched anew; without a server it cannot be.
    (tmp_path / "media" / "clip.mp4").write_bytes(CLIP[:5])
    shutil.move(server.folder, tmp_path / "away")
    assert run(wanted, "--server", server.url)[0] == 1
    shutil.move(tmp_path / "away", server.folder)
    assert run(wanted, "--server", server.url)[0] == 0
    shutil.rmtree(server.folder)
    code, said = run(wanted, "--server", server.url)
    assert code == 0, said
    assert "2 there, 0 fetched" in said


def test_what_a_killed_fetch_left_is_removed_and_a_second_one_beside_it_refused(run: Callable, tmp_path: Path) -> None:
    left = tmp_path / "media" / ".fetching-x" / "repository.git"
    left.mkdir(parents=True)
    wanted = [item("neg/none.mp4", CLIP, origin=NONE)]
    (tmp_path / "media" / ".gitignore").touch()
    with fetch.alone(tmp_path / "media"):
        code, said = run(wanted)
        assert (code, "another fetch" in said, left.exists()) == (2, True, True)
    assert run(wanted)[0] == 0
    assert files_in(tmp_path / "media") == {".gitignore"}
    assert not left.parent.exists()


def test_a_server_that_hangs_is_given_up(run: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wanted = [item("clip.mp4", CLIP, "one/public", "clip.mp4", "0" * 40)]
        began = time.monotonic()
        address = f"git://127.0.0.1:{silent.getsockname()[1]}"
        code, said = run(wanted, "--server", address, "--timeout", "0.5")
        assert code == 1
        assert "git fetch: no end after 0.5 s; see --timeout" in said
        assert time.monotonic() - began < 10


def test_a_server_that_asks_for_a_password_gets_none_and_nobody_is_asked(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Asks(BaseHTTPRequestHandler):
        seen: ClassVar[list[str | None]] = []

        def do_GET(self) -> None:
            self.seen.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    # A helper that knows a password, as a user's settings may name one.
    helper = tmp_path / "gitconfig"
    helper.write_text('[credential]\n\thelper = "!f() { echo username=me; echo password=mine; }; f"\n', "utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(helper))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Asks) as private:
        thread = threading.Thread(target=private.serve_forever)
        thread.start()
        try:
            wanted = [item("clip.mp4", CLIP, "one/public", "clip.mp4", "0" * 40)]
            code, said = run(wanted, "--server", f"http://127.0.0.1:{private.server_address[1]}", "--timeout", "20")
        finally:
            private.shutdown()
            thread.join()
    assert code == 1
    assert "failed" in said
    assert Asks.seen
    # Base64 of "me:mine" and of an empty name and password.
    assert set(Asks.seen) <= {None, "Basic Og=="}


def test_git_knows_nothing_of_the_repository_around_it() -> None:
    told = fetch.environment({"GIT_DIR": "/elsewhere", "GIT_SSL_CAINFO": "/ca", "PATH": "/bin"})
    assert "GIT_DIR" not in told
    assert told["GIT_SSL_CAINFO"] == "/ca"
    assert told["GIT_TERMINAL_PROMPT"] == "0"


def test_requests_that_make_no_sense_are_refused(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = [item("clip.mp4", CLIP, "one/public", "clip.mp4", "0" * 40)]
    code, said = run(wanted, "--source", "nothing of it")
    assert (code, "one/public" in said) == (2, True)
    code, said = run(wanted, "--server", "https://me:hush@example.org")
    assert (code, "hush" in said) == (2, False)
    assert run(wanted, "--timeout", "0")[0] == 2
    (tmp_path / "media").write_text("a file")
    code, said = run(wanted)
    assert (code, "expected a folder" in said) == (2, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, said = run(wanted)
    assert (code, "install" in said) == (2, True)


def test_rendered_items_have_the_bytes_of_the_list(run: Callable) -> None:
    rendered = [one for one in items() if one.origin == RENDERED]
    code, said = run(rendered)
    assert code == 0, said
    assert "2 fetched" in said
