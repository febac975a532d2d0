"""Servers that die, answer nonsense, hang or fill up in the middle of a run, and stored data that was damaged.

Belongs here: what a run makes of it, short outages and long ones. A worker process that dies is in `test_faults.py`,
single requests to the object store in `test_object_store.py`, single damaged streams in `test_checkpoints.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.runner import Runner
from resources.database import Database
from resources.embedded.processes import ended, wait_until
from resources.local_services import Endpoints, LocalServices
from resources.settings import Settings
from tests.support.flaky_proxy import FlakyProxy
from touchline import bson_stream
from touchline.bson_stream import StreamHeader, write_stream
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunType, SourceAsset, StageCheckpoint
from touchline.synthetic import CLIP, render

pytestmark = pytest.mark.slow

SETTINGS = {"extract_frames.chunk_s": 1, "extract_frames.sample_fps": 1}
UNTIL = "filter_scenes"
CHUNKS = 3
PATIENT_S = 60.0
"""Patience of runs that are to succeed [s]: with little, a request that is slow on a busy machine fails, too."""


@pytest.fixture(autouse=True)
def environment(runner: Runner) -> Iterator[None]:
    """A runner tells its process where its servers are; the next test finds it as it was."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    render(path, dataclasses.replace(CLIP, duration_s=float(CHUNKS)))
    return path


@pytest.fixture
def video(short: Path, tmp_path: Path) -> Path:
    """A source of this test alone."""
    return Path(shutil.copyfile(short, tmp_path / "video.mp4"))


@pytest.fixture(scope="module")
def home(settings: Settings) -> Iterator[Settings]:
    """A home whose servers may be killed."""
    own = Settings.from_environment({"TOUCHLINE_HOME": str(settings.home / "killed")})
    restart(own)
    yield own
    for services in held:
        services.stop()


@pytest.fixture
def proxy(services: Endpoints) -> Iterator[FlakyProxy]:
    with FlakyProxy(services.s3_endpoint) as made:
        yield made


@contextmanager
def opened(settings: Settings, endpoints: Endpoints, patience_s: float) -> Iterator[Runner]:
    runner = Runner(settings, dataclasses.replace(endpoints, patience_s=patience_s))
    try:
        yield runner
    finally:
        runner.connection.database.close()
        runner.close()


def run(runner: Runner, source: SourceAsset, then: Callable[[], None] | None = None) -> RunOutcome:
    """A run up to `filter_scenes`; `then` is done once, after its second chunk of `extract_frames`."""
    left = [then] if then else []

    def listen(stage: str, share: float) -> None:
        if stage == "extract_frames" and share >= 0.3 and left:
            left.pop()()

    return runner.run(source, overrides=SETTINGS, until=UNTIL, listener=listen)


