"""The Dagster webserver and daemon as `touchline serve` starts them, and the GraphQL that their pages send.

Belongs here: what the tests that drive the webserver share. The fixtures `ask` and `selector` are in `conftest.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from resources.settings import Settings
from touchline_cli.webserver import FILE
from webapp.token import known_token

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]

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
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
RE_EXECUTE = """
mutation ReExecute($executionParams: ExecutionParams, $reexecutionParams: ReexecutionParams) {
  launchRunReexecution(executionParams: $executionParams, reexecutionParams: $reexecutionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId parentRunId } }
    ... on PythonError { message }
  }
}"""
TERMINATE = """
mutation Terminate($id: String!) {
  terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}"""
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
BACKFILL_STATUS = """
query BackfillStatus($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status error { message } } }
}"""
RUNS = """
query Runs($tag: ExecutionTag!) {
  runsOrError(filter: { tags: [$tag] }) {
    ... on Runs { results { runId status startTime endTime tags { key value } } }
  }
}"""
LOCATIONS = """
query Locations {
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
}"""
START_S = 300
"""For the command to serve or to end, on a machine that is busy with other things [s]."""
ANSWER_S = 300
"""For one answer: while parts are started again, whoever asks waits [s]."""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@contextmanager
def serving(folder: Path) -> Iterator[Ask]:
    """GraphQL on a webserver with its daemon, both started by the command a user types. The log is in `folder`.

    It is given once the command has told where it serves, and the code location is loaded.
    """
    log = folder / "log"
    with log.open("wb") as output:
        served = subprocess.Popen(
            [sys.executable, "-m", "touchline_cli", "serve", "--port", "0"],
            env=dict(os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    told: dict[str, Any] = {}

    def graphql(query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", **bearer()}
        request = Request(f"{told['url']}/graphql", body, headers)
        try:
            with urlopen(request, timeout=ANSWER_S) as answer:
                content: dict[str, Any] = json.load(answer)
        except HTTPError as error:
            error.add_note(error.read().decode("utf-8", "replace") + "\n" + log.read_text("utf-8"))
            raise
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    try:
        deadline = time.monotonic() + START_S
        while told.get("pid") != served.pid or not loaded(graphql):
            assert served.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, f"it does not serve: {log.read_text('utf-8')}"
            time.sleep(0.3)
            told = announcement()
        yield graphql
    finally:
        served.send_signal(signal.SIGTERM)
        ended = served.wait(START_S)
    assert ended == 0, log.read_text("utf-8")


def announcement() -> dict[str, Any]:
    """What the last `touchline serve` of this home has told: its process and where it serves; empty before that."""
    path = Settings.from_environment().home / FILE
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return told


def bearer() -> dict[str, str]:
    """The header with the token of this home, as soon as there is one."""
    token = known_token(Settings.from_environment())
    return {"Authorization": f"Bearer {token}"} if token else {}


def loaded(ask: Ask) -> bool:
    """Whether the code location is loaded: the webserver reached its code server."""
    entries = ask(LOCATIONS, {})["workspaceOrError"]["locationEntries"]
    return all((entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for entry in entries)


def launch(ask: Ask, selector: dict[str, str], key: str, assets: list[str], config: dict[str, Any]) -> str:
    """What the launchpad sends: some assets of one partition with a run config. The run's id."""
    params = {
        "selector": {**selector, "jobName": "detect_brands", "assetSelection": [{"path": [name]} for name in assets]},
        "runConfigData": json.dumps(config),
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]},
    }
    answer = ask(LAUNCH, {"params": params})["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def re_execute(ask: Ask, run_id: str, strategy: str) -> str:
    """What the button of a run's page sends; `strategy` is FROM_FAILURE, FROM_ASSET_FAILURE or ALL_STEPS."""
    params = {"parentRunId": run_id, "strategy": strategy}
    answer = ask(RE_EXECUTE, {"reexecutionParams": params})["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess" and answer["run"]["parentRunId"] == run_id, answer
    return str(answer["run"]["runId"])


def re_execute_steps(
    ask: Ask, selector: dict[str, str], run_id: str, key: str, assets: list[str], steps: list[str]
) -> str:
    """What "Re-execute selected" of a run's page sends: the run's own assets, and the steps picked in its chart."""
    tags = {"dagster/partition": key, "dagster/parent_run_id": run_id, "dagster/root_run_id": run_id}
    tags["dagster/step_selection"] = ",".join(steps)
    params = {
        "selector": {**selector, "jobName": "detect_brands", "assetSelection": [{"path": [name]} for name in assets]},
        "runConfigData": "{}",
        "mode": "default",
        "stepKeys": steps,
        "executionMetadata": {
            "parentRunId": run_id,
            "rootRunId": run_id,
            "tags": [{"key": name, "value": value} for name, value in tags.items()],
        },
    }
    answer = ask(RE_EXECUTE, {"executionParams": params})["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def wait(ask: Ask, run_id: str, seconds: float = 240) -> str:
    """How a run ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = str(ask(STATUS, {"id": run_id})["runOrError"]["status"])
        if status in {"SUCCESS", "FAILURE", "CANCELED"}:
            return status
        time.sleep(0.3)
    raise AssertionError(f"run {run_id} did not end in {seconds:.0f} s")


def runs_tagged(ask: Ask, key: str, value: str) -> list[dict[str, Any]]:
    """The runs that carry a tag, each with its id, status, times [s] and tags."""
    found: list[dict[str, Any]] = ask(RUNS, {"tag": {"key": key, "value": value}})["runsOrError"]["results"]
    return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]
