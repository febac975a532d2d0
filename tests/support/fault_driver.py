"""A process that runs `touchline run` and kills itself at a named point, for the tests of faults.

Belongs here: the points and how they are reached; nothing of it is known to the pipeline, whose methods are wrapped
from outside. What must hold after a kill is in `test_faults.py`.

`python -m tests.support.fault_driver` imports everything once and then forks one child for each line of JSON on
standard input: {"arguments": [...], "log": path, "kill": point or ""}. It answers with a line {"signal", "exit",
"output"}. No connection and no thread exists before a fork. A point is "before" or "after" and what is done, as the log
names it.
"""

from __future__ import annotations

import faulthandler
import hashlib
import io
import json
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Any, Final

import boto3  # noqa: F401 (imported here once, for all children)
import dagster_postgres  # noqa: F401
import sqlalchemy as sa
from alembic import command  # noqa: F401
from sqlalchemy import orm

import resources.models
import touchline.ocr.rapid  # noqa: F401
from detection_assets.execution.registry import STAGES, Stage
from detection_assets.local import worker_pool
from detection_assets.local.runner import Runner
from resources.journal import Journal
from resources.object_store import ObjectStore
from touchline.library import repository
from touchline.stages.extract_frames import ExtractFrames
from touchline_cli import session as cli_session

PATIENCE_S: Final = 300.0
"""A run that takes longer hangs: it is ended, and standard error tells where it was."""


class RememberingEngine:
    """The real OCR engine, which is loaded and asked only for what no process before has asked of it."""

    def __init__(self, load: Callable[[], Any], folder: Path) -> None:
        self._load, self._folder = load, folder

    @cached_property
    def _engine(self) -> Any:
        return self._load()

    @property
    def parallel(self) -> int:
        return int(self._remembered(b"parallel", lambda: self._engine.parallel))

    @property
    def identity(self) -> str:
        return str(self._remembered(b"identity", lambda: self._engine.identity))

    @property
    def runtime(self) -> str:
        return str(self._remembered(b"runtime", lambda: self._engine.runtime))

    def find(self, image: Any, rows: Any = None, target_height: Any = None) -> Any:
        asked = pickle.dumps((image.shape, image.tobytes(), rows, target_height))
        return self._remembered(asked, lambda: self._engine.find(image, rows, target_height))

    def read(self, image: Any, places: Any) -> Any:
        asked = pickle.dumps(("read", image.shape, image.tobytes(), places))
        return self._remembered(asked, lambda: self._engine.read(image, places))

    def _remembered(self, asked: bytes, answer: Callable[[], Any]) -> Any:
        path = self._folder / (hashlib.sha256(asked).hexdigest() + ".ocr")
        if not path.exists():
            draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            draft.write_bytes(pickle.dumps(answer()))
            draft.replace(path)
        return pickle.loads(path.read_bytes())  # noqa: S301 (written by this very class)


class Here:
    """Stands for the processes beside a command: the same work in the process of the command, which is to die."""

    def __init__(self, settings: Any, endpoints: Any, count: int) -> None:
        self._settings = settings

    def connect(self, endpoints: Any) -> None:
        self._runner = Runner(self._settings, endpoints)

    def close(self) -> None:
        pass

    def run(self, tasks: Any, listener: Callable[..., None]) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks):
            yield number, task.work(self._runner, partial(listener, number))