def later(seconds: float, work: Callable[[], Any]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer


def kill(settings: Settings, name: str) -> None:
    """Kills the server of a home whose data is in the folder of that name, and waits until it is gone."""
    mark = str(settings.home / "services" / name)
    found = [p for p in psutil.process_iter(["cmdline"]) if any(mark in word for word in p.info["cmdline"] or ())]
    assert found
    for process in found:
        # What Postgres forks bears its command line for a moment, and may be gone.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert wait_until(lambda: all(ended(process.pid) for process in found), 60)


held: list[LocalServices] = []
"""Whoever started servers holds them until this file's tests are over."""


def restart(settings: Settings) -> None:
    held.append(LocalServices(settings))
    held[-1].start()


def check(runner: Runner, outcome: RunOutcome) -> None:
    """The run ended well, its job says so, and everything it stored can be read."""
    assert outcome.succeeded, outcome.error
    assert (outcome.job.status, outcome.job.progress) == (DetectJobStatus.COMPLETED, 1.0)
    with runner.connection.database.session() as session:
        rows = repository.list_checkpoints(session, job_id=outcome.job.id)
    assert {row.stage for row in rows} == {"extract_frames", UNTIL}
    for row in rows:
        assert len(list(runner.connection.checkpoints.read(row))) == row.item_count == CHUNKS


def wait_until_readable(runner: Runner) -> None:
    """A store that has just started answers before all that it holds is there again."""
    objects = runner.connection.objects

    def readable() -> bool:
        try:
            return all(objects.get(key) is not None for key, _ in objects.list("checkpoints/"))
        except ServiceError:
            return False

    assert wait_until(readable, 120)


def check_continued(runner: Runner, source: SourceAsset, failed: DetectJobStatus = DetectJobStatus.FAILED) -> None:
    """The newest job has not finished; the same run again goes on with it, after the chunks that it had finished."""
    with runner.connection.database.session() as session:
        (broken,) = repository.list_jobs(session, source.id)
    assert broken.status is failed
    wait_until_readable(runner)
    continued = run(runner, source)
    check(runner, continued)
    assert continued.continued is not None
    assert continued.continued.id == broken.id
    assert continued.job.run_type is RunType.RETRY
    with runner.connection.database.session() as session:
        assert repository.get_job(session, broken.id).status is DetectJobStatus.FAILED
        [row] = [r for r in repository.list_checkpoints(session, job_id=continued.job.id) if r.frames_prefix]
    # Frames of the chunks that were finished lie under the first job, and were not made again.
    assert any(str(broken.id) in key for key in row.frames_manifest.values())


@pytest.mark.parametrize("server", ["postgres", "objects"])
def test_a_server_that_is_killed_and_comes_back_is_waited_for(home: Settings, video: Path, server: str) -> None:
    with LocalServices(home) as endpoints, opened(home, endpoints, 240) as runner:
        source = runner.register(video)
        timers: list[threading.Timer] = []

        def outage() -> None:
            kill(home, server)
            timers.append(later(1.0, lambda: restart(home)))

        check(runner, run(runner, source, outage))
        for timer in timers:
            timer.join()


@pytest.mark.parametrize("server", ["postgres", "objects"])
def test_a_server_that_stays_away_ends_the_run_and_it_can_be_continued(
    home: Settings, video: Path, server: str
) -> None:
    with LocalServices(home) as endpoints, opened(home, endpoints, 1) as runner:
        source = runner.register(video)
        if server == "postgres":
            with pytest.raises(ServiceError, match=r"Postgres at /.*/socket failed.*run the same"):
                run(runner, source, lambda: kill(home, server))
        else:
            outcome = run(runner, source, lambda: kill(home, server))
            assert not outcome.succeeded
            assert re.search(r"object store at http://127\.0\.0\.1:\d+.*run the same", outcome.job.error_message or "")
    restart(home)
    # Nobody could tell the job of Postgres's death.
    untold = DetectJobStatus.RUNNING if server == "postgres" else DetectJobStatus.FAILED
    with LocalServices(home) as endpoints, opened(home, endpoints, PATIENT_S) as runner:
        check_continued(runner, source, untold)


@pytest.mark.parametrize("fault", ["503", "hang", "refuse"])
def test_an_object_store_in_trouble_for_a_while_is_waited_for(
    settings: Settings, services: Endpoints, proxy: FlakyProxy, video: Path, fault: str
) -> None:
    with opened(settings, dataclasses.replace(services, s3_endpoint=proxy.endpoint), PATIENT_S) as runner:
        source = runner.register(video)

        def trouble() -> None:
            proxy.fault = fault
            later(1.5, proxy.heal)

        check(runner, run(runner, source, trouble))
        assert proxy.refused


@pytest.mark.parametrize(("fault", "told"), [("503", "503"), ("507", "507"), ("hang", "")])
def test_an_object_store_in_trouble_for_ever_ends_the_run_and_it_can_be_continued(
    settings: Settings, services: Endpoints, proxy: FlakyProxy, video: Path, fault: str, told: str
) -> None:
    with opened(settings, dataclasses.replace(services, s3_endpoint=proxy.endpoint), 1) as runner:
        source = runner.register(video)

        def trouble() -> None:
            proxy.fault = fault

        outcome = run(runner, source, trouble)
        assert not outcome.succeeded
        for part in (proxy.endpoint, "touchline doctor", "run the same again", told):
            assert part in outcome.error
            assert part in (outcome.job.error_message or "")
    proxy.heal()
    with opened(settings, dataclasses.replace(services, s3_endpoint=proxy.endpoint), PATIENT_S) as runner:
        check_continued(runner, source)


def test_a_full_disk_for_temporary_files_is_named_and_the_run_can_be_continued(
    runner: Runner, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = runner.register(video)
    # The kernel's own device that is always full.
    full = partial(Path("/dev/full").open, "wb", buffering=0)
    monkeypatch.setattr("resources.tempfiles.tempfile.TemporaryFile", full)
    outcome = run(runner, source)
    assert not outcome.succeeded
    assert re.search(r"extract_frames\.bson: no room in .* TMPDIR", outcome.error)
    monkeypatch.undo()
    check_continued(runner, source)


def test_a_wrong_password_is_not_waited_for(services: Endpoints) -> None:
    url = sa.make_url(services.postgres_url).set(password="wrong").render_as_string(hide_password=False)
    database = Database(url, patience_s=3600)
    with pytest.raises(ServiceError, match="password authentication failed"), database.session():
        pass


def test_a_transaction_whose_connection_is_cut_is_done_again(services: Endpoints) -> None:
    database = Database(services.postgres_url, patience_s=PATIENT_S)
    seen: list[int] = []

    def work(session: Any) -> str:
        pid = session.scalar(sa.text("SELECT pg_backend_pid()"))
        seen.append(pid)
        if len(seen) == 1:
            with database.engine.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        return str(session.scalar(sa.text("SELECT 'done'")))

    assert database.transact(work) == "done"
    assert len(seen) == 2
    database.close()


def test_a_connection_that_the_server_ended_meanwhile_is_replaced(services: Endpoints) -> None:
    database, other = (Database(services.postgres_url, patience_s=0) for _ in range(2))
    ask = sa.text("SELECT pg_backend_pid()")
    with database.engine.connect() as connection:
        ended = connection.scalar(ask)
    with other.engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ended})
    with database.engine.connect() as connection:
        assert connection.scalar(ask) != ended
    database.close()
    other.close()


