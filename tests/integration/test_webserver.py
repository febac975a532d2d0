"""The Dagster webserver and daemon as `touchline serve` starts them, driven by the GraphQL that its pages send."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa

from detection_assets.dagster_internals.tags import PROCESS_TAG
from detection_assets.local.runner import Runner
from resources.embedded.processes import wait_until
from resources.local_services import Endpoints
from resources.settings import Settings
from tests.support.webserver import ADD, ANSWER_S, ASSETS, LAUNCH, Ask, launch, loaded, wait
from touchline.library import repository
from touchline.library.job_lifecycle import ACTIVE
from touchline.library.tables import DetectJob, DetectJobStatus, RunType, SourceAsset
from touchline.nodes import NODE_NAMES, REPORT
from touchline.synthetic import Truth
from touchline_cli.serving import state_of

pytestmark = pytest.mark.slow


def test_the_page_lists_nine_described_assets_the_library_and_the_job(ask: Ask) -> None:
    [node] = ask(ASSETS, {})["repositoriesOrError"]["nodes"]
    found = {asset["assetKey"]["path"][-1]: asset for asset in node["assetNodes"]}
    assert set(found) == {*NODE_NAMES, REPORT, "library"}
    assert all(asset["description"] and asset["kinds"] and asset["owners"] for asset in found.values())
    assert "detect_brands" in {job["name"] for job in node["jobs"]}


def register(ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], video: Path) -> SourceAsset:
    """A copy of the clip under that name as a source, and its key as a partition, as Dagster's page adds it."""
    video.write_bytes(clip[0].read_bytes())
    with runner.connection.database.session() as session:
        source = repository.register_source(
            session, str(video), checksum=hashlib.sha256(video.name.encode()).hexdigest(), duration=6.0
        )
    ask(ADD, {"selector": selector, "name": "sources", "key": source.partition_key})
    return source


def settled(runner: Runner, run_id: str) -> list[DetectJob]:
    """The jobs of a run that is over, once they say so too: that follows a moment later."""

    def jobs() -> list[DetectJob]:
        with runner.connection.database.session() as session:
            return list(repository.jobs_of_run(session, run_id))

    assert wait_until(lambda: not any(job.status in ACTIVE for job in jobs()), 120)
    return jobs()


def test_a_partition_registered_in_the_page_can_be_materialized_and_replayed_from_ocr(
    ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    source = register(ask, selector, runner, clip, tmp_path / "from-the-page.mp4")
    everything = launch(ask, selector, source.partition_key, [*NODE_NAMES, REPORT], {})
    assert wait(ask, everything) == "SUCCESS"
    [first] = settled(runner, everything)
    assert (first.status, first.run_type) == (DetectJobStatus.COMPLETED, RunType.INITIAL)
    assert first.brands_found == len(clip[1].brands)

    config = {"ops": {"run_ocr": {"config": {"min_confidence": 0.55}}}}
    alone = launch(ask, selector, source.partition_key, ["run_ocr"], config)
    assert wait(ask, alone) == "SUCCESS"
    with runner.connection.database.session() as session:
        replay = repository.job_of_run(session, alone)
        assert replay is not None
        rows = repository.list_checkpoints(session, job_id=replay.id)
        inputs = [repository.get_checkpoint(session, identity) for identity in rows[0].input_checkpoint_ids]
    assert (replay.run_type, replay.replay_from_stage, replay.parent_job_id) == (RunType.REPLAY, "run_ocr", first.id)
    assert [row.stage for row in rows] == ["run_ocr"]
    assert {row.job_id for row in inputs} == {first.id}


def test_a_takeover_by_another_user_is_stopped_at_each_of_its_steps(
    ask: Ask, selector: dict[str, str], runner: Runner, own_source: SourceAsset, settings: Settings, services: Endpoints
) -> None:
    """A source by the object store, the password by a run's error, a program by the database: each step alone fails.

    Each step is tried as if those before it had succeeded. Where the tests are not root, the steps that need another
    user are tried without keys and token.
    """
    secrets = json.loads((settings.home / "services/state.json").read_text("utf-8"))
    password, ports = secrets["postgres"]["password"], secrets["objects"]["ports"]
    own_port = urlsplit(json.loads((settings.home / "serve.json").read_text("utf-8"))["url"]).port
    assert own_port

    # 1. A source: by the object store's inner port that the process list shows, then by the web page, without a token.
    name = f"takeover-{uuid.uuid4().hex}.mp4"
    form = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'
    for port in set(ports.values()):
        assert answer_of(port, "/buckets/touchline/uploads/", form, "multipart/form-data; boundary=b") >= 400
    assert not [key for key in runner.connection.objects.list("uploads/") if name in key]
    params = {"selector": {**selector, "jobName": "detect_brands"}, "runConfigData": "{}", "mode": "default"}
    mutation = json.dumps({"query": LAUNCH, "variables": {"params": params}})
    runs = runner.instance.get_runs_count()
    for kind in ("application/json", "text/plain"):
        assert answer_of(own_port, "/graphql", mutation, kind, ANSWER_S) in (401, 403, 415)
    assert runner.instance.get_runs_count() == runs

    # 2. The password: a run, launched with a token, that takes the file with the secrets for a list of brands.
    stolen = {"resources": {"run_settings": {"config": {"brands_csv": str(settings.home / "services/state.json")}}}}
    run_id = launch(ask, selector, own_source.partition_key, ["match_brands"], stolen)
    assert wait(ask, run_id) == "FAILURE"
    events = "".join(map(str, runner.instance.all_logs(run_id)))
    assert "of the server's" in events
    assert not [secret for secret in (password, secrets["objects"]["secret_key"]) if secret in events]

    # 3. A program: with the password, as another user at the socket, and as the product's own role past it.
    url = sa.make_url(services.postgres_url)
    assert url.password == password
    folder = Path(str(url.query["host"]))
    if os.geteuid() == 0:
        tried = subprocess.run([sys.executable, "-I", "-c", AS_NOBODY, str(folder), str(settings.home)], check=False)
        assert tried.returncode == 0, "another user reached the database's socket or the file with the secrets"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    mark = folder.parent / "taken-over"
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="permission denied"):
        connection.execute(sa.text(f"COPY (SELECT 1) TO PROGRAM 'id > {mark}'"))
    assert not mark.exists()