class Faults:
    """Notes what is done in a file, and dies where it was told to."""

    def __init__(self, log: Path, kill: str) -> None:
        self._log, self._kill = log, kill
        self._reached: set[str] = set()

    def note(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(line + "\n")

    def point(self, moment: str, what: str) -> None:
        """A named moment is passed, for the first time in this process."""
        line = f"{moment} {what}"
        if line in self._reached:
            return
        self._reached.add(line)
        self.note(f"{os.getpid()} {line}")
        if line == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, label: Callable[..., str]) -> None:
        """Wraps a function so that the moments before and after it are points."""
        inner = getattr(owner, name)

        @wraps(inner)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            what = label(*arguments, **options)
            self.point("before", what)
            result = inner(*arguments, **options)
            self.point("after", what)
            return result

        setattr(owner, name, wrapped)

    def install(self) -> None:
        """Wraps every write of the pipeline, and counts the chunks that are computed."""
        self.around(Journal, "write", lambda journal, chunk, *_: f"chunk {journal.stage} {chunk}")
        self.around(Journal, "clear", lambda journal: f"clear {journal.stage}")
        self.around(ObjectStore, "put", lambda _, key, *__: f"put {_tail(key)}")
        self.around(ObjectStore, "put_file", lambda _, key, *__: f"put {_tail(key)}")
        self.around(ObjectStore, "delete", lambda _, key: f"delete {_tail(key)}")
        self._transactions()
        self._computed()
        models: Any = resources.models
        load = models.load_engine
        models.load_engine = lambda name, settings: RememberingEngine(lambda: load(name, settings), self._log.parent)

    def _transactions(self) -> None:
        """Commits, named by what was done in the transaction."""

        def naming(name: str, label: Callable[..., str]) -> None:
            inner = getattr(repository, name)

            @wraps(inner)
            def wrapped(session: orm.Session, *arguments: Any, **options: Any) -> Any:
                session.info["what"] = label(*arguments, **options)
                return inner(session, *arguments, **options)

            setattr(repository, name, wrapped)

        naming("add_checkpoint", lambda row: f"row {row.stage}")
        naming("set_job_status", lambda _, status, **__: f"status {status}")
        naming("set_progress", lambda _, stage, share: f"progress {stage} {share:.2f}")
        naming("set_status_if_among", lambda _, status, **__: f"status {status}")
        named: dict[int, str] = {}

        def before(session: orm.Session) -> None:
            if what := session.info.pop("what", ""):
                named[id(session)] = what
                self.point("before", f"commit {what}")

        def after(session: orm.Session) -> None:
            if what := named.pop(id(session), ""):
                self.point("after", f"commit {what}")

        sa.event.listen(orm.Session, "before_commit", before)
        sa.event.listen(orm.Session, "after_commit", after)

    def _computed(self) -> None:
        chunks = ExtractFrames.chunks

        def extracted(extractor: ExtractFrames, *resumed: Any) -> Iterator[Any]:
            for chunk_id, frames in chunks(extractor, *resumed):
                self.note(f"{os.getpid()} computed extract_frames {chunk_id}")
                yield chunk_id, frames

        ExtractFrames.chunks = extracted  # type: ignore[method-assign, assignment]
        for name, stage in STAGES.items():
            if stage.worker is not None:
                counting = self._counting(name, stage.worker)
                STAGES[name] = Stage(name, stage.module, stage.identity, counting)

    def _counting(self, stage: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any) -> Any:
            worker = make(*arguments)
            run_chunk = worker.run_chunk

            def counted(chunk: Any) -> Any:
                self.note(f"{os.getpid()} computed {stage} {chunk.chunk_id}")
                return run_chunk(chunk)

            worker.run_chunk = counted
            return worker

        return made


def _tail(key: str) -> str:
    """A key without the job it belongs to."""
    parts = key.split("/")
    return "/".join(parts[2:] if parts[0] == "checkpoints" else [parts[0], *parts[2:]])


def _child(order: dict[str, Any], answer: int) -> None:
    """One `touchline run`, told from end to end through a pipe. Never returns."""
    from touchline_cli.app import app

    said = io.StringIO()
    status = 1
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    try:
        Faults(Path(order["log"]), order["kill"]).install()
        worker_pool.Workers = Here  # type: ignore[assignment, misc]
        cli_session.console.file = cli_session.errors.file = said
        with redirect_stdout(said), redirect_stderr(said):
            try:
                app(order["arguments"], standalone_mode=False)
                status = 0
            except BaseException as error:
                status = int(getattr(error, "exit_code", 1))
                if status == 1:
                    traceback.print_exc()
    finally:
        os.write(answer, json.dumps({"exit": status, "output": said.getvalue()}).encode())
        os._exit(status)


def main() -> None:
    """Answers orders until standard input ends."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            _child(json.loads(line), writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer = json.loads(told) if told else {"exit": None, "output": ""}
        print(json.dumps({**answer, "signal": -code if code < 0 else 0}), flush=True)


if __name__ == "__main__":
    main()