@pytest.fixture(scope="module")
def finished(runner: Runner, short: Path) -> SourceAsset:
    source = runner.register(short)
    check(runner, run(runner, source))
    return source


def rewritten(row: StageCheckpoint, documents: list[dict[str, Any]], **header: str) -> bytes:
    """The documents of a checkpoint as a whole and unharmed stream with another header."""
    values: dict[str, Any] = {
        "stage": row.stage,
        "job": str(row.job_id),
        "source": "",
        "fingerprint": row.fingerprint,
        **header,
    }
    with io.BytesIO() as buffer:
        write_stream(buffer, StreamHeader(**values), documents)
        return buffer.getvalue()


def store(runner: Runner, row: StageCheckpoint, blob: bytes) -> None:
    """Puts a blob in the place of another, with a row that vouches for it."""
    runner.connection.objects.put(row.stage_output_key, blob)
    vouched = {"stage_output_sha256": hashlib.sha256(blob).hexdigest(), "stage_output_size": len(blob)}
    with runner.connection.database.session() as session:
        session.execute(sa.update(StageCheckpoint).where(StageCheckpoint.id == row.id).values(**vouched))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "other stage", "newer", "missing"])
def test_a_damaged_checkpoint_is_refused_by_name_when_a_stage_loads_it(
    runner: Runner, finished: SourceAsset, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = runner.connection
    with connection.database.session() as session:
        row, _ = repository.resolve_checkpoint(session, finished.id, "filter_scenes", job_id=None)
    key, whole = row.stage_output_key, connection.objects.get(row.stage_output_key)
    documents = list(connection.checkpoints.read(row))
    expected = "damaged"
    try:
        if damage == "flipped":
            connection.objects.put(key, whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        elif damage == "truncated":
            connection.objects.put(key, whole[:-7])
        elif damage == "missing":
            connection.objects.delete(key)
            expected = "no such object"
        elif damage == "other stage":
            store(runner, row, rewritten(row, documents, stage="run_ocr"))
            expected = "expected the output of filter_scenes, got that of run_ocr"
        else:
            with monkeypatch.context() as newer:
                newer.setattr(bson_stream, "VERSION", bson_stream.VERSION + 1)
                blob = rewritten(row, documents)
            store(runner, row, blob)
            expected = "version"
        settings = {"detect_edges.canny_low": 31}
        outcome = runner.run(finished, first="detect_edges", until="detect_edges", overrides=settings)
        assert not outcome.succeeded
        assert key in outcome.error
        assert expected in outcome.error
        assert outcome.job.status is DetectJobStatus.FAILED
        assert key in (outcome.job.error_message or "")
    finally:
        store(runner, row, whole)