AS_NOBODY = """
import glob, os, socket, sys
folder, home = sys.argv[1:]
sockets = [path for path in glob.glob(folder + '/.s.PGSQL.*') if not path.endswith('.lock')]
assert len(sockets) == 1
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for reach in (lambda: socket.socket(socket.AF_UNIX).connect(sockets[0]), lambda: open(home + '/services/state.json')):
    try:
        reach()
    except PermissionError:
        continue
    sys.exit(1)
"""


def answer_of(port: int, path: str, body: str, kind: str, patience_s: float = 10) -> int:
    """The status that a POST without keys or token gets; 599 where nothing that speaks HTTP to us listens.

    An inner port of the object store may not answer at all, so that it is not waited for as long as the webserver is.
    """
    request = Request(f"http://127.0.0.1:{port}{path}", body.encode(), {"Content-Type": kind})
    try:
        with urlopen(request, timeout=patience_s) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return 599


def test_kill_minus_9_on_a_run_worker_is_told_by_its_job(
    ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    source = register(ask, selector, runner, clip, tmp_path / "killed-worker.mp4")
    run_id = launch(ask, selector, source.partition_key, [*NODE_NAMES, REPORT], {})

    def job() -> DetectJob | None:
        with runner.connection.database.session() as session:
            return repository.job_of_run(session, run_id)

    deadline = time.monotonic() + 240
    while (found := job()) is None or not found.progress:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run = runner.instance.get_run_by_id(run_id)
    assert run is not None
    os.kill(json.loads(run.tags[PROCESS_TAG])["pid"], signal.SIGKILL)
    assert wait(ask, run_id) == "FAILURE"
    deadline = time.monotonic() + 240
    while (found := job()) is None or found.status is DetectJobStatus.RUNNING:
        assert time.monotonic() < deadline, "no sensor corrected the job"
        time.sleep(0.2)
    assert found.status is DetectJobStatus.FAILED
    # Dagster's launcher and our own look notice it independently of each other.
    told = (f"Run execution process for {run_id}", "ended without reporting an error")
    assert any(words in (found.error_message or "") for words in told)


def test_a_run_at_work_survives_the_death_of_every_part_and_new_ones_follow(
    ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], tmp_path: Path, settings: Settings
) -> None:
    source = register(ask, selector, runner, clip, tmp_path / "parts-die.mp4")
    run_id = launch(ask, selector, source.partition_key, [*NODE_NAMES, REPORT], {})
    deadline = time.monotonic() + 240
    while True:
        with runner.connection.database.session() as session:
            job = repository.job_of_run(session, run_id)
        if job is not None and job.progress:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parts = [part["pid"] for part in state_of(settings.home)["parts"]]
    for pid in parts:
        os.kill(pid, signal.SIGKILL)
    # Whoever asks meanwhile waits: the address is still listened on.
    assert wait(ask, run_id) == "SUCCESS"
    assert [job.status for job in settled(runner, run_id)] == [DetectJobStatus.COMPLETED]
    # The new webserver may answer a moment before the new code server does, and asks it again by itself.
    deadline = time.monotonic() + 240
    while not loaded(ask):
        assert time.monotonic() < deadline, "the code location was not loaded again"
        time.sleep(0.2)
    assert wait(ask, launch(ask, selector, source.partition_key, ["run_ocr"], {})) == "SUCCESS"
    assert len({part["pid"] for part in state_of(settings.home)["parts"]} - set(parts)) == 3
