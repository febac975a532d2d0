"""The Dagster webserver and daemon as `touchline serve` starts them, driven by the GraphQL that its pages send."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from detection_assets.liveness import PROCESS_TAG
from detection_assets.runner import Runner
from resources._processes import free_ports
from touchline import repository
from touchline.nodes import NODE_NAMES, REPORT
from touchline.schema import DetectJob, DetectJobStatus, RunType
from touchline.synthetic import Truth

pytestmark = pytest.mark.slow

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSETS = """
query Assets {
  repositoriesOrError { ... on RepositoryConnection { nodes {
    name location { name }
    assetNodes { assetKey { path } groupName description kinds owners { ... on TeamAssetOwner { team } } }
    jobs { name }
  } } }
}"""
ADD = """
mutation Add($selector: RepositorySelector!, $name: String!, $key: String!) {
  addDynamicPartition(repositorySelector: $selector, partitionsDefName: $name, partitionKey: $key) {
    __typename
  }
}"""


@pytest.fixture(scope="module")
def ask(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """GraphQL on a webserver with its daemon, both started by the command a user types."""
    port = free_ports(1)[0]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("wb") as output:
        served = subprocess.Popen(
            [sys.executable, "-m", "touchline_cli", "serve", "--port", str(port)],
            env=dict(os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def graphql(query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            content: dict[str, Any] = json.load(answer)
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    deadline = time.monotonic() + 120
    while True:
        try:
            graphql("query { version }", {})
            break
        except (URLError, OSError) as error:
            assert served.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, f"no answer: {error}"
            time.sleep(0.3)
    yield graphql
    served.send_signal(signal.SIGTERM)
    assert served.wait(60) == 0


@pytest.fixture(scope="module")
def selector(ask: Ask) -> dict[str, str]:
    [node] = ask(ASSETS, {})["repositoriesOrError"]["nodes"]
    return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}


def launch(ask: Ask, selector: dict[str, str], key: str, assets: list[str], config: dict[str, Any]) -> str:
    params = {
        "selector": {**selector, "jobName": "detect_brands", "assetSelection": [{"path": [name]} for name in assets]},
        "runConfigData": json.dumps(config),
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]},
    }
    answer = ask(LAUNCH, {"params": params})["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def wait(ask: Ask, run_id: str, seconds: float = 240) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = str(ask(STATUS, {"id": run_id})["runOrError"]["status"])
        if status in {"SUCCESS", "FAILURE", "CANCELED"}:
            return status
        time.sleep(0.5)
    raise AssertionError(f"run {run_id} did not end in {seconds:.0f} s")


def test_the_page_lists_nine_described_assets_the_library_and_the_job(ask: Ask) -> None:
    [node] = ask(ASSETS, {})["repositoriesOrError"]["nodes"]
    found = {asset["assetKey"]["path"][-1]: asset for asset in node["assetNodes"]}
    assert set(found) == {*NODE_NAMES, REPORT, "library"}
    assert all(asset["description"] and asset["kinds"] and asset["owners"] for asset in found.values())
    assert "detect_brands" in {job["name"] for job in node["jobs"]}


def test_a_partition_registered_in_the_page_can_be_materialized_and_replayed_from_ocr(
    ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    video = tmp_path / "from-the-page.mp4"
    video.write_bytes(clip[0].read_bytes())
    with runner.connection.database.session() as session:
        source = repository.register_source(session, str(video), checksum="0" * 64, duration=6.0)
    ask(ADD, {"selector": selector, "name": "sources", "key": source.partition_key})
    everything = launch(ask, selector, source.partition_key, [*NODE_NAMES, REPORT], {})
    assert wait(ask, everything) == "SUCCESS"
    with runner.connection.database.session() as session:
        first = repository.job_of_run(session, everything)
    assert first is not None
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


def test_kill_minus_9_on_a_run_worker_is_told_by_its_job(
    ask: Ask, selector: dict[str, str], runner: Runner, clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    video = tmp_path / "killed-worker.mp4"
    video.write_bytes(clip[0].read_bytes())
    with runner.connection.database.session() as session:
        source = repository.register_source(session, str(video), checksum="1" * 64, duration=6.0)
    ask(ADD, {"selector": selector, "name": "sources", "key": source.partition_key})
    run_id = launch(ask, selector, source.partition_key, [*NODE_NAMES, REPORT], {})

    def job() -> DetectJob | None:
        with runner.connection.database.session() as session:
            return repository.job_of_run(session, run_id)

    deadline = time.monotonic() + 120
    while (found := job()) is None or not found.progress:
        assert time.monotonic() < deadline
    run = runner.instance.get_run_by_id(run_id)
    assert run is not None
    os.kill(json.loads(run.tags[PROCESS_TAG])["pid"], signal.SIGKILL)
    assert wait(ask, run_id) == "FAILURE"
    while (found := job()) is None or found.status is DetectJobStatus.RUNNING:
        assert time.monotonic() < deadline, "no sensor corrected the job"
        time.sleep(0.2)
    assert found.status is DetectJobStatus.FAILED
    assert f"Run execution process for {run_id}" in (found.error_message or "")
